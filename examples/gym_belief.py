"""What hides behind observations: a linear probe reads velocities from a filter's belief, and from observations.

    python examples/gym_belief.py [--json]

Gymnasium's MountainCarContinuous, of which only the position is seen, and that with noise; the velocity is hidden. A
linear Gaussian state-space model is trained on rollouts, by the library's own trainer, and `VectorBeliefObservation`
filters others with it. Ridge regression then predicts the velocity from the belief, from the observation, and from
the last two and ten observations, which no filter has seen. R^2 is on rollouts that neither filter nor probe has met;
the intervals are of 95 %, by a bootstrap over episodes.

The model is one whose latent is all that it remembers. A recurrent one (SRNN, VRNN) would keep the past in a
deterministic state beside it, and on data as smooth as these leave its latent unused.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from avf_client.gym import VectorBeliefObservation
from gymnasium.vector import SyncVectorEnv
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from avf_core import TrainingConfig, build
from avf_core.errors import AvfError
from avf_core.models import lgssm
from avf_core.training.trainer import Run, Trainer

Array = NDArray[np.float64]

VALLEY, WIDTH = -np.pi / 6, 0.3  # where the car would rest, and about how far it swings
ANGLES = (0.05, 0.2)  # radians a step, of the oscillators that the model starts as
WINDOW = 10  # scores begin once so many observations were made
RESAMPLES = 1000
FEATURES = ("posterior_mean", "posterior_log_variance", "observation")
SETTINGS = {
    "model": {"kind": "lgssm", "latent_size": 2 * len(ANGLES), "observation_size": 1},
    "inference": {"kind": "kalman"},
}


class NoisyPosition(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The car's position, scaled and with noise of this deviation; what is hidden is told in the info, to be scored."""

    def __init__(self, env: gymnasium.Env[Any, Any], noise: float) -> None:
        super().__init__(env)
        self.noise = noise
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (1,), np.float32)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        observation, info = self.env.reset(**options)
        return self._seen(observation), info | {"velocity": float(observation[1])}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._seen(observation), reward, terminated, truncated, info | {"velocity": float(observation[1])}

    def _seen(self, observation: Any) -> NDArray[np.float32]:
        noise = self.noise * self.np_random.standard_normal(1)
        return ((observation[:1] - VALLEY) / WIDTH + noise).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Score:
    """R^2 of the velocity, as a probe of so many features predicts it, and its 95 % interval."""

    seen: str
    features: int
    r2: float
    low: float
    high: float


class Quiet:
    """Hears how the training goes, and prints a line a validation to standard error."""

    def updated(self, progress: Any, metrics: dict[str, float]) -> None:
        """Nothing to tell."""

    def validated(self, progress: Any, record: dict[str, Any]) -> None:
        """The free energy."""
        valid, seconds = record["valid"], record["seconds"]
        print(f"epoch {record['epoch']}: F {valid['free_energy_pooled']:.3f} nats, {seconds} s", file=sys.stderr)


def environments(count: int, noise: float) -> SyncVectorEnv:
    """So many cars."""
    name = "MountainCarContinuous-v0"
    return SyncVectorEnv([lambda: NoisyPosition(gymnasium.make(name, max_episode_steps=10**6), noise)] * count)


def rollouts(envs: gymnasium.vector.VectorEnv[Any, Any, Any], *, steps: int, seed: int) -> tuple[Array, Array]:
    """Observations (episodes, steps, size) and velocities (episodes, steps); cars that reach the goal are left out.

    The policy keeps the cars swinging: along their velocity, and a push of its own that changes now and then.
    """
    generator = np.random.default_rng(seed)
    observations, velocities, finished = [], [], np.zeros(envs.num_envs, dtype=bool)
    push = np.zeros(envs.num_envs)
    observation, infos = envs.reset(seed=1000 * seed)
    for _ in range(steps):
        velocity = infos["velocity"]
        observations.append(observation.copy())
        velocities.append(velocity.copy())
        changed = generator.random(len(push)) < 0.05
        push = np.where(changed, generator.uniform(-1.0, 1.0, len(push)), push)
        action = np.clip(0.3 * np.sign(velocity) + 0.6 * push, -1.0, 1.0)
        observation, _, ended, _, infos = envs.step(action[:, None].astype(np.float32))
        finished |= ended
    return np.stack(observations, axis=1)[~finished], np.stack(velocities, axis=1)[~finished]


