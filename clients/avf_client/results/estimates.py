"""What a client gets for each observation: `Estimate`, with numpy arrays, in whatever form it travelled.

The law: the form of the message makes no difference to what it says; `from_answer` is the one place that knows both.
"""

from dataclasses import dataclass
from typing import TypeAlias

import avf_wire as wire
import numpy as np
from avf_wire import binary
from numpy.typing import NDArray

from avf_client.errors import ProtocolError

Array = NDArray[np.float64]
Answer: TypeAlias = wire.Estimate | wire.Summary | binary.Estimate
"""What answers an observation: the sub-protocols of a stream, and its `fields`, differ in its form only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """The numbers of an estimate, without its arrays. Energies in nats; free_energy = reconstruction + kl.

    seq, epoch           which observation: `seq` starts at 1 in each epoch
    free_energy          how surprising it was
    reconstruction, kl   its two parts
    iterations           how many updates of the posterior were spent
    surprise             p-value: how far out the free energy is, on either side, of data that are normal for the
                         model; None where that is not known
    durability           what held for this step when the server replied
    durable_seq          the last observation that is as safe as that says; None where the server does not say
    """

    seq: int
    epoch: int
    free_energy: float
    reconstruction: float
    kl: float
    iterations: int
    surprise: float | None = None
    durability: wire.Durability
    durable_seq: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate(Summary):
    """What one observation taught the filter: the numbers of `Summary`, and these arrays.

    Shapes: latent (L,), observation (D,), iterates (I,).

    free_energies           (I,) F of every iterate, from the prior to the posterior
    prior_*, posterior_*    (L,) mean and standard deviation of the latent before and after the observation
    prediction              (D,) mean of the observation that was expected before it; `prediction_deviation` (D,)
                            where the likelihood has one (not for Bernoulli)
    likelihood              (D,) mean of the observation after it, likewise
    """

    free_energies: Array
    prior_mean: Array
    prior_deviation: Array
    posterior_mean: Array
    posterior_deviation: Array
    prediction: Array
    prediction_deviation: Array | None
    likelihood: Array
    likelihood_deviation: Array | None


def from_answer(message: Answer) -> Summary:
    """What an answer on a stream says: an `Estimate`, or a `Summary` where it has no arrays."""
    if isinstance(message, wire.Summary) or (isinstance(message, binary.Estimate) and message.prior is None):
        return _summary(message)
    return from_wire(message)


def from_wire(message: wire.Estimate | binary.Estimate) -> Estimate:
    """The estimate of this message. Raises ProtocolError where it is not whole."""
    parts = (message.prior, message.posterior, message.prediction, message.likelihood)
    if message.free_energies is None or any(part is None for part in parts):
        raise ProtocolError(f"the estimate of seq {message.seq} lacks some of its arrays")
    prior, posterior, prediction, likelihood = (part for part in parts if part is not None)
    return Estimate(
        **vars(_summary(message)),
        free_energies=np.asarray(message.free_energies, dtype=np.float64),
        prior_mean=_mean(prior),
        prior_deviation=_required(prior),
        posterior_mean=_mean(posterior),
        posterior_deviation=_required(posterior),
        prediction=_mean(prediction),
        prediction_deviation=_deviation(prediction),
        likelihood=_mean(likelihood),
        likelihood_deviation=_deviation(likelihood),
    )


def _summary(message: Answer) -> Summary:
    return Summary(
        seq=message.seq,
        epoch=message.epoch,
        free_energy=message.free_energy,
        reconstruction=message.reconstruction,
        kl=message.kl,
        iterations=message.iterations,
        surprise=message.surprise,
        durability=message.durability,
        durable_seq=message.durable_seq,
    )


def _mean(moments: wire.Moments | binary.Moments) -> Array:
    return np.asarray(moments.mean, dtype=np.float64)


def _deviation(moments: wire.Moments | binary.Moments) -> Array | None:
    return None if moments.deviation is None else np.asarray(moments.deviation, dtype=np.float64)


def _required(moments: wire.Moments | binary.Moments) -> Array:
    deviation = _deviation(moments)
    return np.full(len(moments.mean), np.nan) if deviation is None else deviation
