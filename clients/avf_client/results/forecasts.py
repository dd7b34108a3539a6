"""What a client gets for a forecast: `Forecast`, with numpy arrays in place of the wire's lists."""

from dataclasses import dataclass

import avf_wire as wire
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """The next observations of a session, by sample paths of its model.

    Shapes: horizon (H,), observation (D,), levels (Q,), paths (P,).

    epoch, seq  the observation after which it begins; `seq` is 0 where there is none
    mean        (H, D) of the paths' likelihoods
    deviation   (H, D) standard deviation, likewise
    levels      (Q,) in [0, 1]
    quantiles   (Q, H, D) of the paths, at these levels
    paths       (P, H, D) where they were asked for
    """

    epoch: int
    seq: int
    mean: Array
    deviation: Array
    levels: Array
    quantiles: Array
    paths: Array | None


def from_wire(message: wire.Forecast) -> Forecast:
    """The forecast of this message."""
    mean = np.asarray(message.mean, dtype=np.float64)
    return Forecast(
        epoch=message.epoch,
        seq=message.seq,
        mean=mean,
        deviation=np.asarray(message.deviation, dtype=np.float64),
        levels=np.asarray(message.levels, dtype=np.float64),
        quantiles=np.asarray(message.quantiles, dtype=np.float64).reshape(-1, *mean.shape),
        paths=None if message.paths is None else np.asarray(message.paths, dtype=np.float64),
    )
