"""A filter beside textbook predictors: one that is a textbook predictor itself has its figures, and losses are told."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from avf_core import autoregression
from avf_core.analysis import verdict
from avf_core.analysis.baselines import Scale, root_mean
from avf_core.configuration import build
from avf_core.data import Driven
from avf_core.filtering import Filter
from avf_core.inference import kalman
from avf_core.models import lgssm
from avf_core.training import presets
from avf_core.training.sizes import sized

STEP = 0.3


def walk(time: int, seed: int) -> np.ndarray:
    """Two random walks."""
    return STEP * np.random.default_rng(seed).normal(size=(time, 2)).cumsum(0)


def falling(time: int, seed: int) -> np.ndarray:
    """Two levels that fall back to 0, in float32."""
    generator, x = np.random.default_rng(seed), np.zeros((time, 2))
    for t in range(1, time):
        x[t] = 0.8 * x[t - 1] + generator.normal(size=2)
    return x.astype(np.float32)


def linear(dynamics: float, process: float, noise: float) -> Filter:
    """The Kalman filter of two levels that go on, or fall back to 0."""
    one = torch.ones(2, dtype=torch.float64)
    model = lgssm.Model.from_matrices(
        dynamics=dynamics * torch.eye(2, dtype=torch.float64),
        emission=torch.eye(2, dtype=torch.float64),
        initial_mean=0.0 * one,
        initial_variance=one,
        process_variance=process * one,
        noise_variance=noise * one,
    )
    return Filter(model, kalman.Inference(kalman.Config(), model)).requires_grad_(False)


def test_the_filter_of_a_random_walk_has_the_figures_of_persistence() -> None:
    """Nats and errors at every horizon, by way of the filter and of the baseline, which knows nothing of it."""
    train, valid, test = ([walk(time, seed)] for seed, time in enumerate((4000, 500, 600)))
    found = verdict.judge(linear(1.0, STEP**2, 1e-8), train, valid, test, horizons=(1, 5), starts=40, paths=200)
    (persistence,) = (score for score in found.comparison.scores if score.name == "persistence")
    np.testing.assert_allclose(found.nats, persistence.nats, atol=0.02)
    for horizon in (1, 5):
        np.testing.assert_allclose(found.errors[horizon], persistence.errors[horizon], rtol=0.06)
    assert abs(found.coverage[0.9] - 0.9) < 0.04
    assert found.energies.mean() == pytest.approx(found.nats)
    own = {score.name: score.energies for score in found.comparison.scores}
    np.testing.assert_allclose(found.energies[50:], own["persistence"][50:], atol=0.02, rtol=0.03)  # step by step


@pytest.mark.parametrize(("apart", "proven"), [(0.0, False), (0.2, True)])
def test_a_verdict_says_whether_it_may_be_chance(apart: float, proven: bool) -> None:
    """By its nats: a rival that is apart by noise alone is neither beaten nor better, whatever the figures say."""
    train, valid, test = ([walk(time, seed)] for seed, time in enumerate((4000, 500, 600)))
    found = verdict.judge(linear(1.0, STEP**2, 1e-8), train, valid, test, horizons=(1,), starts=100, paths=50)

    def beside(nats: float) -> verdict.Verdict:
        """A rival whose nats are so many more, and whose forecasts are the filter's own."""
        energies = found.energies + noise(600) + nats
        alike = {"errors": found.errors, "squares": found.squares}
        rival = dataclasses.replace(found.comparison.scores[0], nats=found.nats + nats, energies=energies, **alike)
        return dataclasses.replace(found, comparison=dataclasses.replace(found.comparison, scores=(rival,)))

    ahead, behind = beside(0.001 + apart), beside(-0.001 - apart)
    assert ahead.test.proven == behind.test.proven == proven
    assert ahead.lost == []
    assert ahead.sentence.startswith("better than every baseline: 0." if proven else "0.001 ± 0.0")
    assert ("unproven: p = " in ahead.sentence) == (not proven)
    assert ahead.as_dict()["test"] == ahead.test.as_dict()
    assert len(behind.lost) == 1
    assert behind.sentence.startswith("beaten by a baseline: " if proven else "behind by figures that may be chance: ")


def noise(steps: int) -> np.ndarray:
    """Of deviation 0.3, and of mean 0 to the last digit."""
    found = np.random.default_rng(9).normal(scale=0.3, size=steps)
    centred: np.ndarray = found - found.mean()
    return centred


