"""Inference procedures side by side: what each reaches, in nats per step, and what each costs.

    python examples/compare_inference.py [--json] [--data jsb_chorales.npz]

On a linear Gaussian model, where the best is known exactly, and on the SRNN of the zoo (`srnn-jsb`), on sequences
drawn from it, or on the test split of --data. All procedures filter the same sequences under the same model, on the
same noise. What is learned here, in seconds, is AVF and direct inference for the linear model, and direct inference
for the SRNN: the zoo's `srnn-jsb-direct` has a model of its own, whose F says nothing about inference in this one. Adam
has as many gradient samples an iteration as AVF, and for each number of iterations its best rate on other sequences.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from _inference_table import Row, Section, table
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from avf_core import Filter, TrainingConfig, data, generate, load
from avf_core.analysis.evaluation import ratio
from avf_core.errors import AvfError
from avf_core.inference import direct, exact, gradient, iterative
from avf_core.inference.base import Inference
from avf_core.models import lgssm
from avf_core.models.base import Model
from avf_core.training import em
from avf_core.training.clips import batches_per_epoch, clip_batch

AVF_ITERATIONS = (1, 2, 5)
ADAM_ITERATIONS = (1, 5, 20, 100)
ADAM_RATES = (0.1, 0.3, 0.6, 1.0)
TRIAL = 32  # sequences, not those compared on, by whose first steps Adam's rate is chosen
TIMED = 3  # steps of one sequence that are timed


@dataclass(frozen=True)
class Candidate:
    """A procedure to be compared: its filter, and the iterations that it is told."""

    name: str
    filter: Filter
    iterations: int | None


Told = Callable[[str, int], None]
"""Called with what is done and how much of it there is; each call before the work itself."""


def linear_section(options: argparse.Namespace, tell: Told) -> Section:
    """The linear Gaussian model: all is learned here, and the best is known."""
    model = lgssm.Model.from_matrices(
        dynamics=torch.tensor([[0.9, 0.3], [-0.3, 0.8]]),
        emission=torch.tensor([[1.0, 0.8], [-0.2, 1.0]]),
        initial_mean=torch.tensor([0.5, -0.5]),
        initial_variance=torch.tensor([1.0, 1.0]),
        process_variance=torch.tensor([0.3, 0.2]),
        noise_variance=torch.tensor([0.3, 0.2]),
    ).requires_grad_(False)
    simulator = Filter(model, exact.Inference(exact.Config(), model))
    xs = generate(simulator, torch.arange(options.sequences), time=options.steps)
    config = iterative.Config(
        iterations=5, rule="learned_sgd", inputs="whitened", samples=16, antithetic=True, units=64
    )
    avf = Filter(model, iterative.Inference(config, model))
    recurrent = direct.Config(widths=(64,), context=(), recurrent=32)
    recognition = Filter(model, direct.Inference(recurrent, model))

    def clip(update: int) -> em.Clip:
        seeds = 1_000_000 + 64 * update + torch.arange(64)
        drawn = generate(simulator, seeds, time=8)
        return em.Clip.whole(drawn, torch.ones(8, 64, dtype=torch.bool), seeds)

    train_avf(avf, clip, updates=options.updates, tell=tell)
    train_direct(recognition, clip, updates=2 * options.updates, rate=1e-2, tell=tell)
    trial = generate(simulator, 500_000 + torch.arange(TRIAL), time=options.trial)
    candidates = [
        Candidate("exact, full covariance", simulator, None),
        Candidate(
            "exact, mean-field", Filter(model, exact.Inference(exact.Config(covariance="diagonal"), model)), None
        ),
        Candidate("direct: an LSTM on x_1..t", recognition, None),
        *adam_candidates(model, trial, samples=16, tell=tell),
        *(Candidate("AVF", avf, n) for n in AVF_ITERATIONS),
    ]
    return Section(
        title="Linear Gaussian model, 2 latents, 2 observations",
        caption="AVF was trained with 5 iterations; 16 gradient samples an iteration, as Adam has. The optima are "
        "those of filtering step by step, in closed form; no filter reaches the evidence, which sees the future.",
        sequences=options.sequences,
        steps=options.steps,
        exact={
            "evidence": float(-exact.kalman_filter(model, xs).log_evidence.mean()),
            "optimum, full covariance": float(exact.greedy_optimum(model, xs, covariance="full").mean()),
            "optimum, mean-field": float(exact.greedy_optimum(model, xs, covariance="diagonal").mean()),
        },
        rows=compare(candidates, xs, tell),
    )


def srnn_section(options: argparse.Namespace, tell: Told) -> Section:
    """The zoo's SRNN with its own AVF; what is best is had by descending until nothing changes."""
    checkpoint = load("srnn-jsb")
    filter, model = checkpoint.filter, checkpoint.filter.model
    trained = filter.inference.config
    tell("SRNN: sequences", 1)
    sequences, others = srnn_sequences(options, filter)
    recognition = Filter(model, direct.Inference(direct.Config(), model))
    config = TrainingConfig(clip_length=25, batch_size=16)
    per_epoch = batches_per_epoch(others, config)

    def clip(update: int) -> em.Clip:
        return clip_batch(others, config, update // per_epoch, update % per_epoch)

    train_direct(recognition, clip, updates=2 * options.updates, rate=3e-3, tell=tell)
    xs = stacked(sequences)
    trial = stacked([s[: options.trial] for s in others[:TRIAL]])
    converged = gradient.Config(
        iterations=options.converged, samples=2 * trained.samples, antithetic=True, learning_rate=0.3, decay=0.05
    )
    candidates = [
        Candidate("best: Adam until converged", Filter(model, gradient.Inference(converged, model)), options.converged),
        Candidate("direct, learned here", recognition, None),
        *adam_candidates(model, trial, samples=trained.samples, tell=tell),
        *(Candidate("AVF", filter, n) for n in AVF_ITERATIONS),
    ]
    source = f"the test split of {options.data.name}" if options.data else "sequences drawn from the model itself"
    return Section(
        title=f"SRNN of the zoo ({checkpoint.name}), 100 latents, 88 piano keys, on {source}",
        caption=f"All rows have the theta of {checkpoint.name}, which was trained with its AVF: {trained.iterations} "
        f"iterations, {trained.samples} gradient samples each, as Adam has. Direct inference was learned here for this "
        f"theta, in {2 * options.updates} updates; trained for longer, with its own theta, it is in docs/results.md.",
        sequences=xs.shape[1],
        steps=xs.shape[0],
        exact={},
        rows=compare(candidates, xs, tell),
    )


def srnn_sequences(options: argparse.Namespace, filter: Filter) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The sequences to compare on, cut to one length, and others to learn from."""
    if options.data:
        test, others = data.load(options.data, "test"), data.load(options.data, "train")
        long = [s[: options.srnn_steps] for s in test if len(s) >= options.srnn_steps]
        return long[: options.srnn_sequences], others
    count = options.srnn_sequences
    drawn = generate(filter, torch.arange(count), time=options.srnn_steps)
    others = generate(filter, 1_000_000 + torch.arange(256), time=25)
    return list(drawn.transpose(0, 1).numpy()), list(others.transpose(0, 1).numpy())


def stacked(sequences: list[np.ndarray]) -> Tensor:
    """Sequences of one length as (time, batch, observation)."""
    return torch.from_numpy(np.stack(sequences, axis=1)).float()


def optimised(inference: Inference, *, updates: int, rate: float, name: str, tell: Told) -> Iterator[int]:
    """The updates of a procedure's parameters; the caller adds up their gradients, here Adam steps along them."""
    optimizer = torch.optim.Adam(inference.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for update in range(updates):
        tell(f"learning: {name}", updates)
        optimizer.zero_grad()
        yield update
        optimizer.step()
        schedule.step()


def train_avf(filter: Filter, clip: Callable[[int], em.Clip], *, updates: int, tell: Told) -> None:
    """Train the update model: each iterate on its own result (Algorithm 1, with theta as it is)."""
    for update in optimised(filter.inference, updates=updates, rate=1e-2, name="AVF", tell=tell):
        batch = clip(update)
        _, study = em.expectation(filter, batch, kl_weight=1.0)
        em.backward_through_updates(study, batch.frames)


def train_direct(filter: Filter, clip: Callable[[int], em.Clip], *, updates: int, rate: float, tell: Told) -> None:
    """Train a recognition network by F of whole clips, with theta as it is."""
    for update in optimised(filter.inference, updates=updates, rate=rate, name="direct", tell=tell):
        objective, _ = em.joint_free_energy(filter, clip(update), kl_weight=1.0)
        objective.backward()  # type: ignore[no-untyped-call]


def adam_candidates(model: Model, trial: Tensor, *, samples: int, tell: Told) -> Iterator[Candidate]:
    """Adam with each number of iterations, at the learning rate that is best for it on the trial sequences."""
    for count in ADAM_ITERATIONS:
        found: dict[float, Filter] = {}
        for rate in ADAM_RATES:
            tell("Adam: learning rates", len(ADAM_ITERATIONS) * len(ADAM_RATES))
            config = gradient.Config(iterations=count, learning_rate=rate, decay=0.05, samples=samples, antithetic=True)
            filter = Filter(model, gradient.Inference(config, model))
            with torch.no_grad():
                _, estimates = filter.scan(filter.initial(2_000_000 + torch.arange(trial.shape[1])), trial)
            found[float(estimates.free_energy.mean())] = filter
        yield Candidate("gradient: Adam", found[min(found)], count)


def compare(candidates: list[Candidate], xs: Tensor, tell: Told) -> list[Row]:
    """Filter the same sequences with each candidate, the first of which is the reference."""
    rows: list[Row] = []
    reference: np.ndarray | None = None
    for candidate in candidates:
        tell("comparing", len(candidates))
        energies, together = filtered(candidate, xs)
        reference = energies if reference is None else reference
        lengths = np.full(len(energies), len(xs))
        mean, error = ratio(energies, lengths)
        above, above_error = ratio(energies - reference, lengths)
        _, alone = filtered(candidate, xs[:TIMED, :1])
        rows.append(
            Row(
                procedure=candidate.name,
                iterations=candidate.iterations,
                free_energy=mean,
                error=error or 0.0,
                above=above,
                above_error=above_error or 0.0,
                milliseconds=alone,
                milliseconds_together=together,
            )
        )
    return rows


@torch.no_grad()
def filtered(candidate: Candidate, xs: Tensor) -> tuple[np.ndarray, float]:
    """F of every sequence, summed over its steps, in nats; and the median milliseconds of a step."""
    filter = candidate.filter.eval()
    belief = filter.initial(torch.arange(xs.shape[1]))
    energies, times = np.zeros(xs.shape[1]), []
    for x in xs:
        start = time.perf_counter()
        belief, estimate = filter.step(belief, x, iterations=candidate.iterations)
        times.append(1e3 * (time.perf_counter() - start))
        energies += estimate.free_energy.double().numpy()
    return energies, statistics.median(times)


def parser() -> argparse.ArgumentParser:
    """The options; those of sizes cut the example short."""
    made = argparse.ArgumentParser(description="Compare inference procedures on two models.")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    made.add_argument("--data", type=Path, help="a piano roll (npz) whose test split the SRNN filters")
    sizes = {
        "sequences": 500,
        "steps": 20,
        "trial": 5,
        "updates": 120,
        "srnn-sequences": 16,
        "srnn-steps": 12,
        "converged": 120,
    }
    for name, default in sizes.items():
        made.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    return made


def main() -> int:
    """Run the example; gives the exit code."""
    options = parser().parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def tell(name: str, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.advance(tasks[name])

        try:
            if options.data:
                data.describe(options.data)  # what is wrong with it is said before anything is learned
            sections = {"lgssm": linear_section(options, tell)}
            tasks.clear()
            sections["srnn"] = srnn_section(options, tell)
        except AvfError as error:
            bar.console.print(f"compare_inference: {error}", highlight=False, markup=False, soft_wrap=True)
            return 1
    if options.json:
        machine = {"machine": platform.machine(), "torch": torch.__version__, "threads": 1}
        print(json.dumps({**machine, **{name: asdict(section) for name, section in sections.items()}}))
        return 0
    console = Console()
    for section in sections.values():
        console.print(table(section))
    return 0


if __name__ == "__main__":
    sys.exit(main())
