"""Bounds of many samples against evidences known otherwise: pykalman's, and quadrature's for a non-linear model."""

import json

import numpy as np
import pytest
import torch

from avf_core.analysis.bounds import Kind, bound
from avf_core.analysis.evaluation import evaluate
from avf_core.distributions import Gaussian
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.particles import rows_of
from tests.support.lgssm import independent, random_model, simulate

from . import nonlinear
from .pairs import make

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]


def estimates(filter: Filter, xs: np.ndarray, kind: Kind, count: int, repeats: int = 400) -> np.ndarray:
    """Estimates of -log p(xs), with noise of their own each."""
    copies = [xs] * repeats
    return -np.array(bound(filter, copies, kind=kind, particles=count, max_rows=32768).log_evidence)


def free_energies(filter: Filter, xs: np.ndarray, repeats: int = 4000) -> np.ndarray:
    """F of a sequence, many times."""
    copies = torch.as_tensor(xs)[:, None].expand(-1, repeats, -1)
    _, estimate = filter.scan(filter.initial(torch.arange(repeats)), copies)
    return estimate.free_energy.sum(0).numpy()


def error(values: np.ndarray) -> float:
    """The standard error of the mean."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


@pytest.fixture(scope="module", params=[1, 2])
def sequence(request: pytest.FixtureRequest) -> np.ndarray:
    """Ten steps of the non-linear model."""
    return nonlinear.simulate(10, request.param)


def test_quadrature_has_converged(sequence: np.ndarray) -> None:
    """Half the points give the same evidence: the truth of the tests below is the truth."""
    assert nonlinear.log_evidence(sequence, 751) == pytest.approx(nonlinear.log_evidence(sequence), abs=1e-9)


def test_every_bound_is_on_the_right_side_of_the_evidence(sequence: np.ndarray) -> None:
    """The free energy clearly above it; those of many samples above it, and at it with 1,024."""
    filter, truth = nonlinear.build(), -nonlinear.log_evidence(sequence)
    energy = free_energies(filter, sequence)
    assert energy.mean() - 4.0 * error(energy) > truth
    kinds: tuple[Kind, Kind] = ("iw", "fivo")
    for kind in kinds:
        for count in (1, 4, 16):
            found = estimates(filter, sequence, kind, count)
            assert found.mean() > truth - 4.0 * error(found)
        found = estimates(filter, sequence, kind, 1024, repeats=32)
        assert abs(found.mean() - truth) < 0.01 * len(sequence)
    one = estimates(filter, sequence, "fivo", 1, repeats=4000)
    assert abs(one.mean() - energy.mean()) < 4.0 * (error(one) + error(energy))
    assert estimates(filter, sequence, "fivo", 4).mean() < energy.mean() - 4.0 * error(energy)


@pytest.mark.parametrize("model", ["nonlinear", "lgssm"])
def test_the_importance_weighted_bound_never_falls_with_more_samples(model: str) -> None:
    """On common noise the estimate of -log p goes down from 1 to 64 samples, within the error of the difference."""
    if model == "nonlinear":
        filter, xs = nonlinear.build(), nonlinear.simulate(10, 3)
    else:
        linear = random_model(2, 2)
        filter = Filter(linear, exact.Inference(exact.Config(covariance="diagonal"), linear))
        xs = simulate(linear, 10, 1)[:, 0].numpy()
    before = None
    for count in (1, 2, 4, 8, 16, 32, 64):
        found = estimates(filter, xs, "iw", count)
        if before is not None:
            assert (found - before).mean() < 2.0 * error(found - before)
        before = found


@pytest.mark.parametrize(("size", "latent"), [(1, 1), (2, 2)])
def test_the_particle_bound_reaches_pykalmans_evidence(size: int, latent: int) -> None:
    """Within 0.01 nats per step with 1,024 particles; the figures are the averages that they are named after."""
    model = random_model(size, latent)
    filter = Filter(model, exact.Inference(exact.Config(), model))
    xs = simulate(model, 30, 5).numpy()
    sequences = [xs[: 30 - 4 * row, row] for row in range(5)]
    found = bound(filter, sequences, particles=1024)
    truth = np.array([independent(model).loglikelihood(s) for s in sequences])
    lengths = np.array([len(s) for s in sequences])
    assert abs(found.pooled + truth.sum() / lengths.sum()) < 0.01
    assert np.abs((np.array(found.log_evidence) - truth) / lengths).max() < 0.015
    figures = np.array(found.log_evidence)
    assert found.pooled == pytest.approx(-figures.sum() / lengths.sum())
    assert found.sequence_mean == pytest.approx(-(figures / lengths).mean())
    assert found.sequence_mean_error == pytest.approx((figures / lengths).std(ddof=1) / 5**0.5)
    assert (found.steps, found.sequences, len(found.effective_by_step)) == (110, 5, 30)
    assert 1.0 < min(found.effective_by_step) <= found.effective <= 1024.0
    assert 0.0 < found.resampled < 1.0
    assert json.loads(json.dumps(found.as_dict()))["kind"] == "fivo"


def test_standard_errors_are_those_of_repeated_experiments() -> None:
    """Over new data sets and over new noise, the estimates spread as much as one of them says."""
    filter = nonlinear.build()
    sets = [[nonlinear.simulate(5 + 5 * (row % 2), 100 * s + row) for row in range(20)] for s in range(30)]
    found = [bound(filter, data, kind="iw", particles=4) for data in sets]
    spread = np.std([f.pooled for f in found], ddof=1)
    assert np.mean([f.standard_error for f in found]) == pytest.approx(spread, rel=0.4)
    again = [bound(filter, sets[0], particles=4, seed=1000 * k).pooled for k in range(30)]
    repeated = bound(filter, sets[0], particles=4, repeats=30)
    assert repeated.monte_carlo_error == pytest.approx(np.std(again, ddof=1) / 30**0.5, rel=0.45)
    assert bound(filter, sets[0][:1], particles=2).standard_error is None


def test_the_importance_weighted_bound_is_that_of_its_definition() -> None:
    """The log of the mean over rows of the product over time of w, each density by torch's own distributions."""
    filter, xs = nonlinear.build(), nonlinear.simulate(30, 5)
    found = bound(filter, [xs], kind="iw", particles=16)
    own = rows_of(filter.spread(torch.tensor([0]), particles=16))
    _, e = filter.scan(own, torch.as_tensor(xs)[:, None].expand(-1, 16, -1))

    def log_prob(of: object, value: torch.Tensor) -> torch.Tensor:
        assert isinstance(of, Gaussian)
        return torch.distributions.Normal(of.mean, of.log_variance.exp().sqrt()).log_prob(value)

    x = torch.as_tensor(xs)[:, None].expand(-1, 16, -1)
    weights = log_prob(e.likelihood, x) + log_prob(e.prior, e.z) - log_prob(e.posterior, e.z)
    assert found.log_evidence[0] == pytest.approx(np.log(np.mean(np.exp(weights.sum((0, 2)).numpy()))))
    assert found.resampled == 0.0
    assert found.effective_by_step[-1] < found.effective_by_step[0]


