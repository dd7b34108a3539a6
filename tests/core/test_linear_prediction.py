"""Linear prediction within frames against scipy, numpy's recursions and enumeration of all levels."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, linalg, signal, stats
from torch import Tensor

from avf_core import emissions
from avf_core.emissions import Units, _filters, linear_prediction
from avf_core.emissions._noise import NOISES
from avf_core.emissions.linear_prediction import LinearPrediction
from avf_core.errors import ConfigurationError

DISTRIBUTIONS = {"gaussian": stats.norm(), "logistic": stats.logistic(), "student-t": stats.t(4)}


def likelihood(
    size: int, *, rows: int = 3, units: Units | None = None, **options: object
) -> tuple[LinearPrediction, Tensor]:
    """A likelihood of frames of `size` from a decoder's random numbers, and what was observed before."""
    generator = torch.Generator().manual_seed(5)
    units = units or Units(bin=0.25, center=0.5, scale=2.0)
    emission = emissions.build("linear-prediction", {"gains": 1, **options}, units=units, size=size)
    assert isinstance(emission, linear_prediction.Emission)
    one = torch.zeros(1, dtype=torch.float64)
    before = torch.randn(rows, size, dtype=torch.float64, generator=generator)
    memory = emission.remember(emission.initial(rows, like=one), before)
    memory = emission.remember(memory, before.flip(-1))
    said = 0.5 * torch.randn(rows, emission.outputs, dtype=torch.float64, generator=generator)
    found = emission.likelihood_of(said, emission.context(memory))
    assert isinstance(found, LinearPrediction)
    return found, torch.cat([before, before.flip(-1)], dim=-1)


@pytest.mark.parametrize("name", sorted(NOISES))
@pytest.mark.parametrize("width", [1e-3, 0.3, 20.0])
def test_probabilities_of_levels_are_those_of_scipy(name: str, width: float) -> None:
    """In double precision everywhere where scipy's difference of tails keeps its digits, and in single near it."""
    errors = torch.tensor([0.0, 0.2, -1.0, 3.0, -6.0], dtype=torch.float64)
    scale, half = 1.7, width / 2
    far = -errors.abs().numpy()  # both ends in the lower tail, where cumulative probabilities are exact
    expected = np.log(DISTRIBUTIONS[name].cdf((far + half) / scale) - DISTRIBUTIONS[name].cdf((far - half) / scale))
    log_scale = torch.full_like(errors, math.log(scale))
    found = NOISES[name].log_probability(errors, log_scale, width=width)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    single = NOISES[name].log_probability(errors.float(), log_scale.float(), width=width)
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(NOISES))
def test_quantiles_and_moments_are_those_of_scipy(name: str) -> None:
    """The quantiles at probabilities of both tails, the deviation, the mean magnitude, the entropy."""
    uniform = torch.tensor([1e-4, 0.02, 0.3, 0.5, 0.8, 0.999], dtype=torch.float64)
    known = DISTRIBUTIONS[name]
    np.testing.assert_allclose(NOISES[name].quantile(uniform), known.ppf(uniform.numpy()), rtol=1e-8, atol=1e-12)
    assert NOISES[name].deviation == pytest.approx(known.std())
    magnitude = 2.0 * integrate.quad(lambda x: x * known.pdf(x), 0.0, np.inf)[0]
    assert NOISES[name].absolute == pytest.approx(magnitude)
    assert NOISES[name].entropy == pytest.approx(float(known.entropy()))


@pytest.mark.parametrize("name", sorted(NOISES))
def test_extreme_errors_have_finite_probabilities_and_slopes(name: str) -> None:
    """A million scales away, and levels of a millionth and a million scales, in float32."""
    errors = torch.tensor([0.0, 1e6, -1e6, 1e6], requires_grad=True)
    log_scale = torch.tensor([0.0, 0.0, 14.0, -14.0], requires_grad=True)
    found = NOISES[name].log_probability(errors, log_scale, width=1.0)
    slopes = torch.autograd.grad(found.sum(), [errors, log_scale])
    assert bool(found.isfinite().all())
    assert all(bool(slope.isfinite().all()) for slope in slopes)
    assert bool((found <= 0.0).all())


