"""What benchmarks.codecs counts, on signals whose entropy is known."""

import math

import numpy as np
import pytest

from avf_core.filtering import Filter
from avf_core.inference import kalman
from benchmarks import codecs
from tests.support.lgssm import random_model


def test_flac_needs_all_bits_of_white_noise() -> None:
    """Of uniform noise over all levels no codec saves anything: sixteen bits a sample, and little beside."""
    levels = np.random.default_rng(0).integers(-(2**15), 2**15, (400, 200))
    nats = codecs.flac([(levels * codecs.SIXTEEN_BITS).astype(np.float32)])[0] / 400
    assert 16.0 * math.log(2.0) * 200 <= nats < 1.01 * 16.0 * math.log(2.0) * 200


def test_linear_prediction_comes_near_the_entropy_of_an_autoregression() -> None:
    """A resonance driven by Gaussian noise of known deviation, rounded to levels."""
    generator, deviation = np.random.default_rng(1), 0.01
    noise = deviation * generator.standard_normal(60_000)
    x = np.zeros(60_000)
    for t in range(2, len(x)):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + noise[t]
    rounded = (np.round(x / codecs.SIXTEEN_BITS) * codecs.SIXTEEN_BITS).astype(np.float32).reshape(-1, 200)
    nats = codecs.linear_prediction([rounded[:150]], [rounded[150:]])[0] / len(rounded[150:])
    entropy = 200 * (0.5 * math.log(2.0 * math.pi * math.e) + math.log(deviation / codecs.SIXTEEN_BITS))
    assert entropy < nats < 1.01 * entropy


def test_persistence_comes_near_the_entropy_of_a_walk() -> None:
    """Pixels that move by Gaussian steps, rounded to levels; the noise's tails are fitted to be light."""
    generator, deviation = np.random.default_rng(2), 0.02
    walk = 0.5 + np.cumsum(deviation * generator.standard_normal((60, 64)), 0)
    clip = (np.round(walk * 255.0) / 255.0).astype(np.float32)
    nats = codecs.persistence([clip], [clip], (8, 8))[0] / len(clip)
    entropy = 64 * (0.5 * math.log(2.0 * math.pi * math.e) + math.log(deviation / codecs.EIGHT_BITS))
    assert nats == pytest.approx(entropy, rel=0.05)


def test_a_walk_is_copied_at_the_entropy_of_its_steps_and_independence_pays_for_its_spread() -> None:
    """Gaussian steps, rounded to levels; white noise is as well predicted by its mean alone."""
    generator, deviation, level = np.random.default_rng(4), 0.02, codecs.EIGHT_BITS

    def entropy(spread: float) -> float:
        return 16 * (0.5 * math.log(2.0 * math.pi * math.e) + math.log(spread / level))

    def rounded(values: np.ndarray) -> np.ndarray:
        return (np.round(values / level) * level).astype(np.float32)

    walk = rounded(np.cumsum(deviation * generator.standard_normal((4000, 16)), 0))
    noise = rounded(deviation * generator.standard_normal((4000, 16)))
    assert codecs.copied([walk], [walk], level=level)[0] / 4000 == pytest.approx(entropy(deviation), rel=0.08)
    for data in (walk, noise):
        spread = float(np.exp(np.log(data.std(0)).mean()))
        found = codecs.independent([data], [data], level=level)[0] / 4000
        assert found == pytest.approx(entropy(spread), rel=0.08)
    one = codecs.copied([walk.reshape(-1, 1)], [walk.reshape(-1, 1)], level=level, back=1)
    assert np.isfinite(one).all()


def test_predictions_of_white_noise_are_three_decibels_nearer_than_the_step_before() -> None:
    """The best one is the mean, whose error has half of the variance of a difference."""
    model = random_model(2, 2)
    model.dynamics.zero_()
    whole = Filter(model, kalman.Inference(kalman.Config(), model))
    noise = [np.random.default_rng(seed).standard_normal((500, 2)) for seed in range(2)]
    assert codecs.gain(whole, noise) == pytest.approx(10.0 * math.log10(2.0), abs=0.1)
