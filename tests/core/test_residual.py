"""The residual emission against quadrature, finite differences, and what it says it remembers."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from avf_core import emissions
from avf_core.emissions import Units, residual
from avf_core.emissions._two_scales import WIDER, TwoScales
from avf_core.errors import ConfigurationError


def built(
    size: int = 6, shape: tuple[int, ...] | None = None, *, units: Units | None = None, **options: int
) -> residual.Emission:
    """A residual emission with random parameters."""
    torch.manual_seed(4)
    emission = emissions.build("residual", options, units=units or Units(), size=size, shape=shape)
    assert isinstance(emission, residual.Emission)
    with torch.no_grad():
        for parameter in emission.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return emission.double().requires_grad_(False)


def test_probabilities_of_levels_add_up_to_one_and_are_those_of_scipy() -> None:
    """A mixture of two logistics, from scipy's cumulative probabilities, over every level."""
    center, log_scale, odds = (torch.tensor([value], dtype=torch.float64) for value in (0.3, -1.2, -0.7))
    units = Units(bin=0.5, center=1.0, scale=2.0)
    found = TwoScales(center, log_scale, odds, units)
    levels = torch.arange(-400.0, 401.0, dtype=torch.float64)[:, None] * 0.5
    logs = found.log_prob(levels)
    torch.testing.assert_close(logs.exp().sum(), torch.ones((), dtype=torch.float64), rtol=0.0, atol=1e-9)
    share, scale = float(torch.sigmoid(odds)), math.exp(-1.2)
    x = (levels[:, 0].numpy() - 1.0) / 2.0
    expected = sum(
        weight * (stats.logistic.cdf(x + 0.125, 0.3, s) - stats.logistic.cdf(x - 0.125, 0.3, s))
        for weight, s in ((1.0 - share, scale), (share, WIDER * scale))
    )
    np.testing.assert_allclose(logs[:, 0].exp(), expected, atol=1e-12)
    mean = float((levels * logs.exp()).sum())
    variance = float(((levels - mean) ** 2 * logs.exp()).sum())
    assert float(found.mean) == pytest.approx(mean, abs=1e-6)
    # Levels add a twelfth of their square.
    assert float(found.log_variance.exp()) == pytest.approx(variance - 0.25 / 12.0, rel=1e-3)


def test_samples_are_quantiles() -> None:
    """The mixture's cumulative probability at a sample is the number that it was drawn at."""
    center, log_scale, odds = torch.randn(3, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    uniform = torch.linspace(1e-4, 1.0 - 1e-4, 200, dtype=torch.float64)
    drawn = TwoScales(center, log_scale, odds, Units()).sample(uniform)
    position = ((drawn - center) / log_scale.exp()).numpy()
    share = torch.sigmoid(odds).numpy()
    reached = (1.0 - share) * stats.logistic.cdf(position) + share * stats.logistic.cdf(position / WIDER)
    np.testing.assert_allclose(reached, uniform, atol=1e-9)


def test_slopes_are_those_of_finite_differences() -> None:
    """With respect to each of the decoder's numbers, with a missing dimension."""
    emission = built(units=Units(bin=0.05))
    said, x = torch.randn(2, 3, 6, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    context = emission.context(emission.remember(emission.initial(2, like=x), x.flip(-1)))
    observed = torch.ones(2, 6, dtype=torch.bool)
    observed[1, 3] = False
    energy, slope = emission.sloped(said, context, x, observed)
    assert isinstance(slope, Tensor)
    step = 1e-6
    for number in range(3):
        for place in range(6):
            moved = said.clone()
            moved[:, number, place] += step
            above, _ = emission.sloped(moved, context, x, observed)
            torch.testing.assert_close((above - energy) / step, slope[:, number, place], rtol=1e-4, atol=1e-4)


def test_a_vector_is_expected_where_it_was() -> None:
    """Without corrections: at the last observation, and before it at the training data's mean, place by place."""
    emission = built(frames=1)
    data = [np.random.default_rng(0).normal([1, 2, 3, 4, 5, 6], 2.0, (50, 6)).astype(np.float32)]
    emission.begin(data)
    x, none = torch.randn(2, 6, dtype=torch.float64), torch.zeros(2, 3, 6, dtype=torch.float64)
    memory = emission.initial(2, like=x)
    first = emission.likelihood_of(none, emission.context(memory))
    np.testing.assert_allclose(first.mean[0], data[0].mean(0), rtol=1e-5)
    context = emission.context(emission.remember(memory, x))
    torch.testing.assert_close(emission.likelihood_of(none, context).mean, x)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (-2, 1), (2, 2)])