def test_a_filter_that_loses_is_told_so() -> None:
    """By what it is beaten, in what, and by how much."""
    train, valid, test = ([walk(time, seed)] for seed, time in enumerate((2000, 300, 300)))
    found = verdict.judge(linear(0.0, 1.0, 1.0), train, valid, test, horizons=(1, 500), starts=20, paths=20)
    assert found.gain < 0.0
    nats, forecasts = found.lost
    assert "nats per step" in nats.text
    assert nats.test.proven
    assert "1 step ahead" in forecasts.text
    assert not forecasts.test.proven  # twenty forecasts are too few to test
    assert found.sentence.startswith("beaten by a baseline: persistence is better by ")
    assert "; and behind by figures that may be chance: persistence forecasts 1 step ahead" in found.sentence
    assert found.sentence.endswith("deviations (unproven: too few steps to test)")
    assert list(found.errors) == [1]  # no sequence is as long as the other horizon


def test_forecasts_are_under_the_inputs_that_came() -> None:
    """A level that is its input is forecast without error, whichever steps of whichever sequence it starts from."""
    one, generator = torch.ones(1, dtype=torch.float64), np.random.default_rng(0)
    model = lgssm.Model.from_matrices(
        dynamics=torch.zeros(1, 1, dtype=torch.float64),
        emission=torch.ones(1, 1, dtype=torch.float64),
        initial_mean=0.0 * one,
        initial_variance=1e-8 * one,
        process_variance=1e-8 * one,
        noise_variance=1e-8 * one,
        control=torch.ones(1, 1, dtype=torch.float64),
    )
    filter = Filter(model, kalman.Inference(kalman.Config(), model)).requires_grad_(False)
    sequences = []
    for time in (30, 50):
        inputs = generator.normal(size=(time, 1))
        sequences.append(Driven(np.concatenate([np.zeros((1, 1)), inputs[1:]]), inputs=inputs))
    scale = Scale(mean=np.zeros(1), deviation=np.ones(1))
    starts = [(0, 3), (1, 1), (1, 40)]
    found = root_mean(verdict.forecast_squares(filter, sequences, starts, horizons=(1, 4), scale=scale, paths=10))
    assert max(found.values()) < 1e-3


def autoregressive(train: list[np.ndarray]) -> Filter:
    """A filter of sensors as it begins: the least squares of one lag."""
    preset = presets.override(presets.get("sensor"), {"model.emission": {"order": 1, "held": True}})
    filter = build(presets.fit(sized(preset, train).settings, train)).requires_grad_(False)
    filter.model.begin(train)
    return filter


def test_forecasts_of_an_autoregression_are_of_its_means() -> None:
    """Paths that hear means have no noise, which validation finds: errors are those of powers of the least squares.

    Where validation has gaps, particles may be chosen, too; where it is too short to say, samples are fed back.
    """
    train, (valid,), (test,) = ([falling(time, seed)] for seed, time in enumerate((2000, 80, 60)))
    filter, scale = autoregressive(train), Scale.of(train)
    asked: dict[str, Any] = {"horizons": (1, 3), "scale": scale, "paths": 3}
    manner = verdict.chosen_manner(filter, [valid], starts=20, **asked)
    assert manner == verdict.Manner(feedback="mean")
    starts = [(0, t) for t in range(10, 57, 4)]
    found = root_mean(verdict.forecast_squares(filter, [test], starts, manner=manner, **asked))
    fitted = autoregression.vector_autoregression(scale.standardize(train), [1])
    (x,) = scale.standardize([test])
    errors: dict[int, list[np.ndarray]] = {1: [], 3: []}
    for _, t in starts:
        mean = x[t - 1]
        for ahead in (1, 2, 3):
            mean = fitted.offset + fitted.weights @ mean
            if ahead in errors:
                errors[ahead].append((x[t + ahead - 1] - mean) ** 2)
    for horizon, squares in errors.items():
        np.testing.assert_allclose(found[horizon], np.sqrt(np.mean(squares)), rtol=1e-3)
    valid[5:70:9] = np.nan
    assert verdict.chosen_manner(filter, [valid], starts=10, **asked).feedback == "mean"
    assert verdict.chosen_manner(filter, [valid[:1]], starts=10, **asked) == verdict.Manner()
