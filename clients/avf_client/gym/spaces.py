"""The spaces of a filter's observations and estimates, by its spec.

The law: bounds are those that hold. What an agent chooses from is finite; what it is shown and has no bound says so,
by infinities.
"""

import numpy as np
from gymnasium import spaces

from avf_client.errors import InvalidArgument
from avf_client.gym.filters import Array, Estimates, Spec

FREE_BOUNDS = (-1.0, 1.0)  # of actions, where a model takes any number: the range of sound, and of standardised data


def box(size: int, low: float = -np.inf, high: float = np.inf) -> "spaces.Box[np.float32]":
    """Vectors of `size` numbers within [low, high]."""
    return spaces.Box(low, high, shape=(size,), dtype=np.float32)


def observations(spec: Spec, bounds: tuple[float, float] | None) -> "spaces.Box[np.float32]":
    """The observations to filter, within the model's range; `bounds` where it takes any number. Inputs follow.

    Raises InvalidArgument for bounds that are no range, or lie outside of the model's.
    """
    if bounds is None:
        given = FREE_BOUNDS if np.isinf([spec.low, spec.high]).all() else (spec.low, spec.high)
        bounds = (float(given[0]), float(given[1]))
    low, high = bounds
    if not (np.isfinite(bounds).all() and spec.low <= low < high <= spec.high):
        raise InvalidArgument(
            f"bounds is ({low:g}, {high:g}), expected two finite numbers, the lower one first, within what "
            f"{spec.model} takes: [{spec.low:g}, {spec.high:g}]"
        )
    free_low, free_high = FREE_BOUNDS
    sizes = (spec.observation_size, spec.input_size)
    lows, highs = np.repeat([low, free_low], sizes), np.repeat([high, free_high], sizes)
    return spaces.Box(lows.astype(np.float32), highs.astype(np.float32), dtype=np.float32)


def estimates(spec: Spec) -> "spaces.Dict[Array]":
    """The estimate, as `fields` gives it."""
    latent, size = spec.latent_size, spec.observation_size
    return spaces.Dict(
        {
            "prior_mean": box(latent),
            "prior_log_variance": box(latent),
            "posterior_mean": box(latent),
            "posterior_log_variance": box(latent),
            "prediction": box(size, spec.low, spec.high),
            "likelihood": box(size, spec.low, spec.high),
        }
    )


def fields(found: Estimates) -> dict[str, Array]:
    """The arrays of an estimate that an agent sees, each with a leading axis of rows."""
    return {
        "prior_mean": found.prior_mean,
        "prior_log_variance": found.prior_log_variance,
        "posterior_mean": found.posterior_mean,
        "posterior_log_variance": found.posterior_log_variance,
        "prediction": found.prediction,
        "likelihood": found.likelihood,
    }