def test_chunks_lengths_and_masks() -> None:
    """Filtering fewer together changes nothing; a hidden step is one less, and hidden dimensions are not scored."""
    model = random_model(3, 2)
    filter = Filter(model, exact.Inference(exact.Config(), model))
    xs = simulate(model, 12, 3).numpy()
    sequences = [xs[:12, 0], xs[:3, 1], xs[:7, 2]]
    whole = bound(filter, sequences, particles=512)
    alone = bound(filter, sequences, particles=512, max_rows=1)
    np.testing.assert_allclose(whole.log_evidence, alone.log_evidence, rtol=1e-9)
    hidden = sequences[0].copy()
    hidden[4:6] = np.nan
    found = bound(filter, [hidden], particles=2048)
    reference = independent(model).loglikelihood(np.ma.masked_invalid(hidden))
    assert found.steps == 10
    assert abs(found.log_evidence[0] - reference) < 0.1


def test_one_particle_is_the_free_energy_of_evaluate() -> None:
    """Up to the KL, which is drawn here and exact there: no bias over many steps."""
    filter = make("srnn-gaussian")
    generator = np.random.default_rng(0)
    sequences = [generator.normal(size=(20, 6)).astype(np.float32) for _ in range(300)]
    one, energy = bound(filter, sequences, particles=1), evaluate(filter, sequences)
    assert one.effective == 1.0
    assert abs(one.pooled - energy.free_energy_pooled) < 0.03


def test_mistakes_are_typed_errors() -> None:
    """Of numbers, and of data with nothing to score."""
    filter = nonlinear.build()
    with pytest.raises(ConfigurationError, match="at least 1"):
        bound(filter, [np.zeros((2, 1))], particles=0)
    with pytest.raises(DataError, match="at least one"):
        bound(filter, [])
    with pytest.raises(DataError, match="with an observation"):
        bound(filter, [np.full((2, 1), np.nan)])
