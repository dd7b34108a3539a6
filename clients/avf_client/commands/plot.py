"""A picture of a trace: the free energy of each step above what was observed and what was expected.

Needs the extra `plot` (matplotlib), imported when a picture is drawn; no display is needed.
"""

import importlib.util
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import avf_sources
import numpy as np
from avf_sources import MIDI_LOW
from numpy.typing import NDArray

from avf_client.commands.describe import note_name
from avf_client.commands.watch import Trace
from avf_client.errors import InvalidArgument, MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, BLUE, ORANGE, RED = "#22313f", "#8795a1", "#3b6ea5", "#e9963e", "#c0392b"
_FEW = 6  # dimensions that can be drawn as lines


def require() -> None:
    """Raise MissingExtra where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("drawing a plot", "plot")


def draw(trace: Trace, path: Path) -> None:
    """Write the picture of `trace`; the ending of `path` says of which kind (png, svg, pdf)."""
    require()
    if not trace.estimates:
        raise InvalidArgument("nothing was filtered, so there is nothing to draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = trace.steps
    figure = Figure(figsize=(min(24.0, max(9.0, 3.0 + steps / 7)), 7.2), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 1.9))
    _energies(upper, trace)
    frames = trace.recording.frames[:steps]
    if trace.recording.piano_roll:
        _piano_roll(figure, lower, frames, trace.predictions())
    else:
        _values(figure, lower, frames, trace)
    lower.set_xlim(0.5, steps + 0.5)
    lower.set_xlabel("frame" if trace.recording.frame is None else f"frame ({trace.recording.frame:g} quarter note)")
    figure.suptitle(f"{trace.recording.name}  ·  {trace.model}", color=INK, fontsize=13, fontweight="bold")
    drawn, path = BytesIO(), path if path.suffix else path.with_suffix(".png")
    try:
        figure.savefig(drawn, facecolor="white", format=path.suffix[1:])
        avf_sources.make_folder(path.parent)
        avf_sources.replace_file(path, drawn.getvalue())
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"the plot cannot be written to {path}: {error}") from error


def _energies(axes: "Axes", trace: Trace) -> None:
    x = np.arange(1, trace.steps + 1)
    reconstruction, kl = trace.series("reconstruction"), trace.series("kl")
    mean = float(trace.series("free_energy").mean())
    axes.bar(x, reconstruction, width=0.86, color=BLUE, label="reconstruction")
    axes.bar(x, kl, width=0.86, bottom=np.maximum(reconstruction, 0.0), color=ORANGE, label="KL")
    axes.axhline(mean, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label=f"mean {mean:.2f}")
    axes.set_ylabel("free energy (nats)")
    axes.margins(y=0.18)
    axes.legend(loc="upper right", ncols=3, frameon=False, fontsize=9)
    _plain(axes)


def _piano_roll(figure: "Figure", axes: "Axes", frames: NDArray[np.float64], predicted: NDArray[np.float64]) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    time, key = np.nonzero(frames > 0.5)
    used = np.concatenate([key, np.flatnonzero(predicted.max(0) > 0.2)])
    low, high = (int(used.min()) - 2, int(used.max()) + 2) if used.size else (0, frames.shape[1] - 1)
    image = axes.imshow(
        predicted.T,
        origin="lower",
        aspect="auto",
        cmap="Blues",
        vmin=0.0,
        vmax=1.0,
        interpolation="nearest",
        extent=(0.5, len(frames) + 0.5, MIDI_LOW - 0.5, MIDI_LOW + frames.shape[1] - 0.5),
    )
    boxes = [Rectangle((t + 0.56, MIDI_LOW + k - 0.44), 0.88, 0.88) for t, k in zip(time, key, strict=True)]
    axes.add_collection(PatchCollection(boxes, facecolor="none", edgecolor=RED, linewidth=1.1))
    ticks = [note for note in range(MIDI_LOW + low, MIDI_LOW + high + 1) if note % 12 in (0, 4, 7)]
    axes.set_yticks(ticks, [note_name(note) for note in ticks])
    axes.set_ylim(MIDI_LOW + low - 0.5, MIDI_LOW + high + 0.5)
    heard = Line2D([], [], marker="s", linestyle="none", markerfacecolor="none", markeredgecolor=RED, label="heard")
    axes.legend(handles=[heard], loc="upper right", fontsize=9, framealpha=0.9)
    _bar(figure, image, axes, "probability expected before")
    _plain(axes)


def _values(figure: "Figure", axes: "Axes", frames: NDArray[np.float64], trace: Trace) -> None:
    x = np.arange(1, trace.steps + 1)
    predicted = trace.predictions()
    if frames.shape[1] <= _FEW:
        from matplotlib import colormaps

        for d in range(frames.shape[1]):
            color = colormaps["tab10"](d)
            axes.plot(x, frames[:, d], ".", markersize=4, color=color, label=f"x{d} observed")
            axes.plot(x, predicted[:, d], linewidth=1.2, color=color, alpha=0.7, label=f"x{d} expected")
        axes.legend(loc="upper right", ncols=frames.shape[1], frameon=False, fontsize=8)
        axes.margins(y=0.2)
        axes.set_ylabel("value")
    else:
        error = frames - predicted
        most = float(np.nanpercentile(np.abs(error), 99)) or 1.0
        extent = (0.5, len(frames) + 0.5, -0.5, frames.shape[1] - 0.5)
        image = axes.imshow(error.T, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-most, vmax=most, extent=extent)
        axes.set_ylabel("dimension")
        _bar(figure, image, axes, "observed − expected")
    _plain(axes)


def _bar(figure: "Figure", image: Any, axes: "Axes", label: str) -> None:
    colorbar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03, aspect=30)
    colorbar.set_label(label, color=INK, fontsize=9)
    colorbar.outline.set_visible(False)


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=INK, labelsize=9)
    axes.yaxis.label.set_color(INK)
    axes.xaxis.label.set_color(INK)
