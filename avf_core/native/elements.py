"""Functions of elements by the executor, for steps that torch computes: noise, and log-probabilities of intervals.

The law: what they give is what `avf_core.noise` and `avf_core.intervals` give, rounded to float32.
"""

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor

from avf_core.native import _layout as layout
from avf_core.native import library, running

MOST_ORDER = 64  # of linear prediction


def standard_normal(seed: Tensor, step: Tensor, *, streams: Sequence[int], size: int) -> Tensor | None:
    """Noise of shape (streams, rows, size) in float32; None where there is no executor."""
    if not seed.is_cpu or running.chosen() == "off" or (native := library.load()) is None:
        return None
    numbers, seed, step = torch.tensor(streams, dtype=torch.int64), seed.contiguous(), step.contiguous()
    out = torch.empty(len(streams), len(seed), size)
    native.functions.avf_standard_normal(
        seed.data_ptr(), step.data_ptr(), numbers.data_ptr(), len(streams), len(seed), size, out.data_ptr()
    )
    return out


def filters(numbers: Tensor, order: int, *, spectral: bool) -> Tensor | None:
    """Coefficients of linear prediction (..., order), by a spectrum or by reflections; None where torch makes them."""
    if order > MOST_ORDER or not _taken(numbers) or (native := library.load()) is None:
        return None
    read = numbers.contiguous()
    out = read.new_empty(*numbers.shape[:-1], order)
    rows = out.numel() // order
    native.functions.avf_filters(read.data_ptr(), rows, numbers.shape[-1], order, spectral, out.data_ptr())
    return out


def unrolled(
    coefficients: Tensor, before: Tensor, gains: Tensor, *, frame: int, center: float, scale: float, noise: float
) -> tuple[Tensor, Tensor] | None:
    """Means and deviations of frames (rows, frame), given filters, past and log-scales; None where torch makes them.

    They are in units with this `center` and `scale`; `noise` is the deviation at a scale of one.
    """
    if not all(map(_taken, (coefficients, before, gains))) or (native := library.load()) is None:
        return None
    read = [value.contiguous() for value in (coefficients, before, gains)]
    (rows, order), parts = coefficients.shape, gains.shape[1]
    mean, deviation = gains.new_empty(rows, frame), gains.new_empty(rows, frame)
    native.functions.avf_unrolled(
        *[value.data_ptr() for value in read],
        *(rows, order, frame, parts),
        *(center, scale, noise),
        *(mean.data_ptr(), deviation.data_ptr()),
    )
    return mean, deviation


def mixed(means: Tensor, variances: Tensor | None, weights: Tensor) -> tuple[Tensor, Tensor | None] | None:
    """Means (..., size) of mixtures of components (..., components, size), and their variances; None where torch's.

    `weights` (..., components) are in double precision, and so are sums.
    """
    read = [means] if variances is None else [means, variances]
    if means.shape[:-1] != weights.shape or any(one.shape != means.shape for one in read):
        return None
    if not all(map(_taken, read)) or weights.requires_grad or (native := library.load()) is None:
        return None
    read, weights = [one.contiguous() for one in read], weights.contiguous()
    *lead, components, size = means.shape
    made = [means.new_empty(*lead, size) for _ in read]
    native.functions.avf_mixed(
        *_addresses(read),
        weights.data_ptr(),
        *(weights.numel() // components, components, size),
        *_addresses(made),
    )
    return made[0], made[1] if len(made) > 1 else None


def signs(
    window: Tensor,
    x: Tensor,
    coefficients: Tensor,
    gains: Tensor,
    history: Tensor,
    *,
    lags: int,
    bins: int,
    center: float,
    scale: float,
) -> Tensor | None:
    """Of frames of sound (rows, lags + 2 + bins): autocorrelations, click, line, spectrum; None where torch's."""
    read = [window, x, coefficients, gains, history]
    if not all(one.ndim == 2 and _taken(one) for one in read) or (native := library.load()) is None:
        return None
    read, rows = [one.contiguous() for one in read], len(x)
    sizes = (coefficients.shape[1], history.shape[1], x.shape[1], gains.shape[1], window.shape[1], lags, bins)
    out = x.new_empty(rows, lags + 2 + bins)
    native.functions.avf_signs(
        ctypes.byref(layout.Listening(*sizes, center, scale)),
        ctypes.byref(layout.Sounds(*[one.data_ptr() for one in read])),
        rows,
        out.data_ptr(),
    )
    return out


def tones(
    kept: Float64[ndarray, "rows _kept"], spectra: Float64[ndarray, "rows _bins"], cells: int
) -> tuple[Float64[ndarray, "rows _kept"], Float64[ndarray, " rows"]] | None:
    """What is kept of rows after one more spectrum of each, and the log-odds of a tone; None where numpy's."""
    if running.chosen() == "off" or (native := library.load()) is None:
        return None
    kept, spectra = np.ascontiguousarray(kept), np.ascontiguousarray(spectra)
    after, odds = np.empty_like(kept), np.empty(len(kept))
    native.functions.avf_tones(
        *(kept.ctypes.data, spectra.ctypes.data), *(len(kept), cells), *(after.ctypes.data, odds.ctypes.data)
    )
    return after, odds


def _addresses(tensors: Sequence[Tensor]) -> list[int | None]:
    """Of two, of which the second may be missing."""
    return [*[tensor.data_ptr() for tensor in tensors], None][:2]


def _taken(value: Tensor) -> bool:
    """Whether the executor computes such data: in float32, here, and not to be differentiated."""
    wanted = torch.is_grad_enabled() and value.requires_grad
    return value.dtype is torch.float32 and value.is_cpu and not wanted and running.chosen() != "off"


def log_probability(
    x: Tensor, mean: Tensor, log_variance: Tensor, width: float, *, sloped: bool
) -> tuple[Tensor, ...] | None:
    """log P, and where `sloped` its derivatives by mean and log-variance; None where there is no executor for it."""
    if x.dtype is not torch.float32 or not x.is_cpu or running.chosen() == "off" or (native := library.load()) is None:
        return None
    read = [value.contiguous() for value in (x, mean, log_variance)]
    made = [torch.empty_like(read[0]) for _ in range(3 if sloped else 1)]
    addresses = [value.data_ptr() for value in made] + [None] * (3 - len(made))
    native.functions.avf_log_probability(*[value.data_ptr() for value in read], x.numel(), width, *addresses)
    return tuple(made)
