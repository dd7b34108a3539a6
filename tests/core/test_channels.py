"""Which sensor is wrong: by hand for runs, against uniformity for what is normal, and by name for what is not."""

import numpy as np
import pytest
import torch

from avf_core.analysis import channels
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.inference import kalman
from avf_core.models import lgssm


def stream(time: int, seed: int) -> np.ndarray:
    """Three channels that fall back to 0, the last one in whole numbers."""
    generator, x = np.random.default_rng(seed), np.zeros((time, 3))
    for t in range(1, time):
        x[t] = 0.5 * x[t - 1] + generator.normal(size=3) * 0.75**0.5
    x[:, 2] = np.round(x[:, 2])
    return x


def kalman_filter() -> Filter:
    """The filter of what made them."""
    one, eye = torch.ones(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    model = lgssm.Model.from_matrices(
        dynamics=0.5 * eye,
        emission=eye,
        initial_mean=0.0 * one,
        initial_variance=one,
        process_variance=0.75 * one,
        noise_variance=torch.tensor([1e-6, 1e-6, 0.1], dtype=torch.float64),
    )
    return Filter(model, kalman.Inference(kalman.Config(), model)).requires_grad_(False)


def test_runs_are_counted_over_gaps() -> None:
    """By hand; another number ends a run, a missing one does not."""
    x = np.array([[1.0, 0.0], [1.0, np.nan], [np.nan, 0.0], [1.0, 2.0]])
    np.testing.assert_array_equal(channels.runs_of(x), [[0, 0], [1, 0], [1, 1], [2, 0]])


def test_normal_windows_are_rarely_strange_and_a_stuck_sensor_is_named() -> None:
    """A p-value of 0.05 or less comes in a small part of windows; a sensor that is stuck has the smallest, though whole
    numbers repeat themselves; and so has one of noise."""
    filter = kalman_filter()
    normal = channels.Normal.of(filter, [stream(4000, 0)], [stream(3000, 1)], window=12)
    pieces = [stream(40, seed) for seed in range(100, 220)]
    said = [normal.p_value(e, x) for e, x in zip(channels.channel_energies(filter, pieces), pieces, strict=True)]
    assert np.mean(np.array(said) <= 0.05) <= 0.1
    for channel, place in ((0, 2), (2, 2), (1, 0)):
        x = stream(40, 7)
        x[28:, channel] = (
            x[27, channel] if place == 2 else x[28:, channel] + 4.0 * np.random.default_rng(0).normal(size=12)
        )
        (energies,) = channels.channel_energies(filter, [x])
        found = normal.p_values(energies, x)
        assert found.argmin() == 3 * channel + place
        assert normal.p_value(energies, x) < 0.01


def test_what_is_soon_over_is_in_the_strangest_quarter() -> None:
    """In a window of 24 of which two steps are strange; by hand, the quarter's mean is of the six highest, and the mean
    over the whole window, with what is missing left out, the plain one."""
    filter = kalman_filter()
    normal = channels.Normal.of(filter, [stream(4000, 0)], [stream(3000, 1)])
    x = stream(72, 5)
    x[60, 1] += 4.0
    (energies,) = channels.channel_energies(filter, [x])
    window = energies[-24:].copy()
    found = normal.p_values(energies, x)
    assert found[1, 1] < 0.01 < found[0].min()
    window[3, 0] = np.nan
    known = np.sort(window[~np.isnan(window[:, 0]), 0])
    assert channels._strangest(window, 24, 0.25)[0, 0] == pytest.approx(known[-6:].mean())
    assert channels._strangest(window, 24, 1.0)[0, 0] == pytest.approx(known.mean())


def test_too_little_data_is_refused() -> None:
    """No window, no reference."""
    with pytest.raises(DataError, match="no sequence has 24 steps"):
        channels.Normal.of(kalman_filter(), [stream(10, 0)], [stream(10, 1)])
