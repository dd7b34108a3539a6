"""The hidden Markov model's forward filter against enumeration of all paths, and what states that are regimes need."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import norm

from avf_core.analysis.forecasting import forecast
from avf_core.distributions import OneHot
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference import forward, gradient, kalman
from avf_core.models import lgssm, switching
from avf_core.training import em

pytestmark = pytest.mark.usefixtures("shapes_unchecked")

STEPS = 5


def filter_of(*, autoregressive: bool, dtype: torch.dtype = torch.float64) -> Filter:
    """Three regimes of two numbers, in units of their own, with parameters that are nowhere zero."""
    torch.manual_seed(3)
    config = switching.Config(autoregressive=autoregressive, center=(1.0, -5.0), scale=(2.0, 0.1))
    model = switching.Model(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape).to(dtype))
    return Filter(model, forward.Inference(forward.Config(), model)).requires_grad_(False)


def enumerated(filter: Filter, xs: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log p(x_1..t) and p(r_t | x_1..t), by adding up every path of regimes."""
    model = filter.model
    assert isinstance(model, switching.Model)
    pi, moves = (p.double().softmax(-1).numpy() for p in (model.initial_logits, model.transition_logits))
    levels, deviations = model.levels.double().numpy(), np.exp(0.5 * model.log_variances.double().numpy())
    weights = np.zeros((3, 2, 2)) if model.regression is None else model.regression.double().numpy()
    center, scale = np.array([1.0, -5.0]), np.array([2.0, 0.1])
    evidences, beliefs = [], []
    for last in range(1, len(xs) + 1):
        sums = np.zeros(3)
        for path in itertools.product(range(3), repeat=last):
            p = 1.0
            for t, k in enumerate(path):
                p *= pi[k] if t == 0 else moves[path[t - 1], k]
                before = (xs[t - 1] - center) / scale if t else np.zeros(2)
                mean = center + scale * (levels[k] + weights[k] @ (before - levels[k]))
                p *= np.prod(norm.pdf(xs[t], mean, scale * deviations[k])[seen[t]])
            sums[path[-1]] += p
        evidences.append(np.log(sums.sum()))
        beliefs.append(sums / sums.sum())
    return np.array(evidences), np.array(beliefs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize(("autoregressive", "masked"), [(False, False), (False, True), (True, False)])
def test_beliefs_and_evidence_are_those_of_all_paths(
    autoregressive: bool, masked: bool, dtype: torch.dtype, tolerance: float
) -> None:
    """The probability of every regime, and -log p(x_t | x_<t), under masks too where there is no regression."""
    filter = filter_of(autoregressive=autoregressive, dtype=dtype)
    draw = np.random.default_rng(1)
    xs = (np.array([1.0, -5.0]) + np.array([2.0, 0.1]) * draw.normal(size=(STEPS, 2))).astype(np.float32).astype(float)
    seen = draw.random((STEPS, 2)) > (0.5 if masked else 0.0)
    x, observed = torch.from_numpy(xs).to(dtype)[:, None], torch.from_numpy(seen)[:, None]
    blanked = torch.where(observed, x, float("nan"))
    _, found = filter.scan(filter.initial(torch.tensor([4])), blanked, observed=observed)
    evidence, belief = enumerated(filter, xs, seen)
    assert found.exact
    np.testing.assert_allclose(found.posterior.mean[:, 0], belief, atol=tolerance)
    np.testing.assert_allclose(-found.free_energy[:, 0].cumsum(0), evidence, atol=tolerance * STEPS)
    deviation = torch.exp(0.5 * found.posterior.log_variance[:, 0])
    np.testing.assert_allclose(deviation, np.sqrt(belief * (1.0 - belief)), atol=tolerance)


def test_nothing_depends_on_seeds() -> None:
    """No regime is sampled, not even over a gap."""
    filter = filter_of(autoregressive=False)
    xs = torch.randn(4, 1, 2).double()
    observed = torch.tensor([True, False, True, True])[:, None, None].expand_as(xs)
    one, other = (filter.scan(filter.initial(torch.tensor([s])), xs, observed=observed)[1] for s in (1, 2))
    torch.testing.assert_close(one.posterior.mean, other.posterior.mean, rtol=0, atol=0)


def test_predictions_and_forecasts_are_mixtures_over_regimes() -> None:
    """The prediction's density is the evidence where numbers are independent; paths stay in one regime a step."""
    filter = filter_of(autoregressive=False)
    x = torch.tensor([[1.3, -5.1]]).double()
    only = torch.tensor([[True, False]])
    belief, _ = filter.step(filter.initial(torch.tensor([1])), x)
    _, found = filter.step(belief, x, observed=only)
    torch.testing.assert_close(found.prediction.log_prob(x)[:, 0], -found.free_energy)
    model = filter.model
    assert isinstance(model, switching.Model)
    probabilities = belief.model["probabilities"] @ model.transition_logits.softmax(-1)
    levels = torch.tensor([1.0, -5.0]) + torch.tensor([2.0, 0.1]) * model.levels
    ahead = forecast(filter, belief, horizon=2, paths=20000)
    torch.testing.assert_close(ahead.mean[1], probabilities @ levels, rtol=0.0, atol=0.05)


def test_a_draw_has_its_probability() -> None:
    """One entry a draw, by standard normal noise."""
    draws = OneHot.of(torch.tensor([0.1, 0.0, 0.6, 0.3]).expand(20000, -1)).transform(torch.randn(20000, 4))
    assert bool((draws.sum(-1) == 1.0).all())
    torch.testing.assert_close(draws.mean(0), torch.tensor([0.1, 0.0, 0.6, 0.3]), atol=0.02, rtol=0.0)


def test_training_by_the_evidence_finds_the_regimes() -> None:
    """Levels that data switch between, from a random start; each regime is then told from the others."""
    draw = np.random.default_rng(0)
    truth = np.array([[-3.0, 0.0], [0.0, 3.0], [3.0, -3.0]])
    regimes = np.repeat(draw.integers(0, 3, (16, 8)), 5, axis=1)
    xs = torch.tensor(truth[regimes] + 0.5 * draw.normal(size=(16, 40, 2))).float().transpose(0, 1)
    torch.manual_seed(1)
    model = switching.Model(switching.Config(scale=3.0))
    filter = Filter(model, forward.Inference(forward.Config(), model))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    clip = em.Clip.whole(xs, torch.ones(40, 16, dtype=torch.bool), torch.arange(16))
    for _ in range(80):
        optimizer.zero_grad()
        em.joint_free_energy(filter, clip, kl_weight=1.0)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = 3.0 * model.levels.detach().numpy()
    for level in truth:
        assert float(np.abs(found - level).max(1).min()) < 0.3
    with torch.no_grad():
        _, after = filter.scan(filter.initial(torch.arange(16)), xs)
    assert float((after.posterior.mean.max(-1).values > 0.9).float().mean()) > 0.95


def test_only_its_own_procedure_takes_a_model_of_regimes() -> None:
    """The error says what to do; so do sizes that make no sense."""
    model, linear = switching.Model(switching.Config()), lgssm.Model(lgssm.Config())
    with pytest.raises(ConfigurationError, match="use its exact procedure"):
        Filter(model, gradient.Inference(gradient.Config(), model))
    with pytest.raises(ConfigurationError, match="needs an LGSSM"):
        kalman.Inference(kalman.Config(), model)
    with pytest.raises(ConfigurationError, match="needs a switching model"):
        forward.Inference(forward.Config(), linear)
    with pytest.raises(ConfigurationError, match="regimes is 1"):
        switching.Config(regimes=1)
