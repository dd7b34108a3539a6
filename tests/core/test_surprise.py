"""p-values: uniform on normal data, as sharp as the Kalman innovation test on faults, small on both sides."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.models import lgssm
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
    np.testing.assert_allclose(p_values(reference, body), [0.5, 0.7 / 0.9, 0.3 / 0.9, 0.05 / 0.9], atol=0.03)
    if distribution.dist.name in ("expon", "genpareto"):  # type: ignore[attr-defined]
        far = distribution.isf([1e-3, 1e-4, 1e-5])  # type: ignore[attr-defined]
        ratio = p_values(reference, far) / np.divide([1e-3, 1e-4, 1e-5], 0.9)
        assert np.all((ratio > 0.2) & (ratio < 5.0))
    extreme = p_values(reference, np.array([-1e6, 1e3, 1e6, 1e12, np.nan]))
    assert np.all(extreme[:4] > 0.0)
    assert extreme[0] < 1e-3
    top = reference.quantile(0.1)  # where p is 1
    assert np.all(np.diff(p_values(reference, np.linspace(top, 50.0, 1000))) <= 0.0)
    assert np.all(np.diff(p_values(reference, np.linspace(-50.0, top, 1000))) >= 0.0)
    assert np.isnan(extreme[4])


def test_equal_scores_are_not_surprising() -> None:
    """A score that normal data often have exactly counts with those beyond it, on either side."""
    reference = ReferenceDistribution.fit(np.repeat([0.0, 1.0, 2.0], [500, 300, 200]))
    found = p_values(reference, np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(found, [1.0, 0.5 / 0.9, 0.2 / 0.9], atol=0.02)
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
    for few in (np.zeros(10), np.full(200, np.nan), [], [np.zeros(4), np.full(200, np.nan)]):
        with pytest.raises(DataError, match=r"^(0|4|10) steps have a score, expected 100 or more: give more data"):
            ReferenceDistribution.fit(few)
    with pytest.raises(DataError, match="2 of 200 scores are infinite: look at these data"):
        ReferenceDistribution.fit(np.r_[np.zeros(198), np.inf, -np.inf])


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


@pytest.mark.parametrize("heavy", [False, True])
def test_quantiles_are_the_scores_of_their_p_values(heavy: bool) -> None:
    """In the table and in the tail, exponential or heavy: at level q it is (1 - q) / 0.9, or q / 0.1."""
    random = np.random.default_rng(0)
    scores = random.pareto(3.0, 5000) if heavy else random.normal(10.0, 2.0, 5000)
    reference = ReferenceDistribution.fit(scores)
    assert (reference.tail_shape > 0.0) == heavy
    for level in (0.05, 0.5, 0.95, 0.99, 0.9999):
        score = torch.tensor([reference.quantile(level)], dtype=torch.float64)
        assert float(reference.p_value(score)) == pytest.approx(min(1.0, level / 0.1, (1.0 - level) / 0.9), rel=1e-6)


def test_what_is_far_too_well_expected_is_as_strange_as_a_bang() -> None:
    """Below all that was met p falls evenly with the distance; the lowest of n is one in n or a few, of a tenth.

    One score far below all others does not make usual what lies between.
    """
    scores = np.random.default_rng(3).normal(100.0, 10.0, 4000)
    reference = ReferenceDistribution.fit(scores)
    lowest, far, farther = p_values(reference, np.array([scores.min(), scores.min() - 20.0, 0.0]))
    assert 0.5 < lowest / (10.0 / 4001) < 4.0
    odd = ReferenceDistribution.fit(np.append(scores, -900.0))
    assert p_values(odd, np.array([scores.min() - 20.0]))[0] < 2.0 * far
    assert lowest > 10.0 * far > 100.0 * farther
    assert far < 1e-3 > p_values(reference, np.array([scores.max() + 20.0]))[0]


def test_a_memory_makes_p_values_of_dependent_scores_independent() -> None:
    """Of an autoregression, whose weights are found; without, successive p-values are of one stretch of weather."""
    generator = np.random.default_rng(5)
    score, scores = np.zeros(2), []
    for shock in generator.exponential(size=8000):
        scores.append(20.0 + shock + 0.6 * (score[0] - 20.0) + 0.2 * (score[1] - 20.0))
        score = np.array([scores[-1], score[0]])
    train, test = np.array(scores[:4000]), np.array(scores[4000:])
    known = ReferenceDistribution.fit([train[:2500], train[2500:]], memory=2)
    np.testing.assert_allclose(known.memory, [0.6, 0.2], atol=0.05)
    assert ReferenceDistribution.from_dict(json.loads(json.dumps(known.as_dict()))) == known
    past = torch.from_numpy(np.stack([test[1:-1], test[:-2]], axis=-1))
    p = known.p_value(torch.from_numpy(test[2:]), past=past).numpy()
    blind = p_values(ReferenceDistribution.fit(train), test[2:])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 0.05
    assert np.corrcoef(blind[1:], blind[:-1])[0, 1] > 0.2
    nothing = torch.full((1, 2), float("nan"), dtype=torch.float64)
    middle = torch.tensor([known.center], dtype=torch.float64)
    assert float(known.p_value(middle, past=nothing)) == float(known.p_value(middle))
    with pytest.raises(DataError, match="3 before them"):
        ReferenceDistribution.fit(np.arange(100.0), memory=3)