def test_reflections_give_stable_filters() -> None:
    """Poles within the unit circle, by numpy's roots, whatever the numbers."""
    free = 1.5 * torch.randn(20, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    filters = _filters.of_reflections(free)
    for coefficients in filters.numpy():
        assert np.abs(np.roots([1.0, *-coefficients])).max() < 1.0


def test_a_spectrum_gives_the_filter_of_its_autocorrelations() -> None:
    """scipy's Toeplitz solver on autocorrelations that are integrals of the spectrum, by its own quadrature."""
    cepstrum = 0.4 * torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for numbers, found in zip(cepstrum.numpy(), _filters.of_spectrum(cepstrum, 5).numpy(), strict=True):

        def spectrum(w: float, numbers: np.ndarray = numbers) -> float:
            return float(np.exp(2.0 * sum(c * math.cos((n + 1) * w) for n, c in enumerate(numbers))))

        lags = [integrate.quad(lambda w, k=k: spectrum(w) * math.cos(k * w), 0.0, math.pi)[0] for k in range(6)]
        np.testing.assert_allclose(found, linalg.solve_toeplitz(lags[:5], lags[1:]), atol=1e-5)
        assert np.abs(np.roots([1.0, *-found])).max() < 1.0


@pytest.mark.parametrize("noise", sorted(NOISES))
@pytest.mark.parametrize("reactive", [0, 2])
def test_probabilities_of_all_frames_add_up_to_one(noise: str, reactive: int) -> None:
    """Frames of two samples, every pair of levels enumerated."""
    options = {"order": 3, "noise": noise, "reactive": reactive, "filter": "reflection"}
    found, _ = likelihood(2, rows=1, units=Units(bin=1.0, scale=2.0), **options)
    levels = torch.arange(-200.0, 201.0, dtype=torch.float64)
    pairs = torch.tensor(list(itertools.product(levels.tolist(), levels.tolist())), dtype=torch.float64)
    many = LinearPrediction(
        coefficients=found.coefficients.expand(len(pairs), -1),
        gains=found.gains.expand(len(pairs), -1),
        reactivity=None if found.reactivity is None else found.reactivity.expand(len(pairs), -1),
        history=found.history.expand(len(pairs), -1),
        noise=found.noise,
        units=found.units,
        window=found.window,
        level=found.level,
        frame=found.frame,
    )
    total = many.log_prob(pairs).sum(-1).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0.0, atol=2e-5)


