"""p-values and alarms: uniform on normal data, as sharp as the Kalman innovation test on faults, with the false-alarm
rate that is promised."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from avf_core.analysis.surprise import ChangeDetector, ReferenceDistribution, step_scores
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.models import lgssm
from avf_core.trees import where
from tests.support.lgssm import independent, random_model, simulate

from .pairs import make, observations

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]


def filter_of(model: lgssm.Model) -> Filter:
    """The model with its exact conditional posterior."""
    return Filter(model, exact.Inference(exact.Config(), model))


def p_values(reference: ReferenceDistribution, scores: np.ndarray) -> np.ndarray:
    return reference.p_value(torch.as_tensor(scores)).numpy()


@pytest.mark.parametrize("score", ["free_energy", "evidence"])
def test_p_values_are_uniform_on_normal_data(score: str) -> None:
    """On sequences that the model made and the reference has not seen (Kolmogorov and Smirnov)."""
    model = random_model(2, 2)
    options = {"score": score, "particles_count": 16, "max_rows": 8192}

    def scores(seed: int, batch: int) -> np.ndarray:
        xs = simulate(model, 50, batch, seed=seed).numpy()
        return np.concatenate(step_scores(filter_of(model), list(xs.transpose(1, 0, 2)), seed=1000 * seed, **options))

    p = p_values(ReferenceDistribution.fit(scores(1, 400)), scores(2, 40))
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.0 < p.min() < 0.01


def with_faults(model: lgssm.Model, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of shape (batch, time, size) with sensor faults, and which steps have one."""
    xs = simulate(model, 120, 60, seed=3).numpy().transpose(1, 0, 2)
    generator = np.random.default_rng(4)
    faulty = np.zeros(xs.shape[:2], dtype=bool)
    width = {"jump": 1, "bias": 8, "burst": 8}[kind]
    for row in range(len(xs)):
        for start in generator.choice(np.arange(10, 110, 10), 3, replace=False):
            faulty[row, start : start + width] = True
    size = {"jump": 3.0, "bias": 2.0, "burst": 2.0}[kind]
    change = generator.normal(size=xs.shape) if kind == "burst" else np.ones_like(xs)
    return xs + size * change * faulty[..., None], faulty


def innovation_test(model: lgssm.Model, x: np.ndarray) -> np.ndarray:
    """The normalised squared innovation of every step, from pykalman's filtered moments."""
    means, covariances = independent(model).filter(x)
    a, c = model.dynamics.numpy(), model.emission.numpy()
    q, r, p = (np.diag(getattr(model, f"{n}_log_variance").exp().numpy()) for n in ("process", "noise", "initial"))
    statistic = []
    for t in range(len(x)):
        mean = a @ means[t - 1] if t else model.initial_mean.numpy()
        spread = a @ covariances[t - 1] @ a.T + q if t else p
        error = x[t] - c @ mean
        statistic.append(error @ np.linalg.solve(c @ spread @ c.T + r, error))
    return np.array(statistic)


def auroc(score: np.ndarray, faulty: np.ndarray) -> float:
    """The probability that a faulty step scores higher than a sound one (Mann and Whitney)."""
    bad, good = score[faulty], score[~faulty]
    return float(stats.mannwhitneyu(bad, good).statistic / (len(bad) * len(good)))


@pytest.mark.parametrize("kind", ["jump", "bias", "burst"])
def test_faults_are_separated_as_by_the_kalman_innovation_test(kind: str) -> None:
    """Areas under the ROC curve within 0.02 of each other, by p-values of the particles' -log p(x_t | x_<t)."""
    model = random_model(2, 2)
    xs, faulty = with_faults(model, kind)
    normal = simulate(model, 120, 40, seed=8).numpy().transpose(1, 0, 2)
    options = {"score": "evidence", "particles_count": 64, "max_rows": 8192}
    reference = ReferenceDistribution.fit(np.concatenate(step_scores(filter_of(model), list(normal), **options)))
    scores = np.stack(step_scores(filter_of(model), list(xs), **options))
    ours = auroc(-p_values(reference, scores), faulty)
    kalman = auroc(np.stack([innovation_test(model, x) for x in xs]), faulty)
    assert kalman > 0.7
    assert abs(ours - kalman) < 0.02


@pytest.mark.parametrize("distribution", [stats.expon(), stats.genpareto(0.3), stats.norm(), stats.uniform()])
def test_tails_reach_beyond_the_data(distribution: object) -> None:
    """p-values of known distributions are right in the body, near enough ten times beyond the data, and never 0."""
    scores = distribution.rvs(20000, random_state=np.random.default_rng(0))  # type: ignore[attr-defined]
    reference = ReferenceDistribution.fit(scores)
    body = distribution.ppf([0.05, 0.3, 0.7, 0.95])  # type: ignore[attr-defined]
    np.testing.assert_allclose(p_values(reference, body), [0.95, 0.7, 0.3, 0.05], atol=0.01)
    if distribution.dist.name in ("expon", "genpareto"):  # type: ignore[attr-defined]
        far = distribution.isf([1e-3, 1e-4, 1e-5])  # type: ignore[attr-defined]
        ratio = p_values(reference, far) / [1e-3, 1e-4, 1e-5]
        assert np.all((ratio > 0.2) & (ratio < 5.0))
    extreme = p_values(reference, np.array([-1e6, 1e3, 1e6, 1e12, np.nan]))
    assert extreme[0] == 1.0
    assert np.all(extreme[1:4] > 0.0)
    assert np.all(np.diff(p_values(reference, np.linspace(body[0], 50.0, 1000))) <= 0.0)
    assert np.isnan(extreme[4])


