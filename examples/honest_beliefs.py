"""What a belief is worth: one sampled past, particles and the exact filter beside the Kalman filter, on the same data.

    python examples/honest_beliefs.py [--json] [--music jsb_chorales.npz]

Two bodies on springs are pushed about, and a sensor that looks ahead says, with noise, where each is going: the
velocities are hidden. All filters know the truth, so that all error is the belief's; the last one is of numpy alone.
With --music, the notes that `srnn-jsb` expects are held against those that come.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from avf_core import checkpoints
from avf_core.analysis.batching import batches
from avf_core.data import Source
from avf_core.errors import AvfError
from avf_core.filtering import Filter
from avf_core.inference import exact, kalman
from avf_core.mixtures import variance
from avf_core.models import lgssm
from avf_core.trees import take

Array = np.ndarray

PARTICLES = (1, 64, 256)
SAMPLES = (16, 64)  # of the prior, that predictions of notes are averaged over
WITHIN_90 = 1.6448536269514722  # standard deviations that hold 90 % of a Gaussian
BINS, LIKELY = 15, 0.01  # of the calibration error: over the notes that are said to be likelier than this

AXES = np.eye(2)
DYNAMICS = np.kron([[0.7, 0.1], [-0.06, 1.0]], AXES)  # of positions, then velocities
EMISSION = np.kron([[1.0, 1.45]], AXES)
PUSHES = np.array([0.1, 0.1, 0.08, 0.08])  # variances a step
NOISE = 2.4  # variance
HEADS = {
    "rmse": "error of the mean, RMS",
    "latent": "90 % interval covers the latent, %",
    "observation": "90 % band covers the observation, %",
    "at_prior_mean": "  by the likelihood at the prior's mean, %",
    "nats": "bound on -log p(x), nats a step",
    "velocity": "R² of the hidden velocities",
}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a filter says, (time, batch, size): mean and deviation of latents, of observations before they come, and of
    the likelihood at the prior's mean; and its bound on -log p(x_t | x_<t), (time, batch).
    """

    latent: tuple[Array, Array]
    observation: tuple[Array, Array]
    at_prior_mean: tuple[Array, Array]
    nats: Array


def drawn(sequences: int, steps: int) -> tuple[Array, Array]:
    """Latents and observations, of shape (time, batch, size)."""
    random = np.random.default_rng(0)
    z, zs = random.standard_normal((sequences, 4)), []
    for t in range(steps):
        z = z @ DYNAMICS.T + np.sqrt(PUSHES) * random.standard_normal(z.shape) if t else z
        zs.append(z)
    clean = np.stack(zs) @ EMISSION.T
    return np.stack(zs), clean + np.sqrt(NOISE) * random.standard_normal(clean.shape)


def reference(xs: Array) -> Told:
    """The Kalman filter, by the book."""
    mean, covariance, found = np.zeros((xs.shape[1], 4)), np.eye(4), []
    for t, x in enumerate(xs):
        if t:
            mean, covariance = mean @ DYNAMICS.T, DYNAMICS @ covariance @ DYNAMICS.T + np.diag(PUSHES)
        expected = mean @ EMISSION.T
        spread = EMISSION @ covariance @ EMISSION.T + NOISE * np.eye(2)
        gain = covariance @ EMISSION.T @ np.linalg.inv(spread)
        far = np.einsum("bi,ij,bj->b", x - expected, np.linalg.inv(spread), x - expected)
        nats = 0.5 * (far + np.linalg.slogdet(2.0 * np.pi * spread)[1])
        mean, covariance = mean + (x - expected) @ gain.T, covariance - gain @ EMISSION @ covariance
        deviations = [np.broadcast_to(np.sqrt(np.diag(v)), m.shape) for v, m in ((covariance, mean), (spread, x))]
        found.append((mean, deviations[0], expected, deviations[1], np.full(x.shape, np.sqrt(NOISE)), nats))
    means, apart, ahead, ahead_apart, narrow, energies = (np.stack(each) for each in zip(*found, strict=True))
    return Told(latent=(means, apart), observation=(ahead, ahead_apart), at_prior_mean=(ahead, narrow), nats=energies)


@torch.no_grad()
def told(filter: Filter, xs: Array, particles: int) -> Told:
    """The library's filter."""
    _, found = filter.scan(filter.initial(torch.arange(xs.shape[1]), particles=particles), torch.as_tensor(xs))
    return Told(
        latent=_moments(found.posterior),
        observation=_moments(found.prediction),
        at_prior_mean=_moments(found.prediction_at_prior_mean),
        nats=found.evidence_bound.numpy(),
    )


def figures(said: Told, zs: Array, xs: Array) -> dict[str, float]:
    """A column of the table."""
    error, velocity = said.latent[0] - zs, zs[..., 2:]
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "latent": _covered(said.latent, zs),
        "observation": _covered(said.observation, xs),
        "at_prior_mean": _covered(said.at_prior_mean, xs),
        "nats": float(said.nats.mean()),
        "velocity": float(1.0 - (error[..., 2:] ** 2).mean() / ((velocity - velocity.mean((0, 1))) ** 2).mean()),
    }


