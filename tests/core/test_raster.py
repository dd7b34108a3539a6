"""Pixels that hear those before them, against enumeration, dense linear algebra and loops over pixels in numpy."""

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from avf_core import emissions
from avf_core.emissions import Units, residual
from avf_core.emissions._raster import FOLLOWED_FLOOR, REACH, Raster, weights_of
from avf_core.emissions._two_scales import LOGISTIC, TwoScales

SHAPE = (3, 4)
UNITS = Units(bin=0.25, center=0.5, scale=2.0)


def picture(shape: tuple[int, int] = SHAPE, *, rows: int = 2, following: float = 0.0) -> Raster:
    """A likelihood with random parameters."""
    generator, size = torch.Generator().manual_seed(3), shape[0] * shape[1]

    def drawn(*sizes: int) -> Tensor:
        return torch.randn(*sizes, dtype=torch.float64, generator=generator)

    weights = weights_of(drawn(rows, len(REACH), size))
    share = torch.full((rows, size), following, dtype=torch.float64)
    return Raster(drawn(rows, size), 0.3 * drawn(rows, size) - 1.0, drawn(rows, size), weights, share, UNITS, shape)


def dense(found: Raster, row: int) -> np.ndarray:
    """The weights of one row of the batch as a matrix: errors = matrix @ errors + noise."""
    height, width = found.shape
    matrix = np.zeros((height * width, height * width))
    for y, x in itertools.product(range(height), range(width)):
        for k, (up, left) in enumerate(REACH):
            if y - up >= 0 and 0 <= x - left < width:
                matrix[y * width + x, (y - up) * width + x - left] = found.weights[row, k, y * width + x]
    return matrix


def test_probabilities_of_all_pictures_add_up_to_one() -> None:
    """Of two pixels, over all pairs of levels, with a scale that follows."""
    found = picture((1, 2), rows=1, following=0.4)
    levels = torch.arange(-600.0, 601.0, dtype=torch.float64) * UNITS.bin
    pairs = torch.cartesian_prod(levels, levels)
    total = found.log_prob(pairs).sum(-1).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0.0, atol=1e-4)


def test_deviations_are_those_of_the_whole_covariance() -> None:
    """(I - A)^-1 D (I - A)^-T, by numpy; the mean is the center."""
    found = picture()
    alone = TwoScales(found.center, found.log_scale, found.odds, UNITS)
    for row in range(2):
        response = np.linalg.inv(np.eye(12) - dense(found, row))
        expected = np.diag(response @ np.diag(alone.log_variance[row].exp().numpy()) @ response.T)
        np.testing.assert_allclose(found.log_variance[row].exp(), expected, rtol=1e-9)
    torch.testing.assert_close(found.marginal.mean, found.mean)


def test_log_probabilities_are_those_of_a_loop_over_pixels() -> None:
    """Predicted from the neighbours' errors, with a scale that follows their residuals."""
    found = picture(following=0.3)
    x = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    expected = torch.zeros_like(x)
    for row in range(2):
        matrix, errors = dense(found, row), (UNITS.standardize(x[row]) - found.center[row]).numpy()
        residuals = errors - matrix @ errors
        for place in range(12):
            y, column = divmod(place, SHAPE[1])
            near = [
                (y - up) * SHAPE[1] + column - left for up, left in REACH if y >= up and 0 <= column - left < SHAPE[1]
            ]
            log_scale = float(found.log_scale[row, place])
            if near:
                recent = np.abs(residuals[near]).mean() / LOGISTIC.absolute + FOLLOWED_FLOOR * UNITS.bin / 2.0
                log_scale = 0.7 * log_scale + 0.3 * math.log(recent)
            center = found.center[row, [place]] + float(matrix[place] @ errors)
            likelihood = TwoScales(center, torch.full_like(center, log_scale), found.odds[row, [place]], UNITS)
            expected[row, place] = likelihood.log_prob(x[row, [place]])[0]
    torch.testing.assert_close(found.log_prob(x), expected)


def test_a_drawn_picture_is_found_again_in_its_parts() -> None:
    """What was drawn in raster order is drawn again where the first pixels are observed."""
    found = picture(following=0.3)
    uniform = torch.rand(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    drawn = found.sample(uniform)
    observed = (torch.arange(12) < 7).expand(2, 12)
    torch.testing.assert_close(found.complete(drawn, observed, uniform), drawn)
    moved = uniform.clone()
    moved[:, 7] = 0.5
    torch.testing.assert_close(found.sample(moved)[:, :7], drawn[:, :7])
    assert not torch.equal(found.sample(moved)[:, 10], drawn[:, 10])


def test_samples_have_the_moments_that_are_said() -> None:
    """Thousands of draws, and at the middle of the noise the mean itself."""
    found = picture(rows=1)
    uniform = torch.rand(20_000, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    drawn = found.sample(uniform)
    torch.testing.assert_close(drawn.var(0), found.log_variance[0].exp(), rtol=0.1, atol=0.0)
    torch.testing.assert_close(drawn.mean(0), found.mean[0], rtol=0.0, atol=0.2)
    torch.testing.assert_close(found.sample(torch.full((1, 12), 0.5, dtype=torch.float64)), found.mean)


def test_what_is_missing_is_expected_from_the_pixels_before() -> None:
    """A hole is filled by its neighbours' weights, one pixel after the other."""
    found = picture(rows=1)
    x = torch.randn(1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    observed = torch.ones(1, 12, dtype=torch.bool)
    observed[0, [5, 6]] = False
    errors = (UNITS.standardize(x) - found.center)[0].numpy().copy()
    matrix = dense(found, 0)
    for place in (5, 6):
        errors[place] = matrix[place] @ errors
    filled = UNITS.restore(found.center + torch.from_numpy(errors))
    torch.testing.assert_close(found.complete(x, observed)[~observed], filled[~observed])


def test_weights_never_add_up_to_one() -> None:
    """However large the numbers that say them; small ones are weights themselves."""
    free = torch.tensor([[1e-4], [-2e-4], [1e-4], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(weights_of(free), free, rtol=1e-6, atol=0.0)
    assert float(weights_of(1e6 * free).abs().sum()) <= 1.0


def test_weights_begin_as_those_of_least_squares() -> None:
    """Of pictures that are made by known weights, `begin` finds these, and the scale of what is left."""
    generator = np.random.default_rng(0)
    weights = np.array([0.4, -0.2, 0.3, 0.05])
    errors = np.zeros((400, 10, 10))
    for y, x in itertools.product(range(1, 9), range(1, 9)):
        near = np.stack([errors[:, y - up, x - left] for up, left in REACH])
        errors[:, y, x] = weights @ near + generator.normal(0.0, 0.1, 400)
    frames = errors[:, 1:9, 1:9].reshape(-1, 64).astype(np.float32)
    emission = emissions.build("residual", {"channels": 0, "frames": 1}, units=Units(), size=64, shape=(8, 8))
    assert isinstance(emission, residual.Emission)
    emission.begin([frames])
    found = weights_of(emission.near[1, : len(REACH), None].detach())[:, 0]
    np.testing.assert_allclose(found, weights, atol=0.03)
    scale = emission.start_log_scale.detach().exp() * LOGISTIC.deviation
    np.testing.assert_allclose(scale, 0.1, rtol=0.15)
