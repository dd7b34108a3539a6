"""Stream a recording through a session before people's eyes, and keep what is needed to sum it up.

`avf stream` and `examples/demo.py` are thin faces of this.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from avf_sources import Recording
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avf_client.blocking.client import Session
from avf_client.commands.describe import describer
from avf_client.commands.driven import Driven
from avf_client.commands.view import open_view
from avf_client.results.estimates import Estimate

T = TypeVar("T")


@dataclass(kw_only=True)
class Trace:
    """The estimates of a recording's first frames, in order."""

    recording: Recording
    model: str
    estimates: list[Estimate] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """How many frames were filtered."""
        return len(self.estimates)

    @property
    def mean_free_energy(self) -> float | None:
        """Nats per step, over all frames; None where there are none."""
        return self.mean("free_energy")

    @property
    def alarms(self) -> int:
        """How many were raised."""
        return sum(bool(estimate.alarm and estimate.alarm.raised) for estimate in self.estimates)

    def mean(self, name: str) -> float | None:
        """The mean of a number of the estimates, nats per step."""
        return float(np.mean(self.series(name))) if self.estimates else None

    def series(self, name: str) -> NDArray[np.float64]:
        """(T,) a number of each estimate."""
        return np.array([getattr(estimate, name) for estimate in self.estimates], dtype=np.float64)

    def predictions(self) -> NDArray[np.float64]:
        """(T, D) what was expected of each frame before it was observed."""
        return np.stack([estimate.prediction for estimate in self.estimates])


def watch(
    session: Session,
    given: Recording | Driven,
    *,
    console: Console,
    pace: float | None = None,
    limit: int | None = None,
) -> Trace:
    """Stream a recording through `session`, with what comes with it, and show it.

    `pace` is in frames per second, None as fast as it goes.
    """
    driven = given if isinstance(given, Driven) else Driven(recording=given)
    recording, steps = driven.recording, driven.steps(limit)
    trace = Trace(recording=recording, model=session.info.model)
    title = f"{recording.name} through {session.info.model}, {session.info.iterations} iterations"
    source = steps if pace is None else paced(steps, pace)
    with open_view(console, describer(recording), title=title) as view:
        streamed = session.stream(source, in_flight=1 if pace else None)
        for x, estimate in zip(recording.frames[:limit], streamed, strict=False):
            trace.estimates.append(estimate)
            view.add(x, estimate)
            tell_alarm(console, estimate)
    return trace


def tell_alarm(console: Console, estimate: Estimate) -> None:
    """A line where the session's detector raised an alarm in this step."""
    alarm = estimate.alarm
    if alarm is not None and alarm.raised:
        reached = f"{alarm.statistic:.1f} nats, of {alarm.threshold:.1f}"
        console.print(f"alarm at step {estimate.seq}: {reached}", style="bold red", highlight=False, soft_wrap=True)


def paced(steps: Iterable[T], per_second: float) -> Iterator[T]:
    """The steps, one every 1 / `per_second` seconds."""
    start = time.monotonic()
    for index, step in enumerate(steps):
        time.sleep(max(0.0, start + index / per_second - time.monotonic()))
        yield step


def summary(trace: Trace, *, seconds: float) -> Table:
    """A table that sums up a trace that took this long."""
    table = Table(title=Text(trace.recording.name), box=box.ROUNDED, show_header=False, title_style="bold")
    table.add_row("model", trace.model)
    table.add_row("steps", f"{trace.steps}")
    if trace.estimates:
        energies = trace.series("free_energy")
        worst = int(np.argmax(energies))
        seen = describer(trace.recording).observed(trace.recording.frames[worst])
        table.add_row("mean free energy per step", f"{energies.mean():.3f} nats")
        table.add_row("  of it reconstruction", f"{trace.mean('reconstruction'):.3f} nats")
        table.add_row("  of it KL", f"{trace.mean('kl'):.3f} nats")
        table.add_row("at the prior, before inference", f"{_at_prior(trace):.3f} nats")
        table.add_row("most surprising", Text(f"step {worst + 1}, {energies[worst]:.2f} nats: {seen}"))
    table.add_row("speed", f"{trace.steps / max(seconds, 1e-9):.1f} steps/s")
    for remark in trace.recording.remarks:
        table.add_row("note", Text(remark))
    return table


def _at_prior(trace: Trace) -> float:
    return float(np.mean([estimate.free_energies[0] for estimate in trace.estimates]))
