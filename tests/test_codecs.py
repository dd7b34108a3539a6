"""What benchmarks.codecs counts, on signals whose entropy is known."""

import math

import numpy as np
import pytest

from benchmarks import codecs


def test_flac_needs_all_bits_of_white_noise() -> None:
    """Of uniform noise over all levels no codec saves anything: sixteen bits a sample, and little beside."""
    levels = np.random.default_rng(0).integers(-(2**15), 2**15, (400, 200))
    nats = codecs.flac([(levels * codecs.SIXTEEN_BITS).astype(np.float32)])
    assert 16.0 * math.log(2.0) * 200 <= nats < 1.01 * 16.0 * math.log(2.0) * 200


def test_linear_prediction_comes_near_the_entropy_of_an_autoregression() -> None:
    """A resonance driven by Gaussian noise of known deviation, rounded to levels."""
    generator, deviation = np.random.default_rng(1), 0.01
    noise = deviation * generator.standard_normal(60_000)
    x = np.zeros(60_000)
    for t in range(2, len(x)):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + noise[t]
    rounded = (np.round(x / codecs.SIXTEEN_BITS) * codecs.SIXTEEN_BITS).astype(np.float32).reshape(-1, 200)
    nats = codecs.linear_prediction([rounded[:150]], [rounded[150:]])
    entropy = 200 * (0.5 * math.log(2.0 * math.pi * math.e) + math.log(deviation / codecs.SIXTEEN_BITS))
    assert entropy < nats < 1.01 * entropy


def test_persistence_comes_near_the_entropy_of_a_walk() -> None:
    """Pixels that move by Gaussian steps, rounded to levels; the noise's tails are fitted to be light."""
    generator, deviation = np.random.default_rng(2), 0.02
    walk = 0.5 + np.cumsum(deviation * generator.standard_normal((60, 64)), 0)
    clip = (np.round(walk * 255.0) / 255.0).astype(np.float32)
    nats = codecs.persistence([clip], [clip], (8, 8))
    entropy = 64 * (0.5 * math.log(2.0 * math.pi * math.e) + math.log(deviation / codecs.EIGHT_BITS))
    assert nats == pytest.approx(entropy, rel=0.05)
