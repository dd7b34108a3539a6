"""What tells a strange frame of sound from a usual one, beside its cost: none of it depends on how loud it is.

    latent      the posterior's mean, without its level: a filter that no voice has
    whiteness   autocorrelations of the innovations: what the filter that z says has left over
    outlier     the largest click that would explain a sample, over the innovations' deviation
    line        log-odds of the strongest line in the spectrum of this frame and the last
    tone        the window's log powers, in which tones that glide are followed

Innovations e_t = x_t - sum_k a_k x_{t-k} are in scales as z says them, and as arctangents in their autocorrelations, so
that a pulse of the voice counts no more than others. A click at t adds c to e_t and -c a_k to e_{t+k}, so that its size
by least squares is the innovations' correlation with the filter (an additive outlier: Fox 1972). Of a tone, the power
within two bins of the strongest is far above the rest.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from avf_core.emissions.linear_prediction import LinearPrediction
from avf_core.native import elements
from avf_core.signs import Sign
from avf_core.trees import tree_map

LAGS = 32  # autocorrelations of the innovations
BESIDE = 2  # bins on either side of a line that are its own
LEAST = 1e-3  # of an innovation, in scales
FLOOR = 1e-8  # power of a bin, of the standardised signal
BINS = 292  # of half a bin of the window, in which tones are followed: below 4.5 kHz at 16 kHz
QUIET = 4e-5  # power of a bin that is no tone


def listened(latent: int, frame: int, window: int) -> tuple[Sign, ...]:
    """The groups. A click is over at once; what a filter leaves is little in one frame, and shows when it goes on."""
    return (
        Sign(name="latent", size=latent - 1, memory=4.0),
        Sign(name="whiteness", size=min(LAGS, frame - 1), memory=4.0),
        Sign(name="outlier", size=1, above=True, weight=1.2),
        Sign(name="line", size=1, memory=2.0),
        Sign(name="tone", size=1, above=True, weight=1.7, bins=_bins(window)),
    )


def signs(
    window: Float[Tensor, "batch window"],
    x: Float[Tensor, "batch frame"],
    mean: Float[Tensor, "batch latent"],
    likelihood: LinearPrediction,
) -> Float[Tensor, "batch signs"]:
    """Of frames in natural units; the `window` ends with them, standardised.

    In double precision, and then rounded: so a row's are the same in any batch, and what little a line leaves is told.
    """
    heard = _natively(window, x, likelihood)
    if heard is None:
        heard = _by_torch(window, x, likelihood).to(mean.dtype)
    return torch.cat([mean[..., 1:], heard], dim=-1)


def _natively(window: Tensor, x: Tensor, likelihood: LinearPrediction) -> Tensor | None:
    """By the native executor, of one unit for all samples; None where torch has to."""
    units, frame = likelihood.units, x.shape[-1]
    if not (isinstance(units.center, float) and isinstance(units.scale, float)):
        return None
    return elements.signs(
        window,
        x,
        likelihood.coefficients,
        likelihood.gains,
        likelihood.history,
        lags=min(LAGS, frame - 1),
        bins=_bins(window.shape[-1]),
        center=units.center,
        scale=units.scale,
    )


def _by_torch(window: Tensor, x: Tensor, likelihood: LinearPrediction) -> Tensor:
    """All that is heard beside the latent."""
    exact = tree_map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor, likelihood)
    innovations = exact.innovations(x.double())
    heard = window.double()
    parts = [whiteness(innovations), outlier(innovations, exact.coefficients), line(heard, x.shape[-1])]
    return torch.cat([*parts, spectrum(heard)], dim=-1)


def whiteness(innovations: Float[Tensor, "batch frame"]) -> Float[Tensor, "batch lags"]:
    """Autocorrelations at lags from 1; 0 where there are no innovations."""
    frame = innovations.shape[-1]
    count = min(LAGS, frame - 1) + 1
    lags = torch.fft.irfft(_power(torch.fft.rfft(torch.atan(innovations), _round(frame + count))))[..., :count]
    found: Tensor = lags[..., 1:] / (lags[..., :1] + LEAST**2)
    return found


def outlier(
    innovations: Float[Tensor, "batch frame"], coefficients: Float[Tensor, "batch order"]
) -> Float[Tensor, "batch one"]:
    """log of the largest click, in its deviations where there is none, over the innovations' own deviation."""
    frame, order = innovations.shape[-1], coefficients.shape[-1]
    whole = F.pad(-coefficients, (1, 0), value=1.0)
    size = _round(frame + order)
    spectrum = torch.fft.rfft(innovations, size) * torch.fft.rfft(whole, size).conj()
    sums = torch.fft.irfft(spectrum, size)[..., :frame]
    squares = whole.square().cumsum(-1)  # of the first samples of the filter, all that the frame's last clicks have
    inside = max(frame - order, 0)
    last = squares[..., : frame - inside].flip(-1)
    deviations = torch.cat([squares[..., -1:].expand(*squares.shape[:-1], inside), last], dim=-1).sqrt()
    largest = (sums / deviations).abs().amax(-1, keepdim=True)
    own = innovations.square().mean(-1, keepdim=True).sqrt()
    return torch.log(largest + LEAST) - torch.log(own + LEAST)


def line(window: Float[Tensor, "batch window"], frame: int) -> Float[Tensor, "batch one"]:
    """Of the differences of neighbours, so that hum does not count, in twice a frame where the window has so much."""
    sound = window[..., -2 * frame - 1 :].diff()
    power = _power(torch.fft.rfft(sound * _taper(sound.shape[-1], sound.dtype, sound.device))) + FLOOR
    place = power.argmax(-1, keepdim=True) + torch.arange(2 * BESIDE + 1, device=power.device)
    strongest = F.pad(power, (BESIDE, BESIDE)).gather(-1, place).sum(-1, keepdim=True)
    return torch.log(strongest) - torch.log((power.sum(-1, keepdim=True) - strongest).clamp(min=FLOOR))


def spectrum(window: Float[Tensor, "batch window"]) -> Float[Tensor, "batch bins"]:
    """Log powers of the lower bins of the window, with as much silence after it."""
    size = window.shape[-1]
    power = _power(torch.fft.rfft(window * _taper(size, window.dtype, window.device), 2 * size))
    return torch.log(power[..., : _bins(size)] + QUIET)


def _bins(window: int) -> int:
    """As many as there are of a short one."""
    return min(BINS, window + 1)


@lru_cache(maxsize=8)
def _taper(length: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " length"]:
    """Hann's, without the zeros at its ends."""
    return torch.hann_window(length + 2, periodic=False, dtype=dtype, device=device)[1:-1]


def _round(size: int) -> int:
    """At least so many, and quick to transform."""
    return 1 << (size - 1).bit_length()


def _power(spectrum: Tensor) -> Tensor:
    """Of complex numbers."""
    return torch.view_as_real(spectrum).square().sum(-1)