def test_equal_scores_are_not_surprising() -> None:
    """A score that normal data often have exactly has the p-value of all that is at least as large."""
    reference = ReferenceDistribution.fit(np.repeat([0.0, 1.0, 2.0], [500, 300, 200]))
    found = p_values(reference, np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(found, [1.0, 0.5, 0.2], atol=0.02)
    constant = ReferenceDistribution.fit(np.zeros(200))
    assert p_values(constant, np.array([0.0]))[0] == 1.0
    assert p_values(constant, np.array([1.0]))[0] < 0.5


def test_a_reference_survives_json() -> None:
    """As a model card holds it; and what is none is refused."""
    reference = ReferenceDistribution.fit(stats.norm.rvs(size=500, random_state=np.random.default_rng(1)))
    assert ReferenceDistribution.from_dict(json.loads(json.dumps(reference.as_dict()))) == reference
    for wrong in ({}, {**reference.as_dict(), "values": [0.0]}, {**reference.as_dict(), "tail_scale": 0.0}):
        with pytest.raises(DataError, match="no reference distribution"):
            ReferenceDistribution.from_dict(wrong)
    for scores in (np.zeros(10), np.full(200, np.nan), np.full(200, np.inf)):
        with pytest.raises(DataError, match="expected 100 finite"):
            ReferenceDistribution.fit(scores)


def test_scores_are_those_of_the_filter() -> None:
    """F of a scan, step by step; NaN where nothing was observed."""
    filter = make("srnn-gaussian")
    xs = observations(filter, 6, 2)
    hidden = xs.clone()
    hidden[3, 1] = float("nan")
    with torch.no_grad():
        _, e = filter.scan(filter.initial(torch.arange(2)), hidden, observed=~hidden.isnan())
    found = step_scores(filter, [hidden[:, 0].numpy(), hidden[:, 1].numpy()])
    expected = e.free_energy.numpy().T.copy()
    expected[1, 3] = np.nan
    np.testing.assert_allclose(np.stack(found), expected, rtol=1e-5)


@pytest.mark.parametrize("bet", [0.2, 0.5, 0.8])
def test_bets_are_fair(bet: float) -> None:
    """The mean e-value of a bet under uniform p is 1, by quadrature (p = s^(1 / bet)) of the statistic after a step."""
    detector = ChangeDetector(bets=(bet,))

    def e_value(p: float) -> float:
        _, log_m, _ = detector.step(detector.initial(1), torch.tensor([p], dtype=torch.float64))
        return float(log_m.exp())

    mean, _ = integrate.quad(lambda s: e_value(s ** (1 / bet)) * s ** (1 / bet - 1) / bet, 0.0, 1.0)
    assert mean == pytest.approx(1.0, abs=1e-6)


def test_the_statistic_is_the_sum_over_starts() -> None:
    """M is the sum over all starting points of the product of e-values since, averaged over the bets; NaN is a gap."""
    detector = ChangeDetector()
    p = np.random.default_rng(0).random(12) ** 2
    state = detector.initial(1)
    for value in [*p[:5], np.nan, *p[5:]]:
        state, log_m, _ = detector.step(state, torch.tensor([value], dtype=torch.float64))
    expected = np.mean([sum(np.prod(k * p[s:] ** (k - 1)) for s in range(12)) for k in detector.bets])
    assert float(log_m.exp()) == pytest.approx(expected)


def test_false_alarms_are_as_rare_as_promised_and_changes_are_found() -> None:
    """The mean time to a false alarm is at least `run_length`; after p-values turn small, alarms come quickly."""
    detector, rows = ChangeDetector(run_length=100.0), 4000
    generator = torch.Generator().manual_seed(0)
    state, time = detector.initial(rows), torch.full((rows,), float("nan"), dtype=torch.float64)
    for t in range(1, 601):
        state, _, alarm = detector.step(state, torch.rand(rows, generator=generator, dtype=torch.float64))
        time = torch.where(alarm & time.isnan(), float(t), time)
    assert float(time.nan_to_num(600.0).mean()) > 100.0
    changed = detector.initial(rows)
    for _ in range(20):
        p = torch.rand(rows, generator=generator, dtype=torch.float64) ** 4
        changed, _, alarm = detector.step(changed, p)
    assert float(alarm.double().mean()) > 0.95
    fresh = where(alarm, detector.initial(rows), changed)
    _, _, again = detector.step(fresh, torch.ones(rows, dtype=torch.float64))
    assert not bool(again[alarm].any())


@pytest.mark.parametrize("wrong", [{"run_length": 1.0}, {"bets": ()}, {"bets": (1.0,)}])
def test_detectors_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    """The error says what is expected."""
    with pytest.raises(ConfigurationError, match="expected"):
        ChangeDetector(**wrong)


@pytest.mark.parametrize("heavy", [False, True])
def test_quantiles_are_the_scores_of_their_p_values(heavy: bool) -> None:
    """In the table and in the tail, exponential or heavy: the score at level q has the p-value 1 - q."""
    random = np.random.default_rng(0)
    scores = random.pareto(3.0, 5000) if heavy else random.normal(10.0, 2.0, 5000)
    reference = ReferenceDistribution.fit(scores)
    assert (reference.tail_shape > 0.0) == heavy
    for level in (0.05, 0.5, 0.95, 0.99, 0.9999):
        score = torch.tensor([reference.quantile(level)], dtype=torch.float64)
        assert float(reference.p_value(score)) == pytest.approx(1.0 - level, rel=1e-6)
