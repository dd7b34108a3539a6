"""What is heard of sound: a window's spectral envelope, its energies, and its last samples, none of it learned.

The law: sound that is k times as loud is heard as the same, and log k is added to its level alone. Autocorrelations are
of double precision: in single, those of sound with a steep spectrum are rounding where the spectrum is low.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

WINDOW = 512  # samples that an envelope is of
ORDER = 32  # of its linear prediction
CEPSTRUM = 48  # its numbers
PARTS = 20  # energies of the last frame
LAST = 40  # samples heard as they are
WHITE = 1e-6  # white noise beside a window, as a share of its power
FLOOR = 1e-12  # power of what is silent, of the standardised signal


def size(frame: int) -> int:
    """How many numbers `hear` gives."""
    return CEPSTRUM + 2 + math.gcd(PARTS, frame) + LAST


@torch.no_grad()
def hear(
    window: Float[Tensor, "*rows window"], level: Float[Tensor, "*rows one"], frame: int
) -> Float[Tensor, "*rows heard"]:
    """Numbers on the scale of one of a window that ends with a frame, relative to a level, a log amplitude.

    In order: the cepstrum of the envelope, which weighs the last samples most, log power of the window and of its
    residual, log amplitudes of the frame's parts, and the window's last samples.
    """
    if not window.numel():  # of no window there is no transform
        return window.new_zeros(*window.shape[:-1], size(frame))
    tapered = window.double() * torch.linspace(0.2, 1.0, window.shape[-1], dtype=torch.float64, device=window.device)
    power = torch.view_as_real(torch.fft.rfft(tapered, 2 * window.shape[-1])).square().sum(-1)
    lags = torch.fft.irfft(power)[..., : ORDER + 1] / window.shape[-1]
    cepstrum, residual = _envelope(lags)
    own = 0.5 * torch.log(lags[..., :1] + FLOOR)
    parts = torch.unflatten(window[..., window.shape[-1] - frame :], -1, (math.gcd(PARTS, frame), -1))
    energies = 0.5 * torch.log(parts.square().mean(-1) + FLOOR)
    place = torch.arange(1, CEPSTRUM + 1, device=window.device)
    heard = [
        2.0 * torch.sqrt(place) * cepstrum,
        own - level,
        0.5 * torch.log(residual),
        (energies - level).clamp(-12.0, 12.0),
        window[..., -LAST:] * torch.exp(-own),
    ]
    return torch.cat([part.to(window.dtype) for part in heard], dim=-1)


def _envelope(lags: Tensor) -> tuple[Tensor, Tensor]:
    """The cepstrum of the all-pole envelope with these autocorrelations, and its residual's share of the power."""
    share = lags / (lags[..., :1] + FLOOR)
    places = torch.arange(ORDER, device=lags.device)
    matrix = share[..., (places[:, None] - places).abs()]
    matrix = matrix + (WHITE + (1.0 - share[..., :1, None])) * torch.eye(ORDER, dtype=lags.dtype, device=lags.device)
    coefficients = torch.linalg.solve(matrix, share[..., 1:])
    residual = (1.0 - (coefficients * share[..., 1:]).sum(-1, keepdim=True)).clamp(min=WHITE)
    whitening = torch.cat([torch.ones_like(residual), -coefficients], dim=-1)
    spectrum = torch.view_as_real(torch.fft.rfft(whitening, 256)).square().sum(-1)
    return torch.fft.irfft(-torch.log(spectrum.clamp(min=FLOOR)))[..., 1 : CEPSTRUM + 1], residual
