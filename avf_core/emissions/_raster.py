"""Pixels that hear those before them: what is left of a picture is predicted from its neighbours, in raster order.

    e_i = x_i - center_i        e_i = sum_k a_ik e_{n_k(i)} + s_i v_i        n_k: left, up-left, up, up-right

    log s_i = (1 - r_i) log_scale_i + r_i log(mean |s v| of these neighbours)

Outside of the picture nothing is left. log p is that of every pixel given those before it, in one pass. The mean is
the center, whatever the neighbours' weights; deviations come from the covariance of whole rows, from the top down, and
are exact but for the scale's following, which they leave out.

The law: the magnitudes of a pixel's weights add up to less than one, so that nothing that is drawn grows.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from avf_core.emissions._two_scales import LOGISTIC, TwoScales, quantile
from avf_core.emissions.base import Units, numbers

REACH = ((0, 1), (1, 1), (1, 0), (1, -1))  # the neighbours: rows up, and columns to the left
FAINT = 1e-6  # magnitudes below which weights are as they are said
FOLLOWED_FLOOR = 0.1  # of a level, what scales that follow do not fall below
NEARBY = 5  # pixels, the side of the square in which changes are looked at together


def weights_of(free: Float[Tensor, "*rows neighbours observation"]) -> Float[Tensor, "*rows neighbours observation"]:
    """Weights whose magnitudes add up to the hyperbolic tangent of what those of the numbers add up to."""
    total = free.abs().sum(-2, keepdim=True).clamp(min=FAINT)
    return free * torch.tanh(total) / total


def around(
    values: Float[Tensor, "*rows observation"], shape: tuple[int, int]
) -> Float[Tensor, "*rows neighbours observation"]:
    """The neighbours' values of every pixel; 0 outside of the picture."""
    height, width = shape
    padded = F.pad(torch.unflatten(values, -1, shape), (1, 1, 1, 0))
    parts = [padded[..., 1 - up : 1 - up + height, 1 - left : 1 - left + width] for up, left in REACH]
    return torch.stack(parts, dim=-3).flatten(-2)


