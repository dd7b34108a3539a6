"""Presets for sensors take their sizes, lags, inputs and clock from the data, and train on them."""

import dataclasses

import numpy as np
import pytest
import torch

from avf_core import autoregression, lags
from avf_core.configuration import build
from avf_core.data import Driven
from avf_core.training import em, presets
from avf_core.training.clips import batches_per_epoch, clip_batch
from avf_core.training.config import TrainingConfig
from avf_core.training.sizes import sized

SENSORS = ("sensor", "sensor-robust", "lgssm", "lgssm-direct", "regimes")


def table(time: int, channels: int, *, seed: int = 0) -> np.ndarray:
    """Channels that go on as they did, in units of their own."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(time, channels))
    for t in range(1, time):
        steps[t] += 0.9 * steps[t - 1]
    return (steps * 10.0 ** np.arange(channels)).astype(np.float32)


@pytest.mark.parametrize("name", SENSORS)
@pytest.mark.parametrize("channels", [1, 5])
def test_a_preset_of_sensors_fits_any_number_of_channels(name: str, channels: int) -> None:
    """Each builds a filter of the data's size that says something finite of it."""
    data = [table(400, channels)]
    preset = sized(presets.get(name), data)
    filter = build(presets.fit(preset.settings, data)).requires_grad_(False)
    filter.model.begin(data)
    xs = torch.as_tensor(data[0][:20])[:, None]
    _, found = filter.scan(filter.initial(torch.tensor([0])), xs)
    assert filter.model.observation.size == channels
    assert bool(found.free_energy.isfinite().all())


def test_what_was_said_stands() -> None:
    """Settings that are given are not chosen again; what is left is."""
    data = [table(300, 3)]
    preset = presets.override(presets.get("sensor"), {"model.hidden_size": 7, "model.emission": {"order": 2}})
    model = sized(preset, data).model
    assert (model["hidden_size"], model["emission"], model["observation_size"]) == (7, {"order": 2}, 3)
    assert sized(presets.get("paper-jsb"), data) == presets.get("paper-jsb")


def test_inputs_and_an_uneven_clock_are_told() -> None:
    """Inputs are decoded; time is told where steps are uneven, and not where a few are."""
    xs, generator = table(300, 2), np.random.default_rng(0)
    inputs = generator.normal(3.0, 2.0, size=(300, 1)).astype(np.float32)
    even, uneven = np.ones(300), generator.uniform(0.5, 2.0, 300)
    even[7] = 4.0
    told = sized(presets.get("sensor"), [Driven(xs, inputs=inputs, dt=uneven)]).model
    assert (told["input_size"], told["decode_inputs"], told["timed"]) == (1, True, True)
    assert told["input_center"][0] == pytest.approx(inputs.mean())
    assert "timed" not in sized(presets.get("sensor"), [Driven(xs, inputs=inputs, dt=even)]).model
    assert "timed" not in sized(presets.get("regimes"), [Driven(xs, dt=uneven)]).model


def test_lags_are_those_that_the_data_have() -> None:
    """No shorter ones than those of an autoregression of order 2, and a season far beyond them."""
    generator = np.random.default_rng(0)
    x = np.zeros((4000, 1))
    for t in range(2, 4000):
        x[t] = 0.3 * x[t - 1] + 0.5 * x[t - 2] + generator.normal()
    order, period, _ = lags.choose(lags.Part(sequences=[x]))
    assert 2 <= order <= 6
    assert period == 0
    season = 4.0 * np.sin(2 * np.pi * np.arange(4000) / 50)[:, None] ** 3 + 0.1 * generator.normal(size=(4000, 1))
    order, period, _ = lags.choose(lags.Part(sequences=[season]))
    assert period % 50 == 0 or order == 24
    assert autoregression.lags(2, 24) == (1, 2, 24, 25, 26)


def test_one_long_stream_fills_an_epoch_with_clips() -> None:
    """As many clips as its steps fill, whatever the number of sequences, from all of it."""
    config = TrainingConfig(draw="steps", clip_length=50, batch_size=8)
    stream = [np.arange(4000.0)[:, None]]
    assert batches_per_epoch(stream, config) == 10
    starts = np.concatenate([clip_batch(stream, config, 0, n).xs[0, :, 0].numpy() for n in range(10)])
    assert len(starts) == 80
    assert starts.min() < 400
    assert starts.max() > 3500


def test_gaps_in_one_pass_cost_what_they_cost_one_by_one() -> None:
    """The M-step of direct inference on a clip with gaps has the free energy of the filter, which fills them."""
    data = [table(300, 3)]
    preset = sized(presets.get("sensor"), data)
    filter = build(presets.fit(preset.settings, data))
    filter.model.begin(data)
    holes = data[0].copy()
    holes[np.random.default_rng(1).random(holes.shape) < 0.2] = np.nan
    holes[:, 0] = data[0][:, 0]
    config = dataclasses.replace(preset.training, batch_size=4, clip_length=30)
    clip = clip_batch([holes], config, 0, 0)
    _, totals = em.joint_free_energy(filter, clip, kl_weight=1.0)
    with torch.no_grad():
        _, found = filter.scan(filter.initial(clip.seeds), clip.xs, observed=clip.observed)
    torch.testing.assert_close(totals.free_energy, found.free_energy.sum(), rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(totals.kl, found.kl.sum(), rtol=1e-4, atol=1e-2)


def test_lags_and_ridge_are_chosen_by_validation_data() -> None:
    """What few data with many channels say of lags is held back, and they are judged by what is held out."""
    generator = np.random.default_rng(0)
    x = np.zeros((500, 6))
    for t in range(1, 500):
        x[t] = 0.2 * x[t - 1] + generator.normal(size=6)
    chosen = lags.choose(lags.Part(sequences=[x[:100]]), lags.Part(sequences=[x[100:]]))
    assert chosen.order == 1
    assert chosen.ridge > 0.0
