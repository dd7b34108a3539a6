"""Bands that hear what changed lately: the factors by hand, and coverage of cameras that were never heard before."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from avf_core import configuration, emissions
from avf_core.analysis.predictive import predictive, recalibrate
from avf_core.distributions import Gaussian
from avf_core.emissions import Units, residual
from avf_core.emissions._raster import FOLLOWED_FLOOR, NEARBY, Raster
from avf_core.emissions._two_scales import TwoScales
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.mixtures import Mixture
from avf_core.recalibration import FARTHEST, LOUDEST, Recalibration, Stretch

from .pairs import SVG

pytestmark = pytest.mark.slow

STRETCH = Stretch(ratios=(-1.0, 0.0, 2.0), factors=(-0.2, 0.1, 1.5), usual=-0.3)
SIDE = 8


def numbers(seed: int, *shape: int) -> Tensor:
    """Of which each is above 0."""
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.1


def test_factors_are_those_of_a_loop() -> None:
    """Interpolated by place, held at the ends, and scaled by the mean change of all; where nothing changed, 1."""
    change, nearby, deviation = 4.0 * numbers(0, 3, 7), 5.0 * numbers(1, 3, 7), numbers(2, 3, 7)
    change[1] = 0.0
    found = STRETCH.of(change, nearby, deviation).numpy()
    for row in (0, 2):
        ratios = np.log(nearby[row].numpy() / deviation[row].numpy())
        local = np.exp(np.interp(ratios, STRETCH.ratios, STRETCH.factors))
        sizes = np.minimum(change[row].numpy() / (deviation[row].numpy() * local), LOUDEST)
        np.testing.assert_allclose(found[row], local * np.mean(sizes) / math.exp(STRETCH.usual), rtol=1e-9)
    np.testing.assert_array_equal(found[1], 1.0)


def test_a_whole_observation_is_stretched_within_limits() -> None:
    """Where a single pixel flickers on a screen that stands still, bands stay."""
    level = Stretch(ratios=(-9.0, 9.0), factors=(0.0, 0.0))
    change = torch.zeros(1, 1000, dtype=torch.float64)
    change[0, 0] = 1e-3
    found = level.of(change, torch.ones_like(change), torch.ones_like(change))
    torch.testing.assert_close(found, torch.full_like(found, 1.0 / FARTHEST))


def test_a_stretch_is_read_as_it_was_written_and_refused_where_it_is_none() -> None:
    """A recalibration without one has no word of it."""
    plain = Recalibration(said=(0.0, 1.0), found=(0.0, 1.0), spread=1.0)
    assert set(plain.as_dict()) == {"said", "found", "spread"}
    stretched = replace(plain, stretch=STRETCH)
    assert Recalibration.from_dict(stretched.as_dict()) == stretched
    for bad in (
        {"ratios": (0.0,), "factors": (1.0,)},
        {"ratios": (1.0, 0.0)},
        {"factors": (0.0, math.inf, 0.0)},
        {"factors": (0.0, 1.0)},
    ):
        with pytest.raises(ConfigurationError, match="no stretch"):
            replace(STRETCH, **bad)
    with pytest.raises(ConfigurationError, match="no recalibration"):
        Recalibration.from_dict({**plain.as_dict(), "stretch": {"ratios": [0.0, 1.0]}})


def test_changes_are_those_of_the_last_two_pictures() -> None:
    """In natural units, with the mean of the square around each by loops; after fewer than two, nothing changed."""
    units = Units(bin=0.5, center=2.0, scale=4.0)
    torch.manual_seed(0)
    emission = emissions.build("residual", {"channels": 0}, units=units, size=24, shape=(4, 6)).double()
    assert isinstance(emission, residual.Emission)
    xs = 8.0 * numbers(3, 3, 2, 24)
    memory = emission.initial(2, like=xs)
    maps = torch.zeros(2, residual.NUMBERS * 24, dtype=torch.float64)
    for t in range(4):
        context = emission.context(memory)
        said = emission.likelihood_of(maps, context)
        assert isinstance(said, Raster)
        assert said.changes is not None
        change, nearby = said.changes
        expected = (xs[t - 1] - xs[t - 2]).abs() if t > 1 else torch.zeros(2, 24, dtype=torch.float64)
        torch.testing.assert_close(change, expected)
        reach = NEARBY // 2
        for row, y, x in itertools.product(range(2), range(4), range(6)):
            around = expected[row].reshape(4, 6)[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            share = FOLLOWED_FLOOR * units.bin
            assert float(nearby[row, 6 * y + x]) == pytest.approx(float(around.mean()) + share)
        if t < 3:
            memory = emission.remember(context, xs[t])
    alone = emissions.build("residual", {"frames": 1, "channels": 0}, units=units, size=24, shape=(4, 6)).double()
    memory = alone.remember(alone.context(alone.initial(2, like=xs)), xs[0])
    said = alone.likelihood_of(maps, alone.context(memory))
    assert isinstance(said, Raster)
    assert said.changes is None


def drawn(components: int) -> Mixture:
    """A mixture of pictures that know what changed, stretched."""
    center, odds = numbers(1, 2, components, 12), numbers(2, 2, components, 12)
    weights = 0.1 * torch.ones(2, components, 4, 12, dtype=torch.float64)
    moved = numbers(5, 2, 1, 12).expand(2, components, 12)
    pictures = Raster(center, -odds, odds, weights, 0.0 * odds, Units(bin=0.1), (3, 4), moved)
    even = torch.full((2, components), -math.log(components), dtype=torch.float64)
    map_ = Recalibration(said=(0.0, 0.4, 1.0), found=(0.0, 0.5, 1.0), spread=1.2, stretch=STRETCH)
    return Mixture(pictures, even, map_)


@pytest.mark.parametrize("components", [1, 3])
def test_a_stretched_mixture_agrees_with_itself(components: int) -> None:
    """Quantiles are where the cdf says; distances from the mean are the factor times those that are said."""
    found = drawn(components)
    plain = replace(found, recalibration=None)
    changes = found.changes
    assert changes is not None
    assert found.recalibration is not None
    factor = STRETCH.of(*changes, plain.deviation)
    torch.testing.assert_close(found.mean, plain.mean)
    torch.testing.assert_close(found.deviation, 1.2 * factor * plain.deviation)
    torch.testing.assert_close(found.log_prob(found.mean), plain.log_prob(found.mean))
    for level in (0.05, 0.5, 0.9):
        at = found.quantile(level)
        torch.testing.assert_close(found.cdf(at), torch.full_like(at, level))
        unmapped = plain.quantile(float(found.recalibration.saying(torch.tensor(level, dtype=torch.float64))))
        torch.testing.assert_close(at, plain.mean + factor * (unmapped - plain.mean))


def filmed(noise: float, count: int, *, seed: int) -> list[np.ndarray]:
    """Clips of a camera that is as noisy as this, on one picture, in levels of 1 / 255."""
    generator = np.random.default_rng(seed)
    scene = np.random.default_rng(0).uniform(0.3, 0.7, SIDE * SIDE)
    clips = scene + noise * generator.normal(size=(count, 12, SIDE * SIDE))
    return list((np.round(255.0 * clips) / 255.0).astype(np.float32))


def camera() -> Filter:
    """A filter of such pictures as it begins."""
    torch.manual_seed(1)
    model = {**SVG, "likelihood": "residual", "emission": {"frames": 2, "channels": 2}, "bin": 1.0 / 255.0}
    built = configuration.build({"model": model, "inference": {"kind": "direct", "widths": [4], "context": ["g"]}})
    built.model.begin(filmed(0.02, 4, seed=9))
    return built.requires_grad_(False)


def test_bands_hold_what_they_say_of_a_camera_that_is_quieter_than_those_before() -> None:
    """As of the louder ones that they were fitted to; without the stretch they hold nearly all."""
    filter = camera()
    heard = [clip for noise in (0.02, 0.03) for clip in filmed(noise, 4, seed=int(1000 * noise))]
    quiet = filmed(0.012, 4, seed=5)
    fitted = recalibrate(filter, heard)
    assert fitted is not None
    assert fitted.stretch is not None
    covered = {}
    for name, stretch in (("stretched", fitted.stretch), ("one map", None)):
        filter.recalibration = replace(fitted, stretch=stretch)
        found = predictive(filter, [clip[2:] for clip in quiet])
        assert found.coverage is not None
        covered[name] = found.coverage[1]
    assert covered["stretched"] == pytest.approx(0.9, abs=0.03)
    assert covered["one map"] > 0.95


def test_what_never_changes_can_tell_no_stretch() -> None:
    """A still picture is refused, and other likelihoods have no stretch at all."""
    with pytest.raises(DataError, match="two observations that differ"):
        recalibrate(camera(), [np.full((5, SIDE * SIDE), 0.5, dtype=np.float32)])
    even = Mixture(Gaussian(numbers(0, 2, 1, 3), numbers(1, 2, 1, 3)), torch.zeros(2, 1, dtype=torch.float64))
    assert even.changes is None
    recalibrated = replace(even, recalibration=drawn(1).recalibration)
    torch.testing.assert_close(recalibrated.deviation, 1.2 * even.deviation)


@pytest.mark.parametrize(("scale", "tells"), [(0.9, True), (0.1, False)])
def test_levels_of_the_model_itself_are_uniform_where_ties_are_broken(scale: float, tells: bool) -> None:
    """The part of a level that lies below a number belongs to it (Czado, Gneiting & Held 2009): 90 % hold 90.

    By the cdf at levels as they stand, too, where noise is as wide as a level, but not where it is a tenth of one.
    """
    units, size = Units(bin=0.5), 40_000
    log_scale = torch.full((size,), math.log(scale * units.bin), dtype=torch.float64)
    model = TwoScales(3.0 * numbers(0, size), log_scale, torch.full_like(log_scale, -1.0), units)
    levels = torch.round(model.sample(numbers(1, size) - 0.1) / units.bin) * units.bin
    below, above = (model.cdf(levels + side * 0.5 * units.bin) for side in (-1.0, 1.0))
    broken = below + (above - below) * (numbers(2, size) - 0.1)
    assert stats.kstest(broken.numpy(), "uniform").pvalue > 0.001
    plain = ((model.cdf(levels) - 0.5).abs() < 0.45).double().mean()
    assert (abs(float(plain) - 0.9) < 0.01) == tells
