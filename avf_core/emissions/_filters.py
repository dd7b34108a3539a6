"""Coefficients of linear prediction from numbers that a decoder may say freely.

x_t is predicted by sum_k a_k x_{t-k}, and A(w) = 1 - sum_k a_k e^{-ikw} is the whitening filter. The law: 1 / A is
stable, all of its reflection coefficients lie within (-1, 1), whatever the numbers are.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from avf_core.native import elements

MOST = 0.9999  # the largest magnitude of a reflection coefficient
POINTS = 256  # of the unit circle, on which a spectrum is looked at
WHITE = 1e-7  # white noise beside a spectrum, as a share of its power


def of_reflections(free: Float[Tensor, "*rows order"]) -> Float[Tensor, "*rows order"]:
    """Coefficients of the filter whose reflection coefficients are the numbers' hyperbolic tangents."""
    native = elements.filters(free, free.shape[-1], spectral=False)
    return step_up(MOST * torch.tanh(free)) if native is None else native


def step_up(reflections: Float[Tensor, "*rows order"]) -> Float[Tensor, "*rows order"]:
    """The Levinson recursion: a_m = [a_{m-1} - k_m reversed(a_{m-1}), k_m]."""
    coefficients = reflections[..., :0]
    for m in range(reflections.shape[-1]):
        k = reflections[..., m : m + 1]
        coefficients = torch.cat([coefficients - k * coefficients.flip(-1), k], dim=-1)
    return coefficients


def of_spectrum(cepstrum: Float[Tensor, "*rows resolution"], order: int) -> Float[Tensor, "*rows order"]:
    """Coefficients of the best predictor, of this order, of noise with a power spectrum that is said by its logarithm.

    log S(w) = 2 sum_n c_n cos(n w), so that the logarithms of band energies are linear in the numbers, but for how
    bands average. The coefficients solve the Yule-Walker equations of S: as S is positive, 1 / A is stable.
    """
    if (native := elements.filters(cepstrum, order, spectral=True)) is not None:
        return native
    to_spectrum, to_lags = _circle(cepstrum.shape[-1], order, cepstrum.device)
    lags = torch.softmax(cepstrum.double() @ to_spectrum, dim=-1) @ to_lags
    places = torch.arange(order, device=cepstrum.device)
    matrix = lags[..., (places[:, None] - places).abs()]
    matrix = matrix + WHITE * torch.eye(order, dtype=matrix.dtype, device=matrix.device)
    coefficients: Tensor = torch.linalg.solve(matrix, lags[..., 1:])
    return coefficients.to(cepstrum.dtype)


@lru_cache(maxsize=8)
def _circle(resolution: int, order: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """From a cepstrum to a log spectrum on the half circle, and from a spectrum's shares there to autocorrelations."""
    angles = torch.arange(POINTS // 2 + 1, dtype=torch.float64, device=device) * (2.0 * torch.pi / POINTS)
    numbers = torch.arange(1, max(resolution, order) + 1, dtype=torch.float64, device=device)
    weights = torch.full_like(angles, 2.0)
    weights[0] = weights[-1] = 1.0
    cosines = torch.cos(numbers[:, None] * angles)
    to_lags = torch.cat([torch.ones_like(angles)[None], cosines[:order]]) * weights
    return 2.0 * cosines[:resolution], to_lags.t() / 2.0


def predictions(
    signal: Float[Tensor, "... length"], coefficients: Float[Tensor, "... order"]
) -> Float[Tensor, "... predicted"]:
    """What every number from the one of index `order` on is predicted to be, from the `order` before it.

    Several filters a signal have an axis of samples before those of the signals.
    """
    windows = signal[..., :-1].unfold(-1, coefficients.shape[-1], 1)
    backwards = coefficients.flip(-1)
    if coefficients.ndim > signal.ndim:
        return torch.einsum("...tp,s...p->s...t", windows, backwards)
    return (windows @ backwards[..., None])[..., 0]
