"""What does an estimate cost beside filtering: from tensors to what is stored, and from there to what is sent?

    python -m benchmarks.estimates [--json] [--rounds N]

Processor time of one thread, medians over the rounds, in which all that is timed takes turns. `lists` is the way by
which the releases before went: a struct of lists for every row, stored as JSON, read again for binary messages.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import avf_wire as wire
import msgspec
import numpy as np
import torch
from avf_server.models.served import Models
from avf_server.stepping import estimates
from avf_server.stepping.replies import Reply
from avf_server.stepping.rows import Row
from avf_server.stores.base import Position
from avf_wire import binary

from avf_core.belief_rows import BeliefRows
from avf_core.beliefs import Belief, unstack
from avf_core.estimates import Estimate
from avf_core.trees import finite_rows

MODELS = ("srnn-jsb", "srnn-speech-small")
BATCHES = (1, 16, 64)
ROUNDS = 40

Timed = dict[str, Callable[[], Any]]


def microseconds(timed: Timed, rounds: int) -> dict[str, float]:
    """The median of what each takes of the processor, the whole of it once a round."""
    times: dict[str, list[float]] = {name: [] for name in timed}
    for turn in range(rounds + 2):
        for name, call in timed.items():
            start = time.thread_time_ns()
            call()
            if turn >= 2:
                times[name].append((time.thread_time_ns() - start) / 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def by_lists(belief: Belief, estimate: Estimate, rows: list[Row], form: BeliefRows) -> list[tuple[bytes, bytes]]:
    """Beliefs and estimates as they are stored, row by row, by way of lists."""

    def moments(distribution: Any) -> list[wire.Moments]:
        means = distribution.mean.tolist()
        if not hasattr(distribution, "log_variance"):
            return [wire.Moments(mean=mean) for mean in means]
        deviations = torch.exp(0.5 * distribution.log_variance).tolist()
        return [wire.Moments(mean=m, deviation=d) for m, d in zip(means, deviations, strict=True)]

    scalars = ("free_energy", "reconstruction", "kl", "free_energies", "iterations")
    parts = ("prior", "posterior", "prediction", "likelihood")
    columns = {name: getattr(estimate, name).tolist() for name in scalars}
    columns |= {name: moments(getattr(estimate, name)) for name in parts}
    finite_rows(belief, estimate).tolist()
    messages = [
        wire.Estimate(
            epoch=row.continues.epoch,
            seq=row.continues.seq + 1,
            durability=row.durability,
            **{name: column[i] for name, column in columns.items()},
        )
        for i, row in enumerate(rows)
    ]
    unstack(belief)  # what was kept for the next step
    saved = [form.to_bytes(row.numpy().tobytes()) for row in form.rows(belief)]
    return list(zip(saved, (msgspec.json.encode(message) for message in messages), strict=True))


def by_arrays(belief: Belief, estimate: Estimate, rows: list[Row], form: BeliefRows) -> list[tuple[bytes, bytes]]:
    """The same as the server makes it."""
    batch = estimates.to_host(belief, estimate, form, count=len(rows))
    messages = estimates.to_messages(batch, rows, surprise=np.full(len(rows), np.nan))
    return [(form.to_bytes(row.tobytes()), message) for row, message in zip(batch.beliefs, messages, strict=True)]


def measured(models: Models, name: str, batch: int, rounds: int) -> dict[str, float]:
    """All figures of a model at a size of the batch; microseconds a row."""
    checkpoint, form = models.checkpoint(name), models.belief_rows(name)
    spec = checkpoint.filter.model.observation
    x = torch.full((batch, spec.size), min(max(0.0, spec.low), spec.high))
    with torch.no_grad():
        belief, estimate = checkpoint.filter.step(checkpoint.filter.initial(torch.arange(batch)), x)
    at = Position(1, 0)
    rows = [
        Row(model=name, iterations=0, durability="group", belief=None, seed=0, continues=at, x=row) for row in x.numpy()
    ]
    lists = [kept for _, kept in by_lists(belief, estimate, rows, form)]
    replies = [Reply(1, 1, kept, 1) for _, kept in by_arrays(belief, estimate, rows, form)]
    decoder = msgspec.json.Decoder(wire.Estimate)
    found = microseconds(
        {
            "to stored, lists": lambda: by_lists(belief, estimate, rows, form),
            "to stored, arrays": lambda: by_arrays(belief, estimate, rows, form),
            "to binary, lists": lambda: [binary.encode(binary.estimate_of(decoder.decode(kept))) for kept in lists],
            "to binary, arrays": lambda: [reply.binary() for reply in replies],
            "to scalars, arrays": lambda: [reply.summary() for reply in replies],
            "to JSON, arrays": lambda: [msgspec.json.encode(reply.message()) for reply in replies],
        },
        rounds,
    )
    sizes = {"bytes, lists": len(lists[0]), "bytes, arrays": len(replies[0].estimate)}
    return {name: value / batch for name, value in found.items()} | sizes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = Models(MODELS, device="cpu")
    table = {(name, batch): measured(models, name, batch, options.rounds) for name in MODELS for batch in BATCHES}
    if options.json:
        print(json.dumps({f"{name}, {batch}": row for (name, batch), row in table.items()}))
        return
    print("| model | batch | " + " | ".join(next(iter(table.values()))) + " |")
    print("|---" * (len(next(iter(table.values()))) + 2) + "|")
    for (name, batch), row in table.items():
        print(f"| {name} | {batch} | " + " | ".join(f"{value:.3g}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
