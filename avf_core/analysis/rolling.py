"""A reference that rolls along with a stream: what is usual for a score by the stream's own past, in a state of a
fixed size.

The past is a histogram, of which each step forgets a part 1 / `memory`: drift becomes usual after so many steps. Up to
its 0.95 quantile a score's p-value is read from the histogram, with a score's own count among the others, and above it
from an exponential tail (Pickands 1975) of the mean excess there.

The law: p-values are of the past alone, in (0, 1], and 1 before 20 steps are known.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from avf_core.errors import ConfigurationError

BINS = 96
LARGEST = 64.0  # nats, about, that the last bin begins at
TAIL = 0.05  # the part of the past that the tail is fitted to
FEWEST = 20.0  # steps
LEAST = 1e-3  # nats, of the mean excess
SHORTEST = 1e-280  # p-values are cut here


@dataclass(frozen=True, kw_only=True)
class RollingReference:
    """The rolling distributions of scores of 0 nats and more, one a row: a state has shape (rows, `width`).

    `memory` is in steps: what is so old counts 1 / e of what is new; infinite where nothing is forgotten.
    """

    memory: float = 5000.0

    def __post_init__(self) -> None:
        if not self.memory >= FEWEST:
            raise ConfigurationError(f"memory is {self.memory}, expected at least {FEWEST:g} steps")

    @property
    def width(self) -> int:
        """Numbers in the state of a row."""
        return BINS

    def initial(self, *rows: int) -> Float64[ndarray, "*rows bins"]:
        """Nothing is known."""
        return np.zeros((*rows, BINS))

    def log_p(
        self, state: Float64[ndarray, "*rows bins"], scores: Float64[ndarray, "*rows"]
    ) -> Float64[ndarray, "*rows"]:
        """-log P(a score >= this one) in each row's past, in nats, 0 or more; 0 where that is not known."""
        total = state.sum(-1)
        above = np.cumsum(state[..., ::-1], axis=-1)[..., ::-1]  # at a bin and beyond it
        place, part = _place(scores)
        own = np.take_along_axis(state, place[..., None], -1)[..., 0]
        over = np.take_along_axis(above, place[..., None], -1)[..., 0] - part * own
        p = (np.maximum(over, 0.0) + 0.5) / (total + 1.0)
        knot = np.maximum((above >= TAIL * total[..., None]).sum(-1) - 1, 0)
        start = EDGES[knot]
        beyond = np.where(np.arange(BINS) >= knot[..., None], state, 0.0)
        weight = beyond.sum(-1)
        excess = ((MIDDLES - start[..., None]) * beyond).sum(-1) / np.maximum(weight, 1e-12)
        tail = -np.log(np.maximum(weight / np.maximum(total, 1e-12), 1e-12))
        tail = tail + (scores - start) / np.maximum(excess, LEAST)
        found = np.where(scores > EDGES[np.minimum(knot + 1, BINS - 1)], tail, -np.log(p))
        found = np.where((total >= FEWEST) & np.isfinite(scores), found, 0.0)
        result: ndarray = np.clip(found, 0.0, -math.log(SHORTEST))
        return result

    def remember(
        self, state: Float64[ndarray, "*rows bins"], scores: Float64[ndarray, "*rows"]
    ) -> Float64[ndarray, "*rows bins"]:
        """The state after these scores; NaN leaves a row as it was."""
        known = np.isfinite(scores)
        place, _ = _place(scores)
        kept = np.where(known, 1.0 - 1.0 / self.memory, 1.0)[..., None]
        after: ndarray = state * kept + ((np.arange(BINS) == place[..., None]) & known[..., None])
        return after


EDGES = LARGEST * (np.arange(BINS) / BINS) ** 2
MIDDLES = 0.5 * (EDGES + np.append(EDGES[1:], LARGEST * 1.02))


def _place(scores: Float64[ndarray, "*rows"]) -> tuple[ndarray, ndarray]:
    """The bin of each score, and which part of it lies below the score."""
    at = BINS * np.sqrt(np.clip(np.nan_to_num(scores), 0.0, None) / LARGEST)
    place = np.minimum(at.astype(np.int64), BINS - 1)
    return place, np.clip(at - place, 0.0, 1.0)
