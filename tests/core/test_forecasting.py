"""Forecasts against the Kalman predictive, written here in numpy, and against simulated truth."""

import copy
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avf_core.analysis import forecasting
from avf_core.analysis.forecasting import forecast, generate, impute
from avf_core.beliefs import Belief
from avf_core.commands import calibrate, evaluate
from avf_core.commands import forecast as commands_forecast
from avf_core.commands import impute as commands_impute
from avf_core.commands import smooth as commands_smooth
from avf_core.distributions import Bernoulli, Gaussian
from avf_core.errors import AvfError
from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.mixtures import variance
from avf_core.models import lgssm
from avf_core.trees import take, tree_map
from tests.support.lgssm import independent, random_model, simulate

from .pairs import make, observations

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

HORIZONS = (1, 5, 20)


def filter_of(model: lgssm.Model) -> Filter:
    """The model with its exact conditional posterior."""
    return Filter(model, exact.Inference(exact.Config(), model))


def predictive(model: lgssm.Model, mean: np.ndarray, spread: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of x_{t+ahead}, given those of z_t."""
    a, c = model.dynamics.numpy(), model.emission.numpy()
    q, r = (np.diag(v.exp().numpy()) for v in (model.process_log_variance, model.noise_log_variance))
    for _ in range(ahead):
        mean, spread = a @ mean, a @ spread @ a.T + q
    return c @ mean, c @ spread @ c.T + r


def without_second(model: lgssm.Model) -> lgssm.Model:
    """The marginal model that has no second dimension."""
    return lgssm.Model.from_matrices(
        dynamics=model.dynamics,
        emission=model.emission[[0, 2]],
        initial_mean=model.initial_mean,
        initial_variance=model.initial_log_variance.exp(),
        process_variance=model.process_log_variance.exp(),
        noise_variance=model.noise_log_variance[[0, 2]].exp(),
    ).requires_grad_(False)


def filtered(filter: Filter, xs: Tensor, count: int) -> Belief:
    """The particles after these observations."""
    belief = filter.spread(torch.arange(xs.shape[1]), particles=count)
    for x in xs:
        belief, _ = filter.step(belief, x)
    return belief


@pytest.mark.parametrize(("size", "latent"), [(1, 1), (2, 2), (3, 2)])
def test_forecasts_from_particles_are_the_kalman_predictive(size: int, latent: int) -> None:
    """Means and covariances at horizons 1, 5 and 20, within the Monte Carlo error of paths and particles."""
    model, count = random_model(size, latent), 4096
    xs = simulate(model, 12, 2, seed=5)
    found = forecast(filter_of(model), filtered(filter_of(model), xs, count), horizon=20, paths=count)
    for row in range(2):
        means, covariances = independent(model).filter(xs[:, row].numpy())
        for ahead in HORIZONS:
            mean, spread = predictive(model, means[-1], covariances[-1], ahead)
            error = np.sqrt(np.diag(spread) / (count / 4.0))  # resampled particles are worth fewer
            paths = found.paths[ahead - 1, row].numpy()
            assert np.all(np.abs(found.mean[ahead - 1, row].numpy() - mean) < 4.0 * error)
            assert np.all(np.abs(paths.mean(0) - mean) < 4.0 * error)
            scale = np.sqrt(np.outer(np.diag(spread), np.diag(spread)))
            assert np.all(np.abs(np.cov(paths.T).reshape(size, size) - spread) < 8.0 * scale / count**0.5)
            ratio = found.variance[ahead - 1, row].numpy() / np.diag(spread)
            np.testing.assert_allclose(ratio, 1.0, atol=8.0 / count**0.5)


def test_a_forecast_from_one_row_is_conditional_on_its_latent() -> None:
    """From z_t itself, known without spread."""
    model, count = random_model(2, 2), 20000
    belief, estimate = filter_of(model).step(filter_of(model).initial(torch.tensor([3])), simulate(model, 1, 1)[0])
    found = forecast(filter_of(model), belief, horizon=20, paths=count)
    for ahead in HORIZONS:
        mean, spread = predictive(model, estimate.z[0].numpy(), np.zeros((2, 2)), ahead)
        error = np.sqrt(np.diag(spread) / count)
        assert np.all(np.abs(found.mean[ahead - 1, 0].numpy() - mean) < 4.0 * error)
        np.testing.assert_allclose(
            found.variance[ahead - 1, 0].numpy() / np.diag(spread), 1.0, atol=5.0 * (2.0 / count) ** 0.5
        )


def test_ninety_percent_intervals_cover_ninety_percent() -> None:
    """Between 88 and 92, at each horizon, over 1,000 sequences that the model made."""
    model = random_model(2, 2)
    xs = simulate(model, 30, 1000, seed=11)
    found = forecast(filter_of(model), filtered(filter_of(model), xs[:10], 64), horizon=20, paths=99)
    low, high = found.interval(0.9)
    for ahead in HORIZONS:
        truth = xs[9 + ahead]
        inside = (low[ahead - 1] < truth) & (truth < high[ahead - 1])
        assert 0.88 < float(inside.double().mean()) < 0.92


def test_generated_sequences_have_the_models_moments() -> None:
    """Mean and variance of every step, from the closed recursion."""
    model = random_model(2, 3)
    xs = generate(filter_of(model), torch.arange(20000), time=6)
    start = model.initial_mean.numpy(), np.diag(model.initial_log_variance.exp().numpy())
    for t in range(6):
        mean, spread = predictive(model, *start, t)
        np.testing.assert_allclose(xs[t].mean(0).numpy(), mean, atol=5.0 * float(np.sqrt(spread.max() / 20000)))
        np.testing.assert_allclose(xs[t].var(0).numpy() / np.diag(spread), 1.0, atol=0.06)


@pytest.mark.parametrize("feedback", ["sample", "mean"])
def test_a_forecast_is_a_pure_function_of_each_row(pair: Filter, feedback: forecasting.Feedback) -> None:
    """Reproducible, the belief as before, a row the same alone, and few paths the first of many."""
    belief, _ = pair.step(pair.initial(torch.arange(5)), observations(pair, 1, 5)[0])
    before = copy.deepcopy(belief)
    together = forecast(pair, belief, horizon=3, paths=7, feedback=feedback)
    again = forecast(pair, belief, horizon=3, paths=7, feedback=feedback)
    tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0) or a, (together, before), (again, belief))
    alone = forecast(pair, take(belief, slice(2, 3)), horizon=3, paths=4, feedback=feedback)
    torch.testing.assert_close(together.paths[:, 2:3, :4], alone.paths, rtol=1e-4, atol=1e-4)
    assert not torch.equal(together.paths[:, 0], together.paths[:, 1])


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths simulated a few at a time are the same."""
    filter = make("srnn-gated", torch.float64)
    belief = filter.initial(torch.arange(3))
    whole = forecast(filter, belief, horizon=4, paths=10)
    monkeypatch.setattr(forecasting, "CHUNK", 7)
    tree_map(lambda a, b: torch.testing.assert_close(a, b) or a, whole, forecast(filter, belief, horizon=4, paths=10))


def test_moments_are_those_of_the_paths() -> None:
    """The mixture's mean and variance agree with binary draws, whose variance is mean (1 - mean)."""
    filter = make("srnn-gated", torch.float64)
    found = forecast(filter, filter.initial(torch.arange(1)), horizon=2, paths=20000)
    torch.testing.assert_close(found.variance, found.mean * (1.0 - found.mean), rtol=1e-9, atol=1e-9)
    assert float((found.paths.mean(2) - found.mean).abs().max()) < 5.0 * 0.5 / 20000**0.5


def test_variance_of_a_likelihood_that_does_not_say_it() -> None:
    """By its quantiles: within a percent."""

    @dataclass(frozen=True)
    class Logistic:
        mean: Tensor

        def log_prob(self, x: Tensor) -> Tensor:
            return torch.nn.functional.logsigmoid(x - self.mean) + torch.nn.functional.logsigmoid(self.mean - x)

        def sample(self, uniform: Tensor) -> Tensor:
            return self.mean + torch.logit(uniform)

    known = variance(Logistic(torch.tensor([0.0, 3.0], dtype=torch.float64)))
    np.testing.assert_allclose(known, np.pi**2 / 3.0, rtol=0.02)
    torch.testing.assert_close(variance(Bernoulli(torch.zeros(2))), torch.full((2,), 0.25))
    torch.testing.assert_close(variance(Gaussian(torch.zeros(2), torch.ones(2))), torch.ones(2).exp())


def test_quantiles_are_numpys() -> None:
    """Of the type whose intervals cover as they say."""
    samples = torch.randn(3, 2, 19, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = [0.0, 0.05, 0.31, 0.5, 0.95, 1.0]
    expected = np.quantile(samples.numpy(), levels, axis=2, method="weibull")
    np.testing.assert_allclose(forecasting.quantiles(samples, levels), expected, atol=1e-12)


@pytest.mark.parametrize("missing", ["dimension", "steps"])
def test_imputation_is_the_conditional_of_the_kalman_filter(missing: str) -> None:
    """Means and deviations of what is missing, given all observed so far, against pykalman with the observed part."""
    model, paths = random_model(3, 2), 4096
    xs = simulate(model, 8, 1, seed=9)
    observed = torch.ones_like(xs, dtype=torch.bool)
    if missing == "dimension":
        observed[:, :, 1] = False
    else:
        observed[3:6] = False
    hidden = torch.where(observed, xs, float("nan"))
    found = impute(filter_of(model), hidden, observed, seeds=torch.arange(1), paths=paths)
    if missing == "dimension":
        means, covariances = independent(without_second(model)).filter(xs[:, 0][:, [0, 2]].numpy())
    else:
        means, covariances = independent(model).filter(np.ma.masked_invalid(hidden[:, 0].numpy()))
    for t in range(8):
        mean, spread = predictive(model, means[t], covariances[t], 0)
        for d in range(3):
            if observed[t, 0, d]:
                assert bool((found.samples[t, 0, :, d] == xs[t, 0, d]).all())
                assert float(found.mean[t, 0, d]) == float(xs[t, 0, d])
                continue
            deviation = spread[d, d] ** 0.5
            assert abs(float(found.mean[t, 0, d]) - mean[d]) < 8.0 * deviation / paths**0.5
            assert abs(float(found.samples[t, 0, :, d].mean()) - mean[d]) < 8.0 * deviation / paths**0.5
            assert float(found.samples[t, 0, :, d].std()) == pytest.approx(deviation, rel=0.08)
    low, high = found.quantiles([0.05, 0.95])
    assert bool((low <= high).all())


@pytest.mark.parametrize("weighted", [True, False])
def test_imputed_values_are_those_the_filter_went_on_with(weighted: bool) -> None:
    """One path is the filter under the mask; its belief's LSTM heard the imputed values."""
    filter = make("srnn-gated", torch.float64)
    xs = observations(filter, 4, 2)
    observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(1)) > 0.4
    found = impute(filter, xs, observed, seeds=torch.arange(2), paths=1, weighted=weighted)
    belief, _ = filter.scan(filter.initial(torch.arange(2)), xs, observed=observed)
    expected, _ = filter.scan(filter.initial(torch.arange(2)), found.samples[:, :, 0])
    torch.testing.assert_close(belief.model["hidden"], expected.model["hidden"])
    assert bool((found.samples[:, :, 0] == xs)[observed].all())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f, b: forecast(f, b, horizon=0),
        lambda f, b: forecast(f, b, horizon=1, paths=0),
        lambda f, b: forecast(f, b, horizon=1).quantiles([]),
        lambda f, b: forecast(f, b, horizon=1).quantiles([1.2]),
        lambda f, b: impute(f, torch.zeros(0, 1, 3), torch.ones(0, 1, 3, dtype=torch.bool), seeds=torch.arange(1)),
    ],
)
def test_mistakes_are_typed_errors(wrong: object) -> None:
    """Each says what was expected."""
    filter = make("lgssm-exact")
    with pytest.raises(AvfError, match=r"expected|at least"):
        wrong(filter, filter.initial(torch.arange(1)))  # type: ignore[operator]


def test_the_how_to_runs_and_its_options_exist() -> None:
    """Its code blocks in one namespace; every option it names is one of these commands'."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "forecast.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, "forecast.md", "exec"), names)
    assert {"ahead", "filled", "back", "verdict"} <= set(names)
    filtering = (commands_forecast.command, commands_impute.command, commands_smooth.command)
    commands = (calibrate.command, evaluate.command, *filtering)
    known = {option for command in commands for p in command.params for option in p.opts}
    assert set(re.findall(r"--[a-z][a-z-]*", page)) <= known
