"""What inference does, latent by latent and iteration by iteration: has the latent collapsed, and what is left to gain.

    gap_t = F_t(q of the filter) - F_t(q of converged gradient inference)     at the filter's own beliefs, same noise

The amortisation gap (Cremer, Li & Duvenaud 2018) is measured on a sample of the steps, as converged inference is slow.
A collapsed latent has no KL: its posterior is its prior whatever is observed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from avf_core import noise
from avf_core.analysis.batching import batches
from avf_core.analysis.evaluation import NOTHING_OBSERVED, Progress, ratio
from avf_core.distributions import Gaussian
from avf_core.errors import ConfigurationError, DataError
from avf_core.estimates import Estimate, gaussian
from avf_core.filtering import Filter
from avf_core.inference import gradient
from avf_core.objectives import Posterior, StepObjective
from avf_core.trees import take

ACTIVE = 1e-2  # variance over the data of a latent's posterior mean (Burda et al. 2016); and nats of its KL

CONVERGED = gradient.Config(
    optimizer="adam", learning_rate=0.3, decay=0.1, iterations=200, samples=16, antithetic=True, whitened=True
)


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """Means over the steps of a data set that have any observation, in nats per step.

    `kl_by_dimension` is KL(q(z_d) || p(z_d)) of each latent dimension (of the marginals, where the posterior has a
    full covariance). `active_units` counts the dimensions whose posterior mean varies over the data with a variance
    above 0.01 (Burda, Grosse & Salakhutdinov 2016); in a sequence model it may vary with the prior's alone, so
    `informed_units` counts those whose KL is above 0.01 nats. `gain_by_iteration` is what F has fallen below the
    prior's after each iteration, the last being the posterior's. `gap` is the amortisation gap, with its standard
    error over `gap_sequences` sequences and `gap_steps` steps; None where it was not asked for.
    """

    kl_by_dimension: list[float]
    mean_variance_by_dimension: list[float]
    active_units: int
    informed_units: int
    units: int
    free_energy: float
    gain_by_iteration: list[float]
    gap: float | None
    gap_error: float | None
    gap_steps: int
    gap_sequences: int
    steps: int
    sequences: int

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return asdict(self)


@torch.no_grad()
def monitor(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    gap_steps: int = 8,
    converged: gradient.Config = CONVERGED,
    samples: int = 16,
    iterations: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Monitoring:
    """Filter every sequence and look at its posteriors; sequence i has the seed `seed` + i.

    The gap is measured at `gap_steps` evenly spaced times of every batch of sequences (0: not at all), against
    `converged`, by F on `samples` common samples, antithetic and new to both. NaN marks what was not observed. Raises
    ConfigurationError for numbers that make no sense, DataError where there is nothing to filter.
    """
    if gap_steps < 0 or samples < 2 or samples % 2:
        raise ConfigurationError(f"gap_steps={gap_steps}, samples={samples}: expected 0 or more, and an even number")
    reference = gradient.Inference(converged, filter.model)
    tally = _Tally(len(sequences))
    total, done = sum(len(s) for s in sequences), 0
    for batch in batches(filter, sequences, size=batch_size):
        belief = filter.initial(seed + batch.seeds)
        times = set(np.linspace(0, len(batch.xs) - 1, gap_steps).round().astype(int).tolist())
        for t in range(len(batch.xs)):
            x, observed, scored = batch.at(t)
            now, belief = batch.drive_at(t), take(belief, slice(0, len(x)))
            following, estimate = filter.step(
                belief, x, observed=observed, inputs=now.inputs, dt=now.dt, iterations=iterations
            )
            tally.add(batch.rows, estimate, scored)
            if t in times:
                objective = filter.objective(belief, x, observed=observed, drive=now)
                tally.add_gap(batch.rows, _gap(objective, gaussian(estimate.posterior), reference, samples), scored)
            belief = following
            done += len(x)
            if progress:
                progress(done, total)
    return tally.result()


def _gap(
    objective: StepObjective, posterior: Posterior, reference: gradient.Inference, samples: int
) -> Float64[Tensor, " batch"]:
    """F of the posterior above that of the reference's, on common samples that neither has seen; 0 of an exact one."""
    if objective.exact:
        return torch.zeros_like(objective.seed, dtype=torch.float64)
    drawn = objective.noise(streams=range(noise.MEASURE, noise.MEASURE + samples // 2))
    eps = torch.cat([drawn, -drawn])
    found = reference.infer(objective, {}).posterior
    return (_free_energy(objective, posterior, eps) - _free_energy(objective, found, eps)).double()


def _free_energy(
    objective: StepObjective, posterior: Posterior, eps: Float[Tensor, "samples batch latent"]
) -> Float[Tensor, " batch"]:
    """F of a posterior of either form, in nats, averaged over samples."""
    terms = [
        objective.reconstruction(objective.model.decode(objective.context, posterior.transform(drawn))) for drawn in eps
    ]
    return torch.stack(terms).mean(0) + objective.kl(posterior)


class _Tally:
    """Sums over scored steps, of the posteriors and of the gap."""

    def __init__(self, sequences: int) -> None:
        self.figures: dict[str, Tensor] = {}
        self.steps = 0
        self.seen = np.zeros(sequences, dtype=bool)
        self.gaps = np.zeros(sequences)
        self.gap_steps = np.zeros(sequences, dtype=np.int64)

    def add(self, rows: list[int], estimate: Estimate, scored: Bool[Tensor, " batch"]) -> None:
        """Count one step of the first sequences of a batch."""
        q, p = estimate.posterior, estimate.prior
        mean = q.mean.double()
        marginal = Gaussian(mean, q.log_variance.double())
        kl = marginal.kl(Gaussian(p.mean.double(), p.log_variance.double()))
        new = {"kl": kl, "mean": mean, "square": mean**2, "energies": estimate.free_energies.double()}
        for name, values in new.items():
            self.figures[name] = self.figures.get(name, 0.0) + values[scored].sum(0).cpu()
        self.steps += int(scored.sum())
        self.seen[rows[: len(scored)]] |= scored.cpu().numpy()

    def add_gap(self, rows: list[int], gap: Float64[Tensor, " batch"], scored: Bool[Tensor, " batch"]) -> None:
        """Count the gap of one step."""
        kept = scored.cpu().numpy()
        self.gaps[rows[: len(kept)]] += gap.cpu().numpy() * kept
        self.gap_steps[rows[: len(kept)]] += kept

    def result(self) -> Monitoring:
        """The averages."""
        if not self.steps:
            raise DataError(NOTHING_OBSERVED)
        mean = {name: value / self.steps for name, value in self.figures.items()}
        variance = (mean["square"] - mean["mean"] ** 2).clamp(min=0.0)
        measured = self.gap_steps > 0
        gap, error = ratio(self.gaps[measured], self.gap_steps[measured]) if measured.any() else (None, None)
        return Monitoring(
            kl_by_dimension=mean["kl"].tolist(),
            mean_variance_by_dimension=variance.tolist(),
            active_units=int((variance > ACTIVE).sum()),
            informed_units=int((mean["kl"] > ACTIVE).sum()),
            units=len(variance),
            free_energy=float(mean["energies"][-1]),
            gain_by_iteration=(mean["energies"][0] - mean["energies"][1:]).tolist(),
            gap=gap,
            gap_error=error,
            gap_steps=int(self.gap_steps.sum()),
            gap_sequences=int(measured.sum()),
            steps=self.steps,
            sequences=int(self.seen.sum()),
        )
