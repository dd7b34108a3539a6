"""What a client gets for each observation: `Estimate`, with numpy arrays, in whatever form it travelled.

The law: the form of the message makes no difference to what it says; `from_answer` is the one place that knows both.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

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
    time                 when it was, where the model takes times
    evidence_bound       bound on -log p of the observation given those before it, in nats
    effective_sample_size  of the session's particles
    gradient_samples     the most of an iteration, where these were fewer than the model's, to meet the deadline
    alarm                what the session's detector heard, where it has one: `alarm.raised`, `alarm.p`, ...
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
    time: float | None = None
    evidence_bound: float | None = None
    effective_sample_size: float | None = None
    gradient_samples: int | None = None
    alarm: wire.Alarm | None = None
    durability: wire.Durability
    durable_seq: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate(Summary):
    """What one observation taught the filter: the numbers of `Summary`, and these arrays.

    Shapes: latent (L,), observation (D,), iterates (I,).

    free_energies           (I,) F of every iterate, from the prior to the posterior
    prior_*, posterior_*    (L,) mean and standard deviation of the latent before and after the observation
    prediction              (D,) mean of the observation given those before it; `prediction_deviation` (D,) where it has
                            one (not for Bernoulli)
    prediction_quantiles    (Q, D) of the same, at `quantile_levels` (Q,), where the session has any
    prediction_at_prior_mean  (D,) mean of the likelihood at the prior's mean, and its deviation likewise
    likelihood              (D,) mean of the observation after it, likewise
    smoothed_*              (L,) mean and deviation of the latent of observation `smoothed_seq`, given all up to this
                            one, in sessions with a lag
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
    quantile_levels: Array | None = None
    prediction_quantiles: Array | None = None
    prediction_at_prior_mean: Array | None = None
    prediction_at_prior_mean_deviation: Array | None = None
    smoothed_seq: int | None = None
    smoothed_mean: Array | None = None
    smoothed_deviation: Array | None = None


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
        **_beside(message),
    )


def _beside(message: wire.Estimate | binary.Estimate) -> dict[str, Any]:
    """What only some estimates have, whichever form it has in the message."""
    at_mean, smoothed = message.prediction_at_prior_mean, message.smoothed
    if isinstance(message, binary.Estimate):
        seq, levels, values = message.smoothed_seq, message.quantile_levels, message.quantiles
    else:
        seq = None if message.smoothed is None else message.smoothed.seq
        found = message.prediction_quantiles
        levels, values = (None, None) if found is None else (np.array(found.levels), np.array(found.values))
    return {
        "quantile_levels": _array(levels),
        "prediction_quantiles": _array(values),
        "prediction_at_prior_mean": None if at_mean is None else _mean(at_mean),
        "prediction_at_prior_mean_deviation": None if at_mean is None else _deviation(at_mean),
        "smoothed_seq": seq,
        "smoothed_mean": None if smoothed is None else _mean(smoothed),
        "smoothed_deviation": None if smoothed is None else _deviation(smoothed),
    }


def _array(values: NDArray[np.floating[Any]] | None) -> Array | None:
    return None if values is None else np.asarray(values, dtype=np.float64)


def _summary(message: Answer) -> Summary:
    return Summary(
        seq=message.seq,
        epoch=message.epoch,
        free_energy=message.free_energy,
        reconstruction=message.reconstruction,
        kl=message.kl,
        iterations=message.iterations,
        surprise=message.surprise,
        time=message.time,
        evidence_bound=message.evidence_bound,
        effective_sample_size=message.effective_sample_size,
        gradient_samples=None if message.gradient_samples is None else round(message.gradient_samples),
        alarm=message.alarm,
        durability=message.durability,
        durable_seq=message.durable_seq,
    )


def _mean(moments: wire.Moments | wire.Smoothed | binary.Moments) -> Array:
    return np.asarray(moments.mean, dtype=np.float64)


def _deviation(moments: wire.Moments | wire.Smoothed | binary.Moments) -> Array | None:
    return None if moments.deviation is None else np.asarray(moments.deviation, dtype=np.float64)


def _required(moments: wire.Moments | binary.Moments) -> Array:
    deviation = _deviation(moments)
    return np.full(len(moments.mean), np.nan) if deviation is None else deviation
