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
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from avf_core.native import elements

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
SQRT_HALF = math.sqrt(0.5)
# Below these half-widths the first form is used: what it neglects, h^6 / 3000, then is of the order of rounding. Levels
# of 8-bit pixels and of 16-bit sound are below them under all deviations that models have.
SMALL = {torch.float32: 0.3, torch.float64: 1e-3}
PIECE = 16384  # elements
FAR = 10.0  # deviations; erfc underflows in float32 beyond 13

Parts = tuple[Tensor, ...]
"""log P, and where slopes are asked for, -d log P / da and h * d log P / dh."""

Slopes = tuple[Tensor, Tensor, Tensor]
"""log P, and its derivatives by the mean and by the log-variance."""


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
    value: Tensor = _LogProbability.apply(*_together(x, mean, log_variance), width)  # type: ignore[no-untyped-call]
    return value


def log_probability_slopes(
    x: Float[Tensor, "... dimension"],
    mean: Float[Tensor, "... dimension"],
    log_variance: Float[Tensor, "... dimension"],
    *,
    width: float,
) -> Slopes:
    """`log_probability` with its derivatives, which are found together with it."""
    with torch.no_grad():
        value, by_mean, by_log_variance = _in_pieces(_slopes, *_together(x, mean, log_variance), width)
    return value, by_mean, by_log_variance


def _together(x: Tensor, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of one shape and one precision, at least float32."""
    dtype = torch.promote_types(torch.float32, torch.promote_types(x.dtype, mean.dtype))
    x, mean, log_variance = torch.broadcast_tensors(x.to(dtype), mean.to(dtype), log_variance.to(dtype))  # type: ignore[no-untyped-call]
    return x, mean, log_variance


class _LogProbability(torch.autograd.Function):
    """log P with its analytic gradients, found together in the forward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, log_variance: Tensor, width: float) -> Tensor:
        if not any(ctx.needs_input_grad):
            return _in_pieces(_value, x, mean, log_variance, width)[0]
        value, by_mean, by_log_variance = _in_pieces(_slopes, x, mean, log_variance, width)
        ctx.save_for_backward(by_mean, by_log_variance)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        by_mean, by_log_variance = ctx.saved_tensors
        by_mean = by_mean * gradient
        return -by_mean, by_mean, by_log_variance * gradient, None


def _in_pieces(
    found: Callable[..., tuple[Tensor, ...]], x: Tensor, mean: Tensor, log_variance: Tensor, width: float
) -> tuple[Tensor, ...]:
    """What is found of pieces that stay in the cache, with what is computed on the way."""
    if (native := elements.log_probability(x, mean, log_variance, width, sloped=found is _slopes)) is not None:
        return native
    pieces = zip(*(torch.split(value.flatten(), PIECE) for value in (x, mean, log_variance)), strict=True)
    parts = zip(*(found(*piece, width) for piece in pieces), strict=True)
    return tuple((torch.cat(part) if len(part) > 1 else part[0]).view(x.shape) for part in parts)


def _value(x: Tensor, mean: Tensor, log_variance: Tensor, width: float) -> tuple[Tensor]:
    precision = torch.exp(-0.5 * log_variance)  # 1 / deviation
    return (_parts((x - mean).abs_().mul_(precision), precision.mul_(0.5 * width), sloped=False)[0],)


def _slopes(x: Tensor, mean: Tensor, log_variance: Tensor, width: float) -> Slopes:
    precision = torch.exp(-0.5 * log_variance)
    u = (x - mean).mul_(precision)
    a = u.abs()
    value, outward, by_width = _parts(a, precision * (0.5 * width), sloped=True)
    return value, torch.copysign(outward, u).mul_(precision), a.mul_(outward).sub_(by_width).mul_(0.5)


def _parts(a: Tensor, h: Tensor, *, sloped: bool) -> Parts:
    """The first form everywhere, then the others written over it where they are due: nowhere, as a rule."""
    parts = _narrow(a, h, sloped=sloped)
    if a.device.type != "cpu":
        return _everywhere(a, h, parts)
    if not len(h) or bool(h.amax() < SMALL[a.dtype]):
        return parts
    wide = h >= SMALL[a.dtype]
    far = a > FAR
    for chosen, form in ((wide & ~far, _central), (wide & far, _distant)):
        (places,) = chosen.nonzero(as_tuple=True)
        if len(places):
            better = form(a[places], h[places])
            for whole, part in zip(parts, better, strict=False):
                whole[places] = part
    return parts


def _everywhere(a: Tensor, h: Tensor, narrow: Parts) -> Parts:
    """Every form for every element, then the one that is due: a device computes more sooner than it is asked."""
    wide, far = h >= SMALL[a.dtype], a > FAR
    others = zip(_central(a, h), _distant(a, h), strict=True)
    due = [torch.where(far, distant, central) for central, distant in others]
    return tuple(torch.where(wide, other, part) for part, other in zip(narrow, due, strict=False))


def _narrow(a: Tensor, h: Tensor, *, sloped: bool) -> Parts:
    """P = n(a) * integral of exp(-a s - s^2 / 2) over [-h, h] = 2 h n(a) * sinh(y) / y * E[exp(-h^2 t^2 / 2)].

    t in [-1, 1] has the density of exp(-y t). The expectation's logarithm is taken from the cumulants of t^2: its mean
    1 - 2 (y coth y - 1) / y^2, and its variance, of which little depends, as a rational function of y^2.
    """
    y = (a * h).clamp_(min=1e-30)
    decay = torch.expm1(-2.0 * y).neg_()  # 1 - exp(-2 y)
    y_coth = (2.0 - decay).mul_(y).div_(decay)
    squared, half = (y * y).clamp_(1e-12, 1e12), h.square().mul_(0.5)
    series = torch.add(-4 / 945, squared, alpha=2 / 4725).mul_(squared).add_(2 / 45).mul_(squared).add_(1 / 3)
    mean = ((y_coth - 1.0) / squared).mul_(-2.0).add_(1.0).lerp_(series, (y < 0.5).to(y.dtype))
    variance = torch.add(0.0887298, squared, alpha=0.0321257)
    variance.div_(torch.add(0.2567954, squared, alpha=0.0102636).mul_(squared).add_(1.0))
    kept = torch.addcmul(mean.neg_(), half, variance, value=0.5).mul_(half)  # the logarithm of the expectation
    value = torch.log(decay.div_(y).mul_(h)).add_(y).add_(kept).sub_(a.square().mul_(0.5).add_(HALF_LOG_2PI))
    if not sloped:
        return (value,)
    ratio = torch.exp(kept.add_(half).neg_())
    return value, a * ratio, y_coth.mul_(ratio)


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
