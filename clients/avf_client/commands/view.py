"""What a person sees while a stream runs: a live table in a terminal, plain lines elsewhere.

The law: a view is told of each estimate once, in order, and keeps only what it shows. Whether there is a terminal is
asked of the console, once, in `open_view`.
"""

from collections import deque
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from avf_client.commands.describe import Describer
from avf_client.results.estimates import Estimate

RECONSTRUCTION, KL = "cyan", "magenta"
_BAR = 22  # characters
_WIDE = 116  # columns of a terminal that has room for everything
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class View(Protocol):
    """Where estimates are shown; a context manager around the stream."""

    def add(self, x: NDArray[np.float64], estimate: Estimate) -> None:
        """Show one more; x has shape (D,)."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_view(console: Console, describer: Describer, *, title: str) -> View:
    """A live table where the console is a terminal, else plain lines."""
    return LiveTable(console, describer, title=title) if console.is_terminal else Lines(console, describer, title)


class Lines:
    """One plain line for each estimate."""

    def __init__(self, console: Console, describer: Describer, title: str) -> None:
        self._console = console
        self._describer = describer
        self._title = title
        self._index = 0

    def add(self, x: NDArray[np.float64], estimate: Estimate) -> None:
        """Print the line of one estimate."""
        d = self._describer
        expected = " ".join(text for text, _ in d.expected(x, estimate))
        self._say(
            f"{d.time(self._index):<11}  F {estimate.free_energy:7.2f} = {estimate.reconstruction:6.2f} + "
            f"{estimate.kl:5.2f} nats  {d.observed_title} {d.observed(x):<18}  {d.expected_title} {expected}"
        )
        self._index += 1

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._say(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LiveTable:
    """A table of the last estimates that grows downwards and then scrolls; narrow terminals get fewer columns."""

    def __init__(self, console: Console, describer: Describer, *, title: str) -> None:
        self._describer = describer
        self._title = title
        self._rows: deque[tuple[Text, ...]] = deque(maxlen=max(4, min(24, console.height - 8)))
        self._count = 0
        self._sum = 0.0
        self._scale = Scale()
        self._wide = console.width >= _WIDE
        self._bar = _BAR if self._wide else _BAR // 2
        self._live = Live(console=console, refresh_per_second=15, get_renderable=self._table)

    def add(self, x: NDArray[np.float64], estimate: Estimate) -> None:
        """Add the row of one estimate."""
        d = self._describer
        expected = Text()
        for text, agrees in d.expected(x, estimate):
            expected.append(text + "  ", style="green" if agrees else "dim")
        self._scale.see(estimate.free_energy)
        parts = (
            Text(f"{estimate.reconstruction:.2f}", style=RECONSTRUCTION),
            Text(f"{estimate.kl:.2f}", style=KL),
        )
        self._rows.append(
            (
                Text(d.time(self._count)),
                Text(d.observed(x), style="bold"),
                expected,
                Text(f"{estimate.free_energy:.2f}", style="bold"),
                *(parts if self._wide else ()),
                bar(estimate.reconstruction, estimate.kl, full=self._scale.full, width=self._bar),
            )
        )
        self._count += 1
        self._sum += estimate.free_energy

    def _table(self) -> Table:
        mean = f"mean {self._sum / self._count:.2f} nats a step" if self._count else "waiting"
        table = Table(
            title=self._title, caption=f"{self._count} steps, {mean}", box=box.SIMPLE_HEAD, pad_edge=False, expand=True
        )
        d = self._describer
        table.add_column(d.time_title, justify="right", no_wrap=True)
        table.add_column(d.observed_title, no_wrap=True, ratio=2)
        table.add_column(d.expected_title, no_wrap=True, ratio=4 if self._wide else 2)
        table.add_column("F (nats)", justify="right", no_wrap=True)
        if self._wide:
            table.add_column(Text("recon.", style=RECONSTRUCTION), justify="right", no_wrap=True)
            table.add_column(Text("KL", style=KL), justify="right", no_wrap=True)
        table.add_column("surprise", no_wrap=True, min_width=self._bar)
        for row in self._rows:
            table.add_row(*row)
        return table

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class Scale:
    """What a full bar means: the largest free energy so far, in nats, at least `full` to begin with."""

    def __init__(self, full: float = 12.0) -> None:
        self.full = full

    def see(self, free_energy: float) -> None:
        """Let this free energy fit."""
        if np.isfinite(free_energy):
            self.full = max(self.full, free_energy)


def bar(reconstruction: float, kl: float, *, full: float, width: int = _BAR) -> Text:
    """A bar of two colours, `width` characters where reconstruction + kl = `full` nats; negative parts are empty."""
    first = min(width, round(width * max(0.0, reconstruction) / full))
    rest = max(0.0, min(width - first, width * max(0.0, kl) / full))
    whole, eighths = divmod(int(rest * 8), 8)
    tail = _EIGHTHS[eighths] if eighths else ""
    return Text.assemble(("█" * first, RECONSTRUCTION), ("█" * whole + tail, KL))
