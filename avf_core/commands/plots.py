"""Pictures of forecasts, of filled gaps and of looking back: a fan for few dimensions, an image for many."""

from io import BytesIO

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy import ndarray

FEW = 6  # dimensions that get a line each
BEFORE = 3  # so many times the horizon of the past is drawn
WITHIN_90 = 1.645  # standard deviations that hold 90 % of a Gaussian
BLUE, GREY, ORANGE = "#2563eb", "#64748b", "#d97706"


def forecast(
    *,
    past: Float[ndarray, "past observation"],
    truth: Float[ndarray, "horizon observation"],
    mean: Float[ndarray, "horizon observation"],
    quantiles: Float[ndarray, "5 horizon observation"],
    title: str,
) -> bytes:
    """What was observed, what was forecast, and what came (NaN where that is not known), as a PNG."""
    start, horizon = len(past), len(mean)
    shown = past[max(0, start - BEFORE * horizon) :]
    first = start - len(shown)
    if mean.shape[1] > FEW:
        came = np.concatenate([shown, truth])
        said = np.concatenate([shown, mean])
        images = {"what came": came, "what was forecast (mean)": said}
        return _images(images, first=first, start=start, title=title)
    figure, panels = _panels(mean.shape[1], title)
    steps = np.arange(start, start + horizon)
    for dimension, axes in enumerate(panels):
        low, lower, middle, upper, high = quantiles[:, :, dimension]
        axes.fill_between(steps, low, high, color=BLUE, alpha=0.15, linewidth=0, label="5 to 95 %")
        axes.fill_between(steps, lower, upper, color=BLUE, alpha=0.3, linewidth=0, label="25 to 75 %")
        axes.plot(steps, middle, color=BLUE, label="median")
        observed = np.concatenate([shown[:, dimension], truth[:, dimension]])
        axes.plot(np.arange(first, start + horizon), observed, color=GREY, label="what came", linewidth=1)
        axes.axvline(start - 0.5, color=ORANGE, linewidth=1)
        axes.set_ylabel(f"dimension {dimension}")
    return _drawn(figure, panels)


def imputation(
    *,
    xs: Float[ndarray, "time observation"],
    observed: Bool[ndarray, "time observation"],
    quantiles: Float[ndarray, "5 time observation"],
    mean: Float[ndarray, "time observation"],
    title: str,
) -> bytes:
    """What was observed and what was put into the gaps, as a PNG."""
    if xs.shape[1] > FEW:
        images = {"observed": np.where(observed, xs, np.nan), "filled (mean)": mean}
        return _images(images, first=0, start=None, title=title)
    figure, panels = _panels(xs.shape[1], title)
    steps = np.arange(len(xs))
    for dimension, axes in enumerate(panels):
        low, _, middle, _, high = quantiles[:, :, dimension]
        gap = ~observed[:, dimension]
        axes.fill_between(
            steps, low, high, where=gap, step="mid", color=BLUE, alpha=0.2, linewidth=0, label="5 to 95 %"
        )
        axes.plot(steps, np.where(gap, middle, np.nan), ".-", color=BLUE, label="median")
        axes.plot(steps, np.where(gap, np.nan, xs[:, dimension]), color=GREY, label="observed", linewidth=1)
        axes.set_ylabel(f"dimension {dimension}")
    return _drawn(figure, panels)


def smoothing(
    *,
    mean: Float[ndarray, "time latent"],
    deviation: Float[ndarray, "time latent"],
    filtered_mean: Float[ndarray, "time latent"],
    filtered_deviation: Float[ndarray, "time latent"],
    title: str,
) -> bytes:
    """What was known of the latent at once, and looking back, as a PNG."""
    if mean.shape[1] > FEW:
        images = {"at once (mean)": filtered_mean, "looking back (mean)": mean}
        return _images(images, first=0, start=None, title=title)
    figure, panels = _panels(mean.shape[1], title)
    steps = np.arange(len(mean))
    known = (("at once", GREY, filtered_mean, filtered_deviation), ("looking back", BLUE, mean, deviation))
    for dimension, axes in enumerate(panels):
        for name, color, centre, spread in known:
            middle, width = centre[:, dimension], WITHIN_90 * spread[:, dimension]
            axes.fill_between(steps, middle - width, middle + width, color=color, alpha=0.2, linewidth=0)
            axes.plot(steps, middle, color=color, label=f"{name}, with 5 to 95 %", linewidth=1)
        axes.set_ylabel(f"latent {dimension}")
    return _drawn(figure, panels)


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9, 1.5 + 1.8 * count), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    figure.suptitle(title)
    return figure, panels


def _images(images: dict[str, np.ndarray], *, first: int, start: int | None, title: str) -> bytes:
    """Dimensions upwards, time to the right; NaN is grey."""
    figure, panels = _panels(len(images), title)
    figure.set_size_inches(9, 7)
    known = np.concatenate([image[~np.isnan(image)] for image in images.values()])
    limits = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    for axes, (name, image) in zip(panels, images.items(), strict=True):
        extent = (first - 0.5, first + len(image) - 0.5, -0.5, image.shape[1] - 0.5)
        axes.set_facecolor("#cbd5e1")
        axes.imshow(image.T, origin="lower", aspect="auto", extent=extent, cmap="Blues", vmin=limits[0], vmax=limits[1])
        if start is not None:
            axes.axvline(start - 0.5, color=ORANGE, linewidth=1)
        axes.set(title=name, ylabel="dimension")
    panels[-1].set_xlabel("step")
    return _png(figure)


def _drawn(figure: Figure, panels: list[Axes]) -> bytes:
    panels[0].legend(frameon=False, ncols=4, loc="upper left")
    panels[-1].set_xlabel("step")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    drawn = BytesIO()
    figure.savefig(drawn, dpi=120)
    return drawn.getvalue()
