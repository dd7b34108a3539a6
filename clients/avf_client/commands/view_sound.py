"""What a person sees while sound is filtered: level, free energy, surprise and a spectrogram strip; or plain lines.

The law: as in `view`, a view is told of each estimate once, in order, and keeps only what it shows: a microphone may
stay open for days.
"""

from collections import deque
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from avf_client.commands.spectrum import QUIET, bands, level
from avf_client.commands.view import KL, RECONSTRUCTION
from avf_client.hearing import SoundTrace
from avf_client.results.estimates import Summary

Samples = NDArray[np.int16]

COLUMN = 0.05
"""Seconds that one column of the spectrogram stands for."""
BANDS = 8
_SHADES = " ░▒▓█"
_LABEL = 13  # characters


class SoundView(Protocol):
    """Where estimates of sound are shown; a context manager around the stream."""

    def add(self, samples: Samples, estimate: Summary) -> None:
        """Show one more estimate, of the last of these samples (T,)."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_sound_view(console: Console, *, title: str, rate: int) -> SoundView:
    """A live panel where the console is a terminal, else a line a second."""
    kind = LivePanel if console.is_terminal else SecondLines
    return kind(console, title=title, rate=rate)


class Piece:
    """What came since something was last shown: samples, and the estimates of them."""

    def __init__(self) -> None:
        self.samples: list[Samples] = []
        self.length = 0
        self.energies: list[float] = []
        self.surprises: list[float] = []

    def add(self, samples: Samples, estimate: Summary) -> None:
        """One more."""
        self.samples.append(samples)
        self.length += len(samples)
        self.energies.append(estimate.free_energy)
        if estimate.surprise is not None:
            self.surprises.append(estimate.surprise)

    def all(self) -> Samples:
        """All samples (T,)."""
        return np.concatenate(self.samples) if self.samples else np.zeros(0, np.int16)

    @property
    def least(self) -> float | None:
        """The most surprising p-value."""
        return min(self.surprises, default=None)


class SecondLines:
    """One plain line for each second of sound."""

    def __init__(self, console: Console, *, title: str, rate: int) -> None:
        self._console = console
        self._title = title
        self._rate = rate
        self._piece = Piece()
        self._heard = 0

    def add(self, samples: Samples, estimate: Summary) -> None:
        """Take one estimate; print where a second is full."""
        self._piece.add(samples, estimate)
        if self._piece.length >= self._rate:
            self._print()

    def _print(self) -> None:
        piece, self._piece = self._piece, Piece()
        self._heard += piece.length
        energy = np.mean(piece.energies)
        self._say(
            f"{self._heard / self._rate:7.1f} s  F {energy:8.2f} nats a step, at most {max(piece.energies):8.2f}"
            f"  level {level(piece.all()):5.1f} dB  surprise p {told(piece.least)}"
        )

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._say(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._piece.length:
            self._print()


class LivePanel:
    """Meters of the last moment above a strip of the last seconds."""

    def __init__(self, console: Console, *, title: str, rate: int) -> None:
        self._title = title
        self._rate = rate
        self._width = max(20, min(100, console.width - _LABEL - 6))
        self._strip: deque[NDArray[np.float64]] = deque(maxlen=self._width)
        self._piece = Piece()
        self._last: Summary | None = None
        self._level, self._energy, self._least = QUIET, 0.0, None  # of the last column
        self._full = 1.0  # nats: the largest magnitude of F so far
        self._count, self._sum, self._heard = 0, 0.0, 0
        self._live = Live(console=console, refresh_per_second=12, get_renderable=self._panel)

    _least: float | None

    def add(self, samples: Samples, estimate: Summary) -> None:
        """Take one estimate; a column is done where its time is full."""
        self._piece.add(samples, estimate)
        self._last = estimate
        self._count += 1
        self._sum += estimate.free_energy
        self._full = max(self._full, abs(estimate.free_energy))
        if self._piece.length >= COLUMN * self._rate:
            piece, self._piece = self._piece, Piece()
            heard = piece.all()
            self._heard += len(heard)
            self._strip.append(bands(heard, rate=self._rate, count=BANDS))
            self._level = level(heard)
            self._energy = float(np.mean(piece.energies))
            self._least = piece.least

    def _panel(self) -> Panel:
        last = self._last
        parts = "" if last is None else f"recon. {last.reconstruction:.2f}, KL {last.kl:.2f}"
        lines = [
            _meter("level", 1.0 - self._level / QUIET, self._width - 12, f"{self._level:6.1f} dB", "green"),
            _meter("F", abs(self._energy) / self._full, self._width - 12, f"{self._energy:9.2f}", RECONSTRUCTION),
            _meter("surprise", surprise(self._least), self._width - 12, f"p {told(self._least)}", KL),
            Text(""),
            *self._spectrogram(),
        ]
        mean = f"mean {self._sum / self._count:.2f} nats a step" if self._count else "waiting for sound"
        caption = f"{self._heard / self._rate:.1f} s, {self._count} estimates, {mean}  {parts}".rstrip()
        return Panel(Group(*lines), title=self._title, subtitle=caption, expand=False, width=self._width + _LABEL + 5)

    def _spectrogram(self) -> list[Text]:
        """One line a band, the highest on top, the newest column on the right."""
        edges = np.geomspace(min(100.0, self._rate / 4), self._rate / 2, BANDS + 1)
        lines = []
        for band in reversed(range(BANDS)):
            cells = "".join(shade(float(column[band])) for column in self._strip)
            lines.append(Text(f"{edges[band] / 1000:7.2f} kHz  {cells:>{self._width}}", style="yellow", no_wrap=True))
        return lines

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def shade(decibels: float) -> str:
    """The character of one cell of the strip: the louder, the fuller."""
    part = 1.0 - decibels / QUIET
    return _SHADES[max(0, min(len(_SHADES) - 1, round(part * (len(_SHADES) - 1))))]


def surprise(p: float | None) -> float:
    """How full the meter of a p-value is: half of it at one in a thousand."""
    return 0.0 if p is None else min(1.0, -float(np.log10(max(p, 1e-6))) / 6.0)


def told(p: float | None) -> str:
    """A p-value in words."""
    return "unknown" if p is None else f"{p:.2g}"


def _meter(label: str, part: float, width: int, value: str, style: str) -> Text:
    filled = round(max(0.0, min(1.0, part)) * width)
    return Text.assemble(
        f"{label:>{_LABEL - 2}}  ", ("█" * filled, style), ("·" * (width - filled), "dim"), f" {value}", no_wrap=True
    )


def summary(trace: SoundTrace, *, seconds: float) -> Table:
    """A table that sums up a trace that took this long."""
    table = Table(title=trace.name, box=box.ROUNDED, show_header=False, title_style="bold")
    table.add_row("model", trace.model)
    table.add_row("sound", f"{trace.heard / trace.rate:.1f} s, in {trace.steps} estimates")
    if trace.steps:
        table.add_row("mean free energy per step", f"{trace.mean('free_energy'):.3f} nats")
        table.add_row("  of it reconstruction", f"{trace.mean('reconstruction'):.3f} nats")
        table.add_row("  of it KL", f"{trace.mean('kl'):.3f} nats")
    table.add_row("speed", f"{trace.heard / trace.rate / max(seconds, 1e-9):.1f} times real time")
    for remark in trace.remarks:
        table.add_row("note", Text(remark))
    return table
