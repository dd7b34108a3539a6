"""The probability that a Gaussian gives to an interval, in logarithms: the heart of discretised likelihoods.

With a = |x - mean| and h = bin / 2, both in standard deviations, and y = a h:

    log P = log[ cdf(a + h) - cdf(a - h) ]

The law: the value and its analytic gradients are finite and accurate for every finite a and every h > 0 (until a ** 2
leaves the range of floating point), whatever the difference of the two cdfs rounds to. Three forms, chosen
element by element, keep it:

    h small          P = 2 h n(a) sinh(y) / y * correction        the density times the bin, and its curvature
    else a <= 10     P = (erfc - erfc) / 2                        no cancellation that matters, no underflow
    else             P = exp(-(a - h)^2 / 2) (erfcx - e^-2y erfcx) / 2       scaled, so that nothing underflows

n is the standard normal density. The gradients follow from dP/da = n(a + h) - n(a - h), dP/dh = n(a + h) + n(a - h).
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
SQRT_HALF = math.sqrt(0.5)
# Below these half-widths the first form is used: what it neglects, h^4 / 8, then is of the order of rounding.
SMALL = {torch.float32: 0.05, torch.float64: 1e-3}
FAR = 10.0  # deviations; erfc underflows in float32 beyond 13

Parts = tuple[Tensor, Tensor, Tensor]
"""log P, -d log P / da and h * d log P / dh."""


def log_probability(
    x: Float[Tensor, "... dimension"],
    mean: Float[Tensor, "... dimension"],
    log_variance: Float[Tensor, "... dimension"],
    *,
    width: float,
) -> Float[Tensor, "... dimension"]:
    """log P(x - width / 2 < X < x + width / 2) of X ~ N(mean, variance), in nats, in float32 or float64.

    Differentiable once, with respect to all three tensors. Lower precisions are computed in float32.
    """
    dtype = torch.promote_types(torch.float32, torch.promote_types(x.dtype, mean.dtype))
    x, mean, log_variance = torch.broadcast_tensors(x.to(dtype), mean.to(dtype), log_variance.to(dtype))  # type: ignore[no-untyped-call]
    value: Tensor = _LogProbability.apply(x, mean, log_variance, width)  # type: ignore[no-untyped-call]
    return value


class _LogProbability(torch.autograd.Function):
    """log P with its analytic gradients, found together in the forward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, log_variance: Tensor, width: float) -> Tensor:
        precision = torch.exp(-0.5 * log_variance)  # 1 / deviation
        u = ((x - mean) * precision).contiguous()
        a, h = u.abs(), ((0.5 * width) * precision).contiguous()
        value, outward, by_width = _parts(a, h)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(torch.copysign(outward, u).mul_(precision), (a * outward).sub_(by_width).mul_(0.5))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        by_mean, by_log_variance = ctx.saved_tensors
        by_mean = by_mean * gradient
        return -by_mean, by_mean, by_log_variance * gradient, None


def _parts(a: Tensor, h: Tensor) -> Parts:
    """The first form everywhere, then the others written over it where they are due: few elements as a rule."""
    parts = _narrow(a, h)
    wide = h >= SMALL[a.dtype]
    far = a > FAR
    for chosen, form in ((wide & ~far, _central), (wide & far, _distant)):
        (places,) = chosen.flatten().nonzero(as_tuple=True)
        if len(places):
            better = form(a.flatten()[places], h.flatten()[places])
            for whole, part in zip(parts, better, strict=True):
                whole.view(-1)[places] = part
    return parts


def _narrow(a: Tensor, h: Tensor) -> Parts:
    """P = n(a) * integral of exp(-a s - s^2 / 2) over [-h, h], to the second order in s.

    The integral is 2 h sinh(y) / y * (1 - E[s^2] / 2), with E[s^2] = h^2 (1 - 2 (y coth y - 1) / y^2) under exp(-a s).
    """
    y = (a * h).clamp_(min=1e-30)
    decay = torch.expm1(-2.0 * y).neg_()  # 1 - exp(-2 y)
    y_coth = y * (2.0 - decay) / decay
    squared, h_squared = y * y, h * h
    spread = torch.where(
        y < 0.1, 1 / 3 + squared * (2 / 45 - squared * (4 / 945)), 1.0 - 2.0 * (y_coth - 1.0) / squared
    )
    kept = 1.0 - 0.5 * h_squared * spread
    value = y - 0.5 * a * a - HALF_LOG_2PI + torch.log(decay / y * h * kept)
    ratio = torch.exp(-0.5 * h_squared) / kept
    return value, a * ratio, y_coth * ratio


def _central(a: Tensor, h: Tensor) -> Parts:
    """P from error functions, by the one of two forms that does not cancel: mean inside the interval, or outside."""
    near, far = torch.special.erfc((a - h).abs() * SQRT_HALF), torch.special.erfc((a + h) * SQRT_HALF)
    inside = a < h
    outer = 0.5 * torch.where(inside, near + far, near - far).clamp_(min=torch.finfo(a.dtype).tiny)
    value = torch.where(inside, torch.log1p(-outer), torch.log(outer))
    density = torch.exp(-0.5 * (a - h) ** 2 - HALF_LOG_2PI) / torch.where(inside, 1.0 - outer, outer)
    decay = torch.expm1(-2.0 * a * h)
    return value, -density * decay, h * density * (2.0 + decay)


def _distant(a: Tensor, h: Tensor) -> Parts:
    """P scaled by exp((a - h)^2 / 2); an interval that reaches inwards beyond the mean holds nearly all of it."""
    distance = a - h
    decay = torch.expm1(-2.0 * a * h)
    near, far = torch.special.erfcx(distance.clamp(min=0.0) * SQRT_HALF), torch.special.erfcx((a + h) * SQRT_HALF)
    scaled = 0.5 * (near - (1.0 + decay) * far)
    inside = distance < 0.0
    outer = 0.5 * torch.special.erfc(-distance * SQRT_HALF)  # the far end is out of sight
    value = torch.where(inside, torch.log1p(-outer), -0.5 * distance**2 + torch.log(scaled))
    density = torch.exp(-0.5 * distance**2 - HALF_LOG_2PI) / (1.0 - outer)
    density = torch.where(inside, density, math.exp(-HALF_LOG_2PI) / scaled)
    return value, -density * decay, h * density * (2.0 + decay)