def test_a_picture_is_carried_to_where_the_kernel_says(down: int, right: int) -> None:
    """All of every pixel from one place beside it: the picture moved, its edges repeated, as numpy moves it."""
    emission = built(64, (8, 8), frames=2, channels=2, kernel=5)
    assert emission.motion is not None
    with torch.no_grad():
        emission.motion.said.weight.zero_()
        said = torch.zeros_like(emission.motion.said.bias)  # type: ignore[arg-type]
        said[residual.NUMBERS + emission.heard + 5 * (2 - down) + 2 - right] = 100.0
        emission.motion.said.bias.copy_(said)  # type: ignore[union-attr]
    x, none = torch.rand(1, 64, dtype=torch.float64), torch.zeros(1, 3, 64, dtype=torch.float64)
    context = emission.context(emission.remember(emission.initial(1, like=x), x))
    padded = np.pad(x.view(8, 8).numpy(), 2, mode="edge")
    expected = padded[2 - down : 10 - down, 2 - right : 10 - right]
    np.testing.assert_allclose(emission.likelihood_of(none, context).mean.view(8, 8), expected, atol=1e-12)


def test_a_kernel_begins_where_the_last_picture_is() -> None:
    """Before it has learned, nearly all of a pixel is of its own place."""
    torch.manual_seed(0)
    emission = emissions.build("residual", {"kernel": 7, "channels": 4}, units=Units(), size=256, shape=(16, 16))
    x, none = torch.rand(1, 256), torch.zeros(1, 3, 256)
    context = emission.context(emission.remember(emission.initial(1, like=x), x))
    mean = emission.likelihood_of(none, context).mean
    assert (mean - x).square().mean() < 0.1 * x.var()


@pytest.mark.parametrize(("shape", "kernel"), [(None, 0), ((8, 8), 0), ((8, 8), 3)])
def test_contexts_of_a_stretch_are_those_of_its_steps(shape: tuple[int, ...] | None, kernel: int) -> None:
    """The network hears all steps as one batch, and a step alone; the first frame stands for those before it."""
    emission = built(64, shape, frames=3, channels=2, kernel=kernel)
    xs = torch.rand(5, 2, 64, dtype=torch.float64)
    memory = emission.initial(2, like=xs)
    together = emission.contexts(memory, xs)
    for t, x in enumerate(xs):
        context = emission.context(memory)
        for name, value in context.items():
            torch.testing.assert_close(together[name][t], value)
        memory = emission.remember(context, x)
    older = torch.unflatten(memory[residual.LAST], -1, (3, 64))
    torch.testing.assert_close(older, xs[2:].flip(0).transpose(0, 1))
    early = emission.remember(emission.initial(2, like=xs), xs[0])[residual.LAST]
    torch.testing.assert_close(early, xs[0].repeat(1, 3))


def test_options_that_make_no_sense_are_refused() -> None:
    """There has to be a frame to be heard."""
    with pytest.raises(ConfigurationError, match="frames is 0"):
        emissions.build("residual", {"frames": 0}, units=Units(), size=4)
    for options in ({"kernel": 4}, {"kernel": -1}, {"kernel": 3, "channels": 0}):
        with pytest.raises(ConfigurationError, match="expected 0, or an odd side and channels"):
            emissions.build("residual", options, units=Units(), size=64, shape=(8, 8))


def test_what_is_usual_is_the_entropy_of_the_scales_that_the_past_says() -> None:
    """Of levels that are narrow beside the scale, that of a logistic; and nothing where all lies on one level."""
    emission = built(units=Units(bin=1e-3, scale=2.0), frames=1)
    with torch.no_grad():
        emission.place_log_scale.copy_(torch.tensor([-3.0, -2.0, -1.0, 0.0, 1.0, -30.0]))
    x = torch.zeros(1, 6, dtype=torch.float64)
    context = emission.context(emission.remember(emission.initial(1, like=x), x))
    usual = emission.usual(context)
    assert usual is not None
    assert emission.usual(emission.initial(1, like=x)) is None
    wider = float(torch.sigmoid(torch.tensor(residual.ODDS))) * math.log(WIDER)
    expected = stats.logistic.entropy(scale=np.exp([-3.0, -2.0, -1.0, 0.0, 1.0])) - math.log(1e-3 / 2.0) + wider
    np.testing.assert_allclose(usual[0, :5], expected, atol=1e-3)
    assert 0.0 <= float(usual[0, 5]) < 1e-6