def train(folder: Path, options: argparse.Namespace) -> None:
    """Train a filter on rollouts; its checkpoint is in the folder."""
    train, valid = (
        list(rollouts(environments(count, options.noise), steps=options.steps, seed=seed)[0])
        for count, seed in ((options.episodes, 1), (max(8, options.episodes // 8), 2))
    )
    filter = build(SETTINGS)
    assert isinstance(filter.model, lgssm.Model)
    start(filter.model)
    config = TrainingConfig(
        epochs=options.epochs,
        clip_length=25,
        batch_size=64,
        theta_rate=0.02,
        learning_rate_decay=0.96,
        phi_steps="clip",
        validate_every=max(1, options.epochs // 5),
    )
    run = Run(settings=SETTINGS, config=config, train=train, valid=valid, facts={}, folder=folder)
    with warnings.catch_warnings():  # exact inference has no parameters whose gradients might be clipped
        warnings.filterwarnings("ignore", message="`parameters` is an empty generator")
        Trainer(run, filter, Quiet()).train(stop=lambda: False)


@torch.no_grad()
def start(model: lgssm.Model) -> None:
    """Begin as oscillators, each with a frequency and both of its coordinates seen: that is all that is presumed."""
    for index, angle in enumerate(ANGLES):
        turn = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        block = slice(2 * index, 2 * index + 2)
        model.dynamics[block] = 0.0
        model.dynamics[block, block] = 0.99 * turn
    model.emission.fill_(1.0)
    model.process_log_variance.fill_(-4.0)
    model.noise_log_variance.fill_(-4.0)


def windows(observations: Array, length: int) -> Array:
    """The last `length` observations of every step, the first one repeated before it."""
    padded = np.concatenate([np.repeat(observations[:, :1], length - 1, axis=1), observations], axis=1)
    steps = observations.shape[1]
    return np.concatenate([padded[:, length - 1 - back :][:, :steps] for back in range(length)], axis=-1)


def probe(seen: str, fit: tuple[Array, Array], test: tuple[Array, Array]) -> Score:
    """Ridge regression from features (episodes, steps, size) to velocities, on those of `fit`; its score on `test`."""
    (features, velocities), (others, truth) = ((f[:, WINDOW:], v[:, WINDOW:]) for f, v in (fit, test))
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    mean, deviation = flat.mean(0), flat.std(0) + 1e-9
    design = (flat - mean) / deviation
    target = velocities.ravel()
    gram = design.T @ design + 1e-3 * len(design) * np.eye(design.shape[1])
    weights = np.linalg.solve(gram, design.T @ (target - target.mean()))
    predicted = (others - mean) / deviation @ weights + target.mean()
    drawn = np.random.default_rng(0).integers(0, len(truth), (RESAMPLES, len(truth)))
    low, high = np.quantile([r_squared(predicted[rows], truth[rows]) for rows in drawn], [0.025, 0.975])
    features_count = features.shape[-1]
    return Score(seen=seen, features=features_count, r2=r_squared(predicted, truth), low=float(low), high=float(high))


def r_squared(predicted: Array, truth: Array) -> float:
    """The share of the variance that is explained."""
    return float(1.0 - np.mean((predicted - truth) ** 2) / np.var(truth))


def compare(folder: Path, options: argparse.Namespace) -> list[Score]:
    """The scores of all that a probe may see."""
    found = []
    for seed in (3, 4):  # to fit probes on, and to test them on
        envs = environments(options.probes, options.noise)
        beliefs = VectorBeliefObservation(envs, folder, features=FEATURES)
        found.append(rollouts(beliefs, steps=options.steps, seed=seed))
        beliefs.close()
    (fit, fit_truth), (test, truth) = found

    def score(seen: str, fit_features: Array, test_features: Array) -> Score:
        return probe(seen, (fit_features, fit_truth), (test_features, truth))

    raw, others = fit[..., -1:], test[..., -1:]
    return [
        score("observation", raw, others),
        score("last 2 observations", windows(raw, 2), windows(others, 2)),
        score(f"last {WINDOW} observations", windows(raw, WINDOW), windows(others, WINDOW)),
        score("belief", fit[..., :-1], test[..., :-1]),
    ]


def table(scores: list[Score]) -> Table:
    """The scores, to be read."""
    shown = Table("what the probe sees", title="Hidden velocity, R^2 of a linear probe", title_justify="left")
    for heading in ("numbers", "R^2", "95 % interval"):
        shown.add_column(heading, justify="right")
    for score in scores:
        shown.add_row(score.seen, str(score.features), f"{score.r2:.3f}", f"{score.low:.3f} to {score.high:.3f}")
    return shown


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--noise", type=float, default=0.1, help="deviation of the sensor, in units of the swing")
    parser.add_argument("--steps", type=int, default=100, help="of each episode; more than 10")
    for name, default, what in (
        ("episodes", 384, "to train on"),
        ("epochs", 40, "of training"),
        ("probes", 64, "episodes to fit the probes on, and as many to test them on"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=what)
    options = parser.parse_args()
    if options.steps <= WINDOW or min(options.episodes, options.epochs, options.probes) < 1 or options.noise < 0.0:
        parser.error(f"--steps must be more than {WINDOW}, the other counts at least 1, --noise not negative")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder), options)
            trained = time.monotonic() - began
            scores = compare(Path(folder), options)
    except AvfError as error:
        sys.exit(f"error: {error}")
    if options.json:
        print(json.dumps({"scores": [asdict(score) for score in scores], "training_seconds": round(trained, 1)}))
        return
    Console().print(table(scores))
    print(f"trained in {trained:.0f} s")


if __name__ == "__main__":
    main()
