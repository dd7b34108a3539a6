"""Whether forecasts lose to a vector autoregression's: paired, and beyond noise."""

import numpy as np
import pytest

from avf_core import build
from avf_core.analysis.rivals import Rival, behind
from avf_core.training import choosing, presets
from avf_core.training.sizes import sized
from avf_core.training.stretches import stretches


def series(seed: int, time: int = 1200) -> np.ndarray:
    """Two sensors that swing, with noise."""
    generator, x = np.random.default_rng(seed), np.zeros((time, 2))
    for t in range(2, time):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + generator.normal(size=2)
    return x.astype(np.float32)


def test_errors_that_are_larger_by_chance_are_not_told() -> None:
    """Of two that err alike nothing is said; of one that errs by a tenth more, that."""
    generator = np.random.default_rng(0)
    shared = generator.chisquare(1, size=(400, 3))
    apart = 1.0 + 0.1 * generator.normal(size=(400, 3))
    assert behind(list(shared * apart), list(shared)) == 0.0
    assert behind(list(1.21 * shared * apart), list(shared)) == pytest.approx(0.1, abs=0.02)
    assert behind(list(shared), list(1.21 * shared * apart)) == 0.0
    assert behind(list(1.002 * shared), list(shared)) == 0.0
    assert behind(list(1.21 * shared[:10]), list(shared[:10])) == 0.0


def test_a_model_that_does_not_hear_the_past_loses() -> None:
    """One that has begun as the least squares of the data does not."""
    train, valid = [series(0)], [series(1, 600)]
    rival = Rival.of(train, valid)
    assert rival is not None
    preset = sized(presets.get("sensor"), train, valid)
    deaf = build(presets.fit(preset.settings, train)).requires_grad_(False)
    heard = build(presets.fit(preset.settings, train)).requires_grad_(False)
    heard.model.begin(train)
    assert rival.ahead_of(deaf, valid, horizons=(1, 2))[1] > 0.5
    assert rival.ahead_of(heard, valid, horizons=(1, 2)) == {}


def test_what_forecasts_worse_is_not_picked() -> None:
    """Whatever its nats; where all do, nats decide. Who does not lose is the last one that is looked at."""
    cases: list[tuple[dict[str, dict[int, float]], str]] = [
        ({"a": {}}, "a"),
        ({"a": {24: 0.1}, "b": {}}, "b"),
        ({"a": {1: 0.1}, "b": {6: 0.2}, "c": {1: 0.1}}, "a"),
    ]
    for losses, best in cases:
        assert choosing.picked(["a", "b", "c"], losses.__getitem__) == (best, losses)


def test_long_sequences_are_validated_in_stretches() -> None:
    """All steps are there once, in order, and no stretch is short."""
    x = np.arange(10_000.0)[:, None]
    cut = stretches([x, x[:900], x[:2500]])
    assert [len(each) for each in cut] == [1250] * 8 + [900] + [1250] * 2
    np.testing.assert_array_equal(np.concatenate(cut[:8]), x)