@dataclass(frozen=True)
class Raster:
    """The likelihood of a picture of this shape, in standardised units.

    `moved`: how far each pixel went between the last two pictures, where these are known. What is said of the picture
    does not hear it; who judges what deviations mean does.
    """

    center: Float[Tensor, "... observation"]
    log_scale: Float[Tensor, "... observation"]
    odds: Float[Tensor, "... observation"]
    weights: Float[Tensor, "... neighbours observation"]
    following: Float[Tensor, "... observation"]
    units: Units
    shape: tuple[int, int]
    moved: Float[Tensor, "... observation"] | None = None

    def log_prob(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """log P of the level around each pixel, given the pixels before it, in nats."""
        errors = self.units.standardize(x).to(self.center.dtype) - self.center
        predicted = (self.weights * around(errors, self.shape)).sum(-2)
        heard = around((errors - predicted).abs(), self.shape).sum(-2)
        log_scale = self._followed(heard, slice(None))
        return TwoScales(self.center + predicted, log_scale, self.odds, self.units).log_prob(x)

    @property
    def mean(self) -> Float[Tensor, "... observation"]:
        """The expected picture."""
        return self.units.restore(self.center)

    @property
    def log_variance(self) -> Float[Tensor, "... observation"]:
        """Of every pixel, the others unknown."""
        return self.marginal.log_variance

    @property
    def changes(self) -> tuple[Float[Tensor, "... observation"], Float[Tensor, "... observation"]] | None:
        """Of every pixel between the last two pictures, and the mean around it; a share of a level is added to that."""
        if self.moved is None:
            return None
        pictures = self.moved.reshape(-1, 1, *self.shape)
        around_it = F.avg_pool2d(pictures, NEARBY, 1, NEARBY // 2, count_include_pad=False).reshape(self.moved.shape)
        scale = numbers(self.units.scale)[0]
        return scale * self.moved, scale * around_it + FOLLOWED_FLOOR * self.units.bin

    @cached_property
    def marginal(self) -> TwoScales:
        """Each pixel alone: of its deviation, with the tails that its own noise has."""
        alone = TwoScales(self.center, self.log_scale, self.odds, self.units)
        variance = _spread(self.weights, torch.exp(2.0 * self.log_scale + alone.log_spread), self.shape)
        log_scale = 0.5 * (torch.log(variance) - alone.log_spread)
        return TwoScales(self.center, log_scale, self.odds, self.units)

    def sample(self, uniform: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """A picture: every pixel is the quantile, at its number in `uniform`, given the pixels before it."""
        return self.complete(torch.zeros_like(uniform), torch.zeros_like(uniform, dtype=torch.bool), uniform)

    def complete(
        self,
        x: Float[Tensor, "... observation"],
        observed: Bool[Tensor, "... observation"],
        uniform: Float[Tensor, "... observation"] | None = None,
    ) -> Float[Tensor, "... observation"]:
        """The picture, with what is not observed at its expectation, or quantile, given the pixels before it."""
        shape = torch.broadcast_shapes(self.center.shape, x.shape)  # type: ignore[no-untyped-call]
        values = (self.units.standardize(torch.where(observed, x, 0.0)).to(self.center.dtype) - self.center).expand(
            shape
        )
        drawn = torch.zeros_like(values) if uniform is None else quantile(uniform.to(values.dtype), self.odds)
        observed, drawn = observed.expand(shape), drawn.expand(shape)
        places = (self.shape[0] + 1) * (self.shape[1] + 2)
        errors = values.new_zeros(*shape[:-1], places)
        residuals = torch.zeros_like(errors)
        for here, at, near in _fronts(*self.shape):
            predicted = (self.weights[..., here] * errors[..., near]).sum(-2)
            log_scale = self._followed(residuals[..., near].abs().sum(-2), here)
            found = predicted + torch.exp(log_scale) * drawn[..., here]
            error = torch.where(observed[..., here], values[..., here], found)
            errors, residuals = errors.index_copy(-1, at, error), residuals.index_copy(-1, at, error - predicted)
        inside = torch.unflatten(errors, -1, (self.shape[0] + 1, -1))[..., 1:, 1:-1].flatten(-2)
        return torch.where(observed, x.to(inside.dtype), self.units.restore(self.center + inside))

    def _followed(self, heard: Tensor, places: Tensor | slice) -> Tensor:
        """Log-scales of these pixels, of which the neighbours' residuals have magnitudes that add up to `heard`."""
        count = _inside(*self.shape, heard.device)[places]
        level = self.units.bin / numbers(self.units.scale)[0]
        recent = torch.log(heard / count.clamp(min=1.0) / LOGISTIC.absolute + FOLLOWED_FLOOR * level)
        own = self.log_scale[..., places]
        return torch.where(count > 0.0, torch.lerp(own, recent, self.following[..., places]), own)


@lru_cache(maxsize=8)
def _inside(height: int, width: int, device: torch.device) -> Float[Tensor, " observation"]:
    """How many neighbours of each pixel lie in the picture."""
    return around(torch.ones(height * width, device=device), (height, width)).sum(-2)


@lru_cache(maxsize=8)
def _fronts(height: int, width: int) -> list[tuple[Int64[Tensor, " front"], Int64[Tensor, " front"], Tensor]]:
    """Pixels that can be found at once, in order: of 2 row + column alike. Their places in the picture, in one with a
    border above and at both sides, and there those of their neighbours."""
    rows, columns = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    fronts, padded = 2 * rows + columns, width + 2
    found = []
    for front in range(2 * (height - 1) + width):
        here = (fronts == front).nonzero()[:, 0]
        at = (rows[here] + 1) * padded + columns[here] + 1
        found.append((here, at, torch.stack([at - up * padded - left for up, left in REACH])))
    return found


@torch.no_grad()
def _spread(weights: Tensor, variance: Tensor, shape: tuple[int, int]) -> Float[Tensor, "... observation"]:
    """The variance of what is left of every pixel, by that of whole rows. Not differentiated.

    e_r = L e_r + U e_{r-1} + noise, so that C_r = (I - L)^-1 (U C_{r-1} U' + D) (I - L)^-T. Both matrices are of few
    diagonals: each product is a sum of shifted rows, each inverse a recursion over them.
    """
    width = shape[1]
    lead = torch.broadcast_shapes(weights.shape[:-2], variance.shape[:-1])  # type: ignore[no-untyped-call]
    of = torch.unflatten(weights.expand(*lead, *weights.shape[-2:]).reshape(-1, *weights.shape[-2:]), -1, shape)
    noise = torch.unflatten(variance.expand(*lead, -1).reshape(len(of), -1), -1, shape)
    covariance, rows = noise.new_zeros(width, width, len(of)), []
    for near, own in zip(of.permute(2, 1, 3, 0).unsqueeze(-2).contiguous(), noise.permute(1, 0, 2), strict=True):
        left, corner, above, right = near
        whole = _turned(_shifted(_turned(_shifted(covariance, corner, above, right)), corner, above, right))
        whole.diagonal(dim1=0, dim2=1).add_(own)
        covariance = _recursed(_turned(_recursed(whole, left)), left)
        rows.append(covariance.diagonal(dim1=0, dim2=1).clone())
    return torch.cat(rows, dim=-1).to(variance.dtype).reshape(*lead, -1)


def _turned(covariance: Float[Tensor, "row column batch"]) -> Float[Tensor, "column row batch"]:
    return covariance.transpose(0, 1).contiguous()


def _shifted(covariance: Tensor, corner: Tensor, above: Tensor, right: Tensor) -> Float[Tensor, "row column batch"]:
    """Each row as a sum of those at its place and beside it."""
    found = above * covariance
    found[1:].addcmul_(corner[1:], covariance[:-1])
    found[:-1].addcmul_(right[:-1], covariance[1:])
    return found


def _recursed(whole: Tensor, left: Tensor) -> Float[Tensor, "row column batch"]:
    """Each row with what is left of the one before it; in place."""
    rows = whole.unbind(0)
    for before, row, weight in zip(rows, rows[1:], left.unbind(0)[1:], strict=False):
        row.addcmul_(weight, before)
    return whole
