"""The examples of events: what they make, and what the zoo's filters tell of it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scenes(monkeypatch_module: pytest.MonkeyPatch) -> ModuleType:
    """What both examples make their sounds and pictures of."""
    monkeypatch_module.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("_scenes")


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    """For the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def printed(name: str, *arguments: str) -> dict[str, Any]:
    """What an example says with `--json`."""
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name), "--json", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_events_are_where_they_are_said_to_be(scenes: ModuleType) -> None:
    """Outside of its frames an event leaves the sound as it was; what is added is as loud as asked."""
    sound = scenes.levels(scenes.voice(2.0, 1))
    assert np.abs(sound).max() < 1.0
    for event in (*scenes.ADDED, *scenes.CHANGED):
        heard, here = scenes.disturbed(sound, event, first=8000, last=16000, decibels=-6.0)
        assert here.any()
        assert not here[:8000].any()
        assert not here[16000:].any()
        np.testing.assert_array_equal(heard[:8000], sound[:8000])
        np.testing.assert_array_equal(heard[16000:], sound[16000:])
    heard, _ = scenes.disturbed(sound, "beep", first=8000, last=16000, decibels=-6.0)
    added = (heard - sound)[8000:16000]
    assert 20 * np.log10(np.std(added) / np.sqrt(np.mean(sound**2))) == pytest.approx(-6.0, abs=0.1)
    pictures = scenes.moving(10, 0)
    for happen in (scenes.intruded, scenes.stopped):
        changed = (happen(pictures, 4, 7) != pictures).any((1, 2))
        np.testing.assert_array_equal(changed, (np.arange(10) >= 4) & (np.arange(10) < 7))


def test_the_area_is_that_of_another_library(scenes: ModuleType) -> None:
    """With ties."""
    random = np.random.default_rng(0)
    scores, here = random.integers(0, 5, 200).astype(float), random.random(200) > 0.7
    u = stats.mannwhitneyu(scores[here], scores[~here]).statistic
    assert scenes.auroc(scores, here) == pytest.approx(u / here.sum() / (~here).sum())


@pytest.mark.slow
def test_sound_that_is_no_voice_is_told_ahead_of_energies() -> None:
    """On a voice made on the spot: what noise, tones, clicks, coarse levels and losses make; and a packet's place."""
    found = printed("sound_events.py", "--count", "4")
    rows = {(row["event"], row["dB"]): row for row in found["anomalies"]}
    told = ("slam", 0.0), ("slam", -12.0), ("white noise", -12.0), ("clicks", 0.0), ("clicks", -12.0)
    for event in (*told, ("beep", -12.0), ("bit crush", 0.0)):
        row = rows[event]
        assert row["surprise"] > max(0.9, row["energy"], row["high-passed energy"])
        assert row["alarms"] > 0.5
    assert rows["beep", 0.0]["surprise"] > 0.95  # so loud, and so high, it is all of the high-passed energy
    assert rows["lost audio", 0.0]["surprise"] > 0.9
    for decibels in (0.0, -12.0):
        siren = rows["siren", decibels]
        assert siren["surprise"] > max(0.93, siren["energy"], siren["high-passed energy"])
    assert rows["nothing", 0.0]["alarms"] < 0.1
    assert found["voice"]["posterior mean"] > 0.9
    lost = found["lost packets"]
    assert max(lost, key=lambda name: lost[name]) == "the prediction"


@pytest.mark.slow
def test_an_intruder_and_a_stopped_scene_are_told() -> None:
    """On a scene made on the spot, beside its own usual scores."""
    rows = {row["event"]: row for row in printed("video_events.py")["events"]}
    intruder = rows["intruder"]
    assert intruder["patches"] > max(intruder["surprise"], intruder["motion"], intruder["background"])
    assert rows["stopped scene"]["patches"] > 0.95
    assert rows["nothing"]["alarms"] < 0.03