def beliefs(sequences: int, steps: int) -> dict[str, dict[str, float]]:
    """Every filter's figures, on the same data."""
    zs, xs = drawn(sequences, steps)
    model = lgssm.Model.from_matrices(
        dynamics=torch.as_tensor(DYNAMICS),
        emission=torch.as_tensor(EMISSION),
        initial_mean=torch.zeros(4).double(),
        initial_variance=torch.ones(4).double(),
        process_variance=torch.as_tensor(PUSHES),
        noise_variance=torch.full((2,), NOISE).double(),
    )
    greedy = Filter(model, exact.Inference(exact.Config(), model))
    whole = Filter(model, kalman.Inference(kalman.Config(), model))
    found = {f"K={k}": figures(told(greedy, xs, k), zs, xs) for k in PARTICLES}
    return {**found, "kalman": figures(told(whole, xs, 1), zs, xs), "Kalman, numpy": figures(reference(xs), zs, xs)}


@dataclass(frozen=True, kw_only=True)
class Notes:
    """How predictions of notes are calibrated, and what a frame costs by them, all its notes together, in nats."""

    prediction: str
    calibration_error: float
    nats: float


@torch.no_grad()
def notes(data: Path) -> list[Notes]:
    """Probabilities of the notes of the test split, before they are heard."""
    checkpoint = checkpoints.load("srnn-jsb")
    filter, source = checkpoint.filter, Source(path=data).like(checkpoint.card["data"])
    names = ["at the prior's mean", *(f"mean of {count} prior samples" for count in SAMPLES)]
    kept: list[list[tuple[Array, Array, Array]]] = [[] for _ in names]
    for batch in batches(filter, source.load("test", observation_size=88), size=128):
        belief = filter.initial(batch.seeds)
        for t in range(len(batch.xs)):
            x, _, _ = batch.at(t)
            belief, found = filter.step(take(belief, slice(0, len(x))), x)
            mixtures = [found.outlook.prediction(count) for count in SAMPLES]
            joint = [
                (m.marginals.log_prob(x[:, None]).double().sum(-1) + m.log_weights).logsumexp(-1) for m in mixtures
            ]
            at_mean = found.prediction_at_prior_mean
            said = [(at_mean.mean, at_mean.log_prob(x).double().sum(-1))]
            said += [(mixture.mean, together) for mixture, together in zip(mixtures, joint, strict=True)]
            for rows, (mean, together) in zip(kept, said, strict=True):
                rows.append((mean.numpy().ravel(), x.numpy().ravel(), -together.numpy()))
    columns = [[np.concatenate(each) for each in zip(*rows, strict=True)] for rows in kept]
    return [
        Notes(prediction=name, calibration_error=_calibration_error(mean, came), nats=float(nats.mean()))
        for name, (mean, came, nats) in zip(names, columns, strict=True)
    ]


def _moments(distribution: Any) -> tuple[Array, Array]:
    return distribution.mean.numpy(), variance(distribution).sqrt().numpy()


def _covered(said: tuple[Array, Array], truth: Array) -> float:
    """How much of the truth is within the central 90 %, in percent, dimension by dimension."""
    return float(100.0 * (np.abs(truth - said[0]) < WITHIN_90 * said[1]).mean())


def _calibration_error(said: Array, came: Array) -> float:
    """Over bins of probability, |what was said - how often it came|, weighted by the notes in them."""
    said, came = said[said > LIKELY].astype(float), came[said > LIKELY]
    bins = np.minimum((said * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, said - came, minlength=BINS)).sum() / len(said))


def tables(found: dict[str, Any]) -> list[Table]:
    """What was found, for people."""
    filters = found["beliefs"]
    size = f"{found['sequences']} sequences of {found['steps']} steps, the system known"
    shown = Table("", *(f"{name}" for name in filters), title=size)
    for key, head in HEADS.items():
        digits = 1 if "%" in head else 3
        shown.add_row(head, *(f"{filters[name][key]:.{digits}f}" for name in filters))
    if "notes" not in found:
        return [shown]
    music = Table("prediction of notes", "calibration error", "nats a frame, jointly", title="srnn-jsb, test")
    for row in found["notes"]:
        music.add_row(row["prediction"], f"{row['calibration_error']:.4f}", f"{row['nats']:.3f}")
    return [shown, music]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What beliefs are worth, beside the Kalman filter.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--sequences", type=int, default=50)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--music", type=Path, help="JSB chorales as an .npz of piano rolls")
    options = parser.parse_args()
    if options.sequences < 1 or options.steps < 1:
        parser.error("expected at least one sequence and one step")
    found: dict[str, Any] = {"sequences": options.sequences, "steps": options.steps}
    try:
        if options.music:
            found["notes"] = [asdict(row) for row in notes(options.music)]
    except (AvfError, OSError) as error:
        sys.exit(f"honest_beliefs: {error}")
    found["beliefs"] = beliefs(options.sequences, options.steps)
    if options.json:
        print(json.dumps(found))
        return
    for table in tables(found):
        Console().print(table)


if __name__ == "__main__":
    main()
