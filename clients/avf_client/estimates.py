"""What a client gets for each observation: `Estimate`, with numpy arrays in place of the wire's lists."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avf_client import wire

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """What one observation taught the filter. Energies in nats; free_energy = reconstruction + kl.

    Shapes: latent (L,), observation (D,), iterates (I,).

    seq, epoch              which observation: `seq` starts at 1 in each epoch
    free_energy             how surprising it was
    reconstruction, kl      its two parts
    free_energies           (I,) F of every iterate, from the prior to the posterior
    iterations              how many updates of the posterior were spent
    prior_*, posterior_*    (L,) mean and standard deviation of the latent before and after the observation
    prediction              (D,) mean of the observation that was expected before it; `prediction_deviation` (D,)
                            where the likelihood has one (not for Bernoulli)
    likelihood              (D,) mean of the observation after it, likewise
    durability              what held for this step when the server replied: "group" or "none"
    """

    seq: int
    epoch: int
    free_energy: float
    reconstruction: float
    kl: float
    free_energies: Array
    iterations: int
    prior_mean: Array
    prior_deviation: Array
    posterior_mean: Array
    posterior_deviation: Array
    prediction: Array
    prediction_deviation: Array | None
    likelihood: Array
    likelihood_deviation: Array | None
    durability: wire.Durability


def from_wire(message: wire.Estimate) -> Estimate:
    """The estimate of this message."""
    return Estimate(
        seq=message.seq,
        epoch=message.epoch,
        free_energy=message.free_energy,
        reconstruction=message.reconstruction,
        kl=message.kl,
        free_energies=np.asarray(message.free_energies, dtype=np.float64),
        iterations=message.iterations,
        prior_mean=_mean(message.prior),
        prior_deviation=_required(message.prior),
        posterior_mean=_mean(message.posterior),
        posterior_deviation=_required(message.posterior),
        prediction=_mean(message.prediction),
        prediction_deviation=_deviation(message.prediction),
        likelihood=_mean(message.likelihood),
        likelihood_deviation=_deviation(message.likelihood),
        durability=message.durability,
    )


def _mean(moments: wire.Moments) -> Array:
    return np.asarray(moments.mean, dtype=np.float64)


def _deviation(moments: wire.Moments) -> Array | None:
    return None if moments.deviation is None else np.asarray(moments.deviation, dtype=np.float64)


def _required(moments: wire.Moments) -> Array:
    deviation = _deviation(moments)
    return np.full(len(moments.mean), np.nan) if deviation is None else deviation