@pytest.mark.parametrize("reactive", [0, 3])
def test_log_probabilities_are_those_of_a_recursion_in_numpy(reactive: int) -> None:
    """Sample by sample, each predicted from those before it, back into the frames before."""
    order, size = 4, 6
    found, before = likelihood(size, order=order, reactive=reactive, noise="student-t")
    x = 0.5 + 2.0 * torch.randn(3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    for row in range(3):
        heard = list((before[row].numpy() - 0.5) / 2.0)
        residuals: list[float] = []
        expected = []
        for place, sample in enumerate([*heard, *((x[row].numpy() - 0.5) / 2.0)]):
            past = [*heard, *((x[row].numpy() - 0.5) / 2.0)][:place][::-1]
            predicted = sum(a * v for a, v in zip(found.coefficients[row].tolist(), past, strict=False))
            error = float(sample) - predicted
            if place >= len(heard):
                log_scale = float(found.log_scale[row, place - len(heard)])
                if reactive:
                    recent = np.mean(np.abs(residuals[-reactive:])) + linear_prediction.LEAST_SCALE * 0.125
                    assert found.reactivity is not None
                    log_scale += float(found.reactivity[row]) * (math.log(recent) - log_scale)
                t, half = abs(error) / math.exp(log_scale), 0.0625 / math.exp(log_scale)
                expected.append(math.log(stats.t(4).cdf(half - t) - stats.t(4).cdf(-half - t)))
            residuals.append(error)
        np.testing.assert_allclose(found.log_prob(x)[row], expected, rtol=1e-8)


def test_mean_and_deviation_are_those_of_the_filter_by_scipy() -> None:
    """The mean is the filter's answer to its past alone, the variance that of noise through its impulse response."""
    order, size = 5, 12
    found, before = likelihood(size, order=order, gains=3, reactive=0, noise="logistic")
    for row in range(3):
        whitening = [1.0, *-found.coefficients[row].numpy()]
        past = (before[row].numpy() - 0.5) / 2.0
        state = signal.lfiltic([1.0], whitening, past[::-1][:order])
        mean, _ = signal.lfilter([1.0], whitening, np.zeros(size), zi=state)
        np.testing.assert_allclose(found.mean[row], 0.5 + 2.0 * mean, atol=1e-9)
        variance = np.zeros(size)
        for place in range(size):
            impulse = np.zeros(size)
            impulse[place] = math.exp(found.log_scale[row, place]) * stats.logistic.std()
            variance += signal.lfilter([1.0], whitening, impulse) ** 2
        np.testing.assert_allclose(found.deviation[row], 2.0 * np.sqrt(variance), rtol=1e-9)


@pytest.mark.parametrize("reactive", [0, 3])
def test_samples_are_quantiles_given_the_samples_before(reactive: int) -> None:
    """The cumulative probability of each sample, given those before it, is the number that it was drawn at."""
    found, _ = likelihood(6, order=4, reactive=reactive, units=Units(bin=1e-9, scale=2.0))
    uniform = torch.rand(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x = found.sample(uniform)
    step = 1e-3
    for place in range(6):
        density = [found.log_prob(x + shift * torch.eye(6)[place])[:, place] for shift in (0.0, step)]
        # A logistic density's slope in the logarithm is (1 - 2 u) / scale, u being the cumulative probability.
        scale = found.units.bin / 2.0 / (density[0].exp() / (uniform[:, place] * (1.0 - uniform[:, place])))
        slope = (density[1] - density[0]) / (step / 2.0)
        torch.testing.assert_close(slope * scale, 1.0 - 2.0 * uniform[:, place], rtol=2e-2, atol=2e-2)


def test_what_is_missing_is_expected_given_the_samples_before() -> None:
    """A missing last sample is the filter's prediction from the observed ones; nothing observed gives the mean."""
    found, before = likelihood(6, order=4, reactive=2)
    x = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    observed = torch.ones(3, 6, dtype=torch.bool)
    observed[:, -1] = False
    filled = found.complete(x.masked_fill(~observed, float("nan")), observed)
    heard = (torch.cat([before, x[:, :-1]], dim=-1) - 0.5) / 2.0
    expected = 0.5 + 2.0 * (heard.flip(-1)[:, :4] * found.coefficients).sum(-1)
    torch.testing.assert_close(filled[:, -1], expected)
    torch.testing.assert_close(filled[:, :-1], x[:, :-1])
    torch.testing.assert_close(found.complete(x, torch.zeros_like(observed)), found.mean)


@pytest.mark.parametrize("options", [{"filter": "reflection"}, {"filter": "spectrum", "resolution": 5}])
def test_slopes_are_those_of_finite_differences(options: dict[str, object]) -> None:
    """The energy's gradient with respect to each number of the decoder, with a missing sample."""
    emission = emissions.build(
        "linear-prediction", {"order": 3, "gains": 2, "reactive": 2, **options}, units=Units(bin=0.1), size=6
    )
    assert isinstance(emission, linear_prediction.Emission)
    generator = torch.Generator().manual_seed(0)
    said = 0.5 * torch.randn(2, emission.outputs, dtype=torch.float64, generator=generator)
    x = torch.randn(2, 6, dtype=torch.float64, generator=generator)
    context = emission.context(emission.remember(emission.initial(2, like=x), x.flip(-1)))
    observed = torch.ones(2, 6, dtype=torch.bool)
    observed[0, 2] = False
    energy, slope = emission.sloped(said, context, x, observed)
    assert isinstance(slope, Tensor)
    step = 1e-6
    for place in range(emission.outputs):
        moved = said.clone()
        moved[:, place] += step
        above, _ = emission.sloped(moved, context, x, observed)
        torch.testing.assert_close((above - energy) / step, slope[:, place], rtol=1e-4, atol=1e-4)


def test_contexts_of_a_stretch_are_those_of_its_steps() -> None:
    """Also where a frame is shorter than what is remembered."""
    emission = emissions.build("linear-prediction", {"order": 9, "gains": 1}, units=Units(scale=0.5), size=4)
    xs = torch.randn(5, 2, 4)
    memory = emission.initial(2, like=xs)
    together = emission.contexts(memory, xs)
    for t, x in enumerate(xs):
        context = emission.context(memory)
        assert set(context) == set(together)
        for name, value in context.items():
            torch.testing.assert_close(together[name][t], value)
        memory = emission.remember(context, x)


@pytest.mark.parametrize("options", [{"order": 0}, {"gains": 0}, {"gains": 4}])
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    """Gains have to divide the frame."""
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))} (is )?"):
        emissions.build("linear-prediction", options, units=Units(), size=6)
