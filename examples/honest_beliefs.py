"""What a belief is worth: one sampled past, particles and the exact filter beside the Kalman filter, on the same data.

    python examples/honest_beliefs.py [--music jsb_chorales.npz]

Positions of a body that is pushed about are seen with noise; its velocity is hidden. The model knows the truth, so that
all error is the belief's. With --music, the notes that `srnn-jsb-direct` expects are held against what comes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from avf_core import checkpoints
from avf_core.analysis.predictive import predictions
from avf_core.data import Source
from avf_core.filtering import Filter
from avf_core.inference import exact, kalman
from avf_core.mixtures import Mixture
from avf_core.models import lgssm

STEPS, SEQUENCES = 60, 40
PARTICLES = (1, 4, 64, 256)
PUSH = torch.tensor([0.05, 0.2]).double()  # variance a step, of position and velocity


def drifting_body() -> lgssm.Model:
    """Position and velocity on a line, of which positions are seen."""
    move, still = torch.eye(1), torch.zeros(1, 1)
    return lgssm.Model.from_matrices(
        dynamics=torch.cat([torch.cat([move, move], 1), torch.cat([still, 0.95 * move], 1)]).double(),
        emission=torch.cat([move, still], 1).double(),
        initial_mean=torch.zeros(2).double(),
        initial_variance=torch.ones(2).double(),
        process_variance=PUSH,
        noise_variance=torch.ones(1).double(),
    ).requires_grad_(False)


def drawn(model: lgssm.Model) -> tuple[Tensor, Tensor]:
    """Latents and observations of the model, of shape (time, batch, size)."""
    generator = torch.Generator().manual_seed(0)

    def noise(variance: float | Tensor, size: int) -> Tensor:
        return torch.as_tensor(variance).sqrt() * torch.randn(SEQUENCES, size, generator=generator).double()

    z, zs, xs = noise(1.0, 2), [], []
    for t in range(STEPS):
        z = model.moved(z) + noise(PUSH, 2) if t else z
        zs.append(z)
        xs.append(model.sensed(z) + noise(1.0, 1))
    return torch.stack(zs), torch.stack(xs)


def covered(of: object, truth: Tensor) -> float:
    """The part of the truth within the central 90 %, dimension by dimension."""
    mixture = of if isinstance(of, Mixture) else None
    if mixture is not None:
        return float(((mixture.cdf(truth) - 0.5).abs() < 0.45).double().mean())
    mean, log_variance = of.mean, of.log_variance  # type: ignore[attr-defined]
    return float(((truth - mean).abs() < 1.6449 * torch.exp(0.5 * log_variance)).double().mean())


def figures(filter: Filter, zs: Tensor, xs: Tensor, particles: int) -> list[float]:
    """A row of the table."""
    _, found = filter.scan(filter.initial(torch.arange(SEQUENCES), particles=particles), xs)
    mean, velocity = found.posterior.mean, zs[..., 1:]
    left = (velocity - mean[..., 1:]).square().mean() / (velocity - velocity.mean((0, 1))).square().mean()
    return [
        float((mean - zs).square().mean().sqrt()),
        100.0 * covered(found.posterior, zs),
        100.0 * covered(found.prediction, xs),
        100.0 * covered(found.prediction_at_prior_mean, xs),
        float(found.evidence_bound.mean()),
        1.0 - float(left),
    ]


@torch.no_grad()
def beliefs() -> Table:
    """Every belief, the Kalman filter's last."""
    model = drifting_body()
    zs, xs = drawn(model)
    greedy, whole = (
        Filter(model, exact.Inference(exact.Config(), model)),
        Filter(model, kalman.Inference(kalman.Config(), model)),
    )
    heads = ("RMSE", "latent in 90 %", "x in 90 %", "at prior mean", "nats", "velocity R²")
    table = Table("belief", *heads, title=f"{SEQUENCES} sequences of {STEPS} steps, the model known")
    rows = {f"K = {k}": (greedy, k) for k in PARTICLES} | {"kalman": (whole, 1)}
    for name, (filter, count) in rows.items():
        rmse, latent, seen, narrow, nats, squared = figures(filter, zs, xs, count)
        table.add_row(
            name, f"{rmse:.3f}", f"{latent:.1f} %", f"{seen:.1f} %", f"{narrow:.1f} %", f"{nats:.3f}", f"{squared:.3f}"
        )
    return table


@torch.no_grad()
def notes(data: Path) -> Table:
    """Probabilities of notes, as they are served and at the prior's mean."""
    checkpoint = checkpoints.load("srnn-jsb-direct")
    filter = checkpoint.filter
    sequences = Source(path=data).like(checkpoint.card["data"]).load("test", observation_size=88)
    table = Table("prediction", "calibration error", "joint -log p, nats a frame", title="notes of JSB chorales, test")
    for name, samples in (("one sample", 1), (f"{filter.prediction_samples} samples", 16), ("64 samples", 64)):
        filter.prediction_samples = samples
        said, came, joint = [], [], []
        for found, x, _ in predictions(filter, sequences):
            said.append(found.mean.flatten())
            came.append(x.flatten())
            each = found.marginals.log_prob(x[:, None]).double().sum(-1)
            joint.append(-(each + found.log_weights).logsumexp(-1))
        table.add_row(name, f"{_error(torch.cat(said), torch.cat(came)):.4f}", f"{float(torch.cat(joint).mean()):.3f}")
    return table


def _error(said: Tensor, came: Tensor) -> float:
    """The expected calibration error of probabilities of 0.1 and more, in ten bins."""
    bins = (said * 10).long().clamp(max=9)
    apart = torch.bincount(bins, said - came, minlength=10).abs()[1:]
    return float(apart.sum() / np.maximum(1, int((bins > 0).sum())))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What beliefs are worth, beside the Kalman filter.")
    parser.add_argument("--music", type=Path, help="JSB chorales as an .npz of piano rolls.")
    options = parser.parse_args()
    Console().print(beliefs())
    if options.music:
        Console().print(notes(options.music))


if __name__ == "__main__":
    main()
