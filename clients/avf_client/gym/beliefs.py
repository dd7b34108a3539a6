"""Rows of beliefs about environments: what `BeliefObservation` and its vector forms have in common.

The law: the filter observes what the agent would have, from a reset's observation on, and what the agent did, and
nothing else; a sequence of the filter begins where an episode does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from avf_sources import numbers
from numpy.typing import NDArray

from avf_client.errors import InvalidArgument
from avf_client.gym.features import Feature, Features
from avf_client.gym.filters import Array, Filters, Rows, closed_on_error, still, unobserved
from avf_client.gym.rows import energies
from avf_client.gym.steady import SteadyRows

Inputs = Callable[[Any], Any]
"""What an action is to the model: a function from one action to its `input_size` numbers."""


class Beliefs:
    """Rows of a filter that follow environments with these spaces.

    inputs  what the model is told of an action, where it takes inputs: its numbers (flattened, one-hot where discrete)
            where absent. Before the first observation of an episode nothing was done: zeros

    Raises InvalidArgument where the filter takes observations, or inputs, of another size.
    """

    def __init__(
        self,
        filters: Filters,
        observations: gymnasium.Space[Any],
        actions: gymnasium.Space[Any],
        *,
        features: Sequence[Feature],
        inputs: Inputs | None,
    ) -> None:
        self._seen, self._done, self._inputs, self._spec = observations, actions, inputs, filters.spec
        self._rows = SteadyRows(filters)
        with closed_on_error(filters):
            self._check_sizes()
            raw = gymnasium.spaces.flatten_space(observations)
            assert isinstance(raw, gymnasium.spaces.Box)  # what has a flatdim flattens to a box
            self._features = Features(features, filters.spec, unobserved(filters), raw=raw)
        self.space = self._features.space

    def begin(self, rows: Rows, seeds: Sequence[int]) -> None:
        """Begin the sequences of rows whose episodes begin."""
        if len(rows):
            self._rows.begin(rows, seeds)

    def step(
        self, rows: Rows, observations: Sequence[Any], actions: Sequence[Any]
    ) -> tuple[Array, dict[str, NDArray[Any]]]:
        """Features and infos of rows that were shown observations after actions; None where an episode begins."""
        xs = self._spec.shaped(_flat(self._seen, observations), rows=len(rows))
        found = self._rows.step(rows, xs, self._told(actions))
        shown = np.where(found.as_shown[:, None], xs, np.nan)
        return self._features.of(found.estimates, shown), {"filtered": found.as_shown} | energies(found.estimates)

    def close(self) -> None:
        """Let go of the filter."""
        self._rows.close()

    def _told(self, actions: Sequence[Any]) -> Array:
        """What the model is told of actions. Raises InvalidArgument where `inputs` gives what does not fit."""
        told = still(self._spec, rows=len(actions))
        if not self._spec.input_size:
            return told
        of = self._inputs or (lambda action: gymnasium.spaces.flatten(self._done, action))
        for place, action in enumerate(actions):
            if action is None:
                continue
            given = np.asarray(of(action), dtype=np.float32).ravel()
            if given.shape != told[place].shape or not np.isfinite(given).all():
                raise InvalidArgument(
                    f"the inputs of the action {action!r} are {given}, expected {self._spec.input_size} finite numbers"
                )
            told[place] = given
        return told

    def _check_sizes(self) -> None:
        spec = self._spec
        size = gymnasium.spaces.flatdim(self._seen)
        if size != spec.observation_size:
            raise InvalidArgument(
                f"the environment's observations have {size} numbers, {spec.model} observes {spec.observation_size}: "
                "take a filter of this environment, or wrap the environment so that it shows what the filter observes"
            )
        if self._inputs is not None and not spec.input_size:
            raise InvalidArgument(f"inputs were given, but {spec.model} takes none")
        if spec.input_size and self._inputs is None:
            size = gymnasium.spaces.flatdim(self._done)
            if size != spec.input_size:
                raise InvalidArgument(
                    f"the environment's actions have {size} numbers, {spec.model} takes inputs of {spec.input_size}: "
                    "give `inputs`, a function that makes these of an action"
                )


def _flat(space: gymnasium.Space[Any], observations: Sequence[Any]) -> NDArray[Any]:
    """Observations of a space as rows of numbers."""
    return np.stack([_flattened(space, each) for each in observations])


def _flattened(space: gymnasium.Space[Any], observation: Any) -> NDArray[Any]:
    """One observation as a row; Gymnasium's own flattening would read what a mask covers."""
    if isinstance(observation, np.ma.MaskedArray):
        return numbers(observation).ravel()
    if isinstance(space, gymnasium.spaces.Dict):
        return np.concatenate([_flattened(part, observation[name]) for name, part in space.spaces.items()])
    if isinstance(space, gymnasium.spaces.Tuple):
        return np.concatenate([_flattened(part, each) for part, each in zip(space.spaces, observation, strict=True)])
    return np.asarray(gymnasium.spaces.flatten(space, observation))
