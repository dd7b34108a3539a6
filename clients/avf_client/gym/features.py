"""What a policy sees of a belief: features by name, or a function of its user's.

The law: features are numbers, always. What an environment did not show is filled with what the filter expected, and
the feature `observed` says so.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray

from avf_client.errors import InvalidArgument
from avf_client.gym import spaces
from avf_client.gym.filters import Array, Estimates, Spec

Feature: TypeAlias = str | Callable[[Estimates], NDArray[Any]]
"""A name of `NAMES`, or a function of estimates that gives an array (rows, numbers)."""

BELIEF = ("posterior_mean", "posterior_log_variance")
LATENT = ("prior_mean", "prior_log_variance", *BELIEF)
OBSERVED = ("prediction", "likelihood")
NAMES = (*LATENT, *OBSERVED, "state", "free_energy", "observation", "observed")


def predicting(features: Sequence[Feature]) -> bool:
    """Whether any of these takes a prediction, or might."""
    return any(callable(each) or each in ("prediction", "observation") for each in features)


class Features:
    """The features of a filter's estimates, one after the other.

    `observation` is what the environment showed, flattened, with what is missing filled by the prediction; `observed`
    is 1 where it was shown and 0 where not. `state` is the model's recurrent state. Raises InvalidArgument for what is
    none, or is not to be had.
    """

    def __init__(self, wanted: Sequence[Feature], spec: Spec, first: Estimates, *, raw: gymnasium.spaces.Box) -> None:
        self._wanted = tuple(wanted)
        if isinstance(wanted, str) or not self._wanted:
            raise InvalidArgument(
                f"features is {wanted!r}, expected a sequence of names or functions, such as {BELIEF}"
            )
        for each in self._wanted:
            if not callable(each) and each not in NAMES:
                raise InvalidArgument(
                    f"there is no feature {each!r}, expected one of {', '.join(NAMES)}, or a function"
                )
            if each == "state" and spec.state_size is None:
                raise InvalidArgument(f"the state of {spec.model} stays on its server: filter in this process for it")
        nothing = np.full((1, spec.observation_size), np.nan, dtype=np.float32)
        boxes = [self._box(each, self._of(each, first, nothing), spec, raw) for each in self._wanted]
        self.space = gymnasium.spaces.Box(
            np.concatenate([box.low for box in boxes]), np.concatenate([box.high for box in boxes]), dtype=np.float32
        )

    def of(self, estimates: Estimates, xs: Array) -> Array:
        """The features (rows, numbers) of estimates of observations `xs`, NaN where one was missing."""
        return np.concatenate([self._of(each, estimates, xs) for each in self._wanted], axis=-1)

    def _of(self, wanted: Feature, estimates: Estimates, xs: Array) -> Array:
        if not isinstance(wanted, str):
            found = np.asarray(wanted(estimates), dtype=np.float32)
            if found.ndim != 2 or len(found) != len(xs):
                raise InvalidArgument(f"the feature {wanted!r} has shape {found.shape}, expected ({len(xs)}, numbers)")
            return found
        if wanted == "observation":
            return np.where(np.isnan(xs), estimates.prediction, xs)
        if wanted == "observed":
            return (~np.isnan(xs)).astype(np.float32)
        if wanted == "free_energy":
            return estimates.free_energy[:, None].astype(np.float32)
        named: Array = getattr(estimates, wanted)
        return named

    def _box(
        self, wanted: Feature, example: Array, spec: Spec, raw: gymnasium.spaces.Box
    ) -> "gymnasium.spaces.Box[np.float32]":
        size = example.shape[1]
        if wanted == "observed":
            return spaces.box(size, 0.0, 1.0)
        if wanted in OBSERVED:
            return spaces.box(size, spec.low, spec.high)
        if wanted == "observation":
            low, high = np.minimum(raw.low, spec.low), np.maximum(raw.high, spec.high)
            return gymnasium.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
        return spaces.box(size)
