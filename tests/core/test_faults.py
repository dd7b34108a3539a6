"""Faults that are put into data are what their names say, and a filter that knows the data tells them."""

import numpy as np
import pytest
import torch

from avf_core.analysis import faults
from avf_core.analysis.baselines import Scale
from avf_core.data import Driven
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.inference import kalman
from avf_core.models import lgssm

SCALE = Scale(mean=np.array([1.0, -5.0]), deviation=np.array([2.0, 0.5]))


def stream(time: int, seed: int) -> np.ndarray:
    """Two noisy channels that fall back to their middle."""
    generator, x = np.random.default_rng(seed), np.zeros((time, 2))
    for t in range(1, time):
        x[t] = 0.5 * x[t - 1] + generator.normal(size=2) * 0.75**0.5
    return SCALE.mean + SCALE.deviation * x


@pytest.mark.parametrize("kind", faults.KINDS)
def test_a_fault_begins_where_it_should(kind: str) -> None:
    """What was before it stays, and after it the numbers are those that its name says."""
    x = stream(30, 0)
    broken = faults.injected(x, kind, start=10, scale=SCALE, generator=np.random.default_rng(1))
    np.testing.assert_allclose(broken[:10], x[:10], rtol=1e-6)
    apart = (broken - x)[10:] / SCALE.deviation
    touched = np.abs(apart).max(0) > 1e-5
    assert touched.sum() == (2 if kind == "swap" else 1)
    change = apart[:, touched][:, 0]
    if kind == "jump":
        np.testing.assert_allclose(change, 1.0, atol=1e-5)
    elif kind == "drift":
        np.testing.assert_allclose(change, np.linspace(0.0, 2.0, 20), atol=1e-5)
    elif kind == "stuck":
        np.testing.assert_allclose(broken[10:, touched][:, 0], x[9, touched][0], rtol=1e-6)
    elif kind == "swap":
        standard = SCALE.standardize([x, broken])
        np.testing.assert_allclose(standard[1][10:], standard[0][10:, ::-1], atol=1e-5)
    else:
        assert 0.5 < change.std() < 1.6


def test_the_area_is_the_part_of_pairs_in_order() -> None:
    """By hand: of six pairs four are in order, and one is a tie."""
    assert faults.auroc(np.array([3.0, 1.0]), np.array([0.0, 1.0, 2.0])) == pytest.approx((3 + 1.5) / 6)


def test_the_filter_that_made_the_data_tells_all_faults() -> None:
    """A noise burst by what is too strange, and a sensor that is stuck by what is too usual, which the innovation test
    of one side takes for better than well."""
    one = torch.ones(2, dtype=torch.float64)
    scale = torch.as_tensor(SCALE.deviation)
    model = lgssm.Model.from_matrices(
        dynamics=0.5 * torch.eye(2, dtype=torch.float64),
        emission=torch.diag(scale),
        initial_mean=0.0 * one,
        initial_variance=one,
        process_variance=0.75 * one,
        noise_variance=1e-6 * one,
        level=torch.as_tensor(SCALE.mean),
    )
    filter = Filter(model, kalman.Inference(kalman.Config(), model)).requires_grad_(False)
    train, valid, test = ([stream(time, seed)] for seed, time in enumerate((3000, 1500, 1500)))
    found = faults.found(filter, train, valid, test, past=20, episodes=30)
    assert found.filter["burst"] > 0.8
    assert found.filter["stuck"] > 0.7 > found.innovations["stuck"]
    with pytest.raises(DataError, match="no sequence of the split has 44 steps"):
        faults.found(filter, train, valid, [stream(40, 3)], past=20)


def test_a_fault_leaves_what_drives_a_sequence() -> None:
    """Inputs and dt of a piece are those that came: a filter that hears the calendar hears it in a fault, too."""
    generator, x = np.random.default_rng(0), np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    driven = Driven(x, inputs=np.arange(20.0)[:, None], dt=np.ones(20))
    broken = faults.injected(driven, "jump", start=10, scale=Scale.of([x]), generator=generator)
    assert isinstance(broken, Driven)
    np.testing.assert_array_equal(broken.inputs, driven.inputs)
    np.testing.assert_array_equal(broken.dt, driven.dt)
    np.testing.assert_allclose(np.asarray(broken)[:10], x[:10], atol=1e-6)
