"""Linear dynamics in continuous time, over any stretch of it: dz = (A z + v) dt + L dW with a constant v.

    z(t + h) = Phi z(t) + Psi v + N(0, Q)

    Phi = e^{A h}       Psi = int_0^h e^{A s} ds       Q = int_0^h e^{A s} L L' e^{A' s} ds

The integrals of Van Loan, "Computing integrals involving the matrix exponential" (1978), by scaling and doubling, which
no length of h overflows for stable dynamics. Over a stretch in which |A| h <= 1: Taylor's series, and for Q, as a
factor, Gauss and Legendre's rule, whose error is below rounding there. Over twice a stretch: what it does, twice.

The law: all of it is in float64, and Q is a factor S throughout, so that it is a covariance whatever was rounded.
"""

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from avf_core.factors import lower
from avf_core.trees import where

TERMS = 21  # of Taylor's series of e^X, |X| <= 1: the first one left out is 2e-20
NODES = 8  # of the rule: what it leaves out is below 1e-17
DOUBLINGS = 1000  # more are never made: dt is a finite number


Matrices = Float64[Tensor, "batch latent latent"]
Stretch = tuple[Matrices, Matrices, Matrices]
"""Phi, Psi and S of every row."""


def discretised(
    generator: Float64[Tensor, "latent latent"],
    diffusion: Float64[Tensor, "latent latent"],
    dt: Float64[Tensor, " batch"],
) -> Stretch:
    """What a stretch of every dt does; `diffusion` is L, any factor of the noise's intensity."""
    with torch.no_grad():
        length = torch.linalg.matrix_norm(generator, 1) * dt
        doublings = length.clamp(min=1.0).log2().ceil().clamp(max=DOUBLINGS)
    parts = _stretch(generator, diffusion, dt * torch.exp2(-doublings))
    for done in range(int(doublings.max()) if len(dt) else 0):
        again = done < doublings
        phi, psi, scale = parts
        twice = (phi @ phi, psi + phi @ psi, lower(torch.cat([scale, phi @ scale], dim=-1)))
        parts = where(again, twice, parts)
    return parts


def _stretch(generator: Tensor, diffusion: Tensor, h: Tensor) -> Stretch:
    """The same for short stretches."""
    identity = torch.eye(len(generator), dtype=generator.dtype, device=generator.device)
    powers = [identity]
    for order in range(1, TERMS):
        powers.append(powers[-1] @ generator / order)
    series = torch.stack(powers)
    orders = torch.arange(TERMS, dtype=h.dtype, device=h.device)
    phi = torch.einsum("bk,kij->bij", h[:, None] ** orders, series)
    psi = torch.einsum("bk,kij->bij", h[:, None] ** (orders + 1.0) / (orders + 1.0), series)
    nodes, weights = (torch.from_numpy(found).to(h) for found in np.polynomial.legendre.leggauss(NODES))
    at = 0.5 * (nodes + 1.0) * h[:, None]
    spread = torch.einsum("bnk,kij->bnij", at[..., None] ** orders, series) @ diffusion
    weighted = (0.5 * weights * h[:, None]).sqrt()[..., None, None] * spread
    return phi, psi, lower(weighted.transpose(1, 2).flatten(2))
