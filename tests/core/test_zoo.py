"""The shipped checkpoints: they load, fit, and reach on real data what their cards say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from avf_core import checkpoints
from avf_core.commands import evaluate
from avf_core.data import Source
from avf_core.inference import iterative
from avf_core.reproduction import sensor_sets
from avf_core.training.model_card import said

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

DATA = {
    "actions": "video/weizmann64/weizmann64_gray_train_valid.npz",
    "chorales": "music/jsb_chorales.npz",
    "ecg": "ecg",
    "nottingham": "music/nottingham.npz",
    "muse": "music/musedata.npz",
    "piano": "music/piano_midi.npz",
    "speech": "speech/crowd16k",
    "speech-avf": "speech/crowd16k",
    "srnn-jsb": "music/jsb_chorales.npz",
    "srnn-jsb-direct": "music/jsb_chorales.npz",
    "srnn-muse": "music/musedata.npz",
    "srnn-nottingham": "music/nottingham.npz",
    "srnn-piano": "music/piano_midi.npz",
    "srnn-speech-small": "speech/crowd16k",
    "svg-actions-small": "video/weizmann64/weizmann64_gray_train_valid.npz",
    "vrnn-speech-small": "speech/crowd16k",
    "weather": "weather",
}
"""Below the folder of all data; of sensors, the name of the set that their file is made of."""
BARS = {
    "chorales": 5.5,
    "ecg": -20.9,
    "nottingham": 2.25,
    "muse": 5.5,
    "piano": 6.95,
    "srnn-jsb": 6.7,
    "srnn-muse": 5.95,
    "srnn-nottingham": 3.05,
    "srnn-piano": 8.0,
    "weather": 9.76,  # -3.3 where numbers are in deviations of the training data
}
"""Nats per step on the test split, pooled, that are not exceeded."""
TOLERANCE = 0.02  # nats between machines and releases that round differently; of large energies, a share
SHARE = 2e-4
SLOW = ("speech-avf", "srnn-piano", "srnn-speech-small")  # of each kind, another is looked at every time
CUTS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("cuts.json").read_text())


def card_of(name: str) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((checkpoints.ZOO / name / "card.json").read_text())
    return card


def test_the_zoo_is_what_it_should_be() -> None:
    """Every checkpoint has a card in both forms; none is large, nor are all of them."""
    assert checkpoints.available() == sorted(DATA)
    sizes = []
    for name in DATA:
        folder, card = checkpoints.ZOO / name, card_of(name)
        text = (folder / "MODEL_CARD.md").read_text()
        assert said(card["test"], "free_energy_pooled", "standard_error") in text
        assert card["command"] in text
        sizes.append((folder / "weights.safetensors").stat().st_size)
    assert max(sizes) < 12_000_000
    assert sum(sizes) < 60_000_000


@pytest.mark.parametrize("steps", [30, pytest.param(300, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", DATA)
def test_online_filtering_never_meets_nan(name: str, steps: int) -> None:
    """Frames of noise, far from what it knows, give finite energies."""
    filter = checkpoints.load(name).filter
    size = filter.model.observation.size
    noise = torch.rand(steps if size < 1000 else steps // 10, 4, size, generator=torch.Generator().manual_seed(0))
    xs = (noise > 0.5).float() if filter.model.observation.high == 1.0 else 2.0 * noise - 1.0
    with torch.no_grad():
        _, e = filter.scan(filter.initial(torch.arange(4)), xs)
    assert bool(e.free_energy.isfinite().all())


def data_of(name: str, data_dir: Path, folder: Path) -> Path:
    """The data of a checkpoint; the file of sensors is made in `folder`."""
    if name not in sensor_sets.SETS:
        return data_dir / DATA[name]
    missing = sensor_sets.absent(DATA[name], data_dir)
    if missing is not None:
        pytest.skip(missing)
    return sensor_sets.prepare(DATA[name], root=data_dir, folder=folder)


def evaluated(name: str, path: Path, *options: str) -> dict[str, Any]:
    """What `avf evaluate` prints of a checkpoint on the split that its card reports."""
    source = Source(path=path).like(card_of(name)["data"])
    of = ["--model", name, "--data", str(source.path), "--split", source.describe().reported]
    done = CliRunner().invoke(evaluate.command, [*of, *options, "--json"], catch_exceptions=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_same(found: dict[str, Any], said: dict[str, Any]) -> None:
    close = max(TOLERANCE, SHARE * abs(said["free_energy_pooled"]))  # also of KL, which is a part of it
    for key in ("free_energy_pooled", "free_energy_sequence_mean", "free_energy_without_first_frame", "kl"):
        assert found[key] == pytest.approx(said[key], abs=close)
    assert (found["steps"], found["sequences"]) == (said["steps"], said["sequences"])


@pytest.mark.timeout(900)  # MuseData has 64,339 frames: minutes, on a busy machine
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long if name in CUTS else ()) for name in DATA])
def test_a_card_says_what_evaluate_finds(name: str, data_dir: Path, tmp_path: Path) -> None:
    """All averages, on every frame of the split that it reports."""
    assert_same(evaluated(name, data_of(name, data_dir, tmp_path)), card_of(name)["test"])


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) if n in SLOW else n for n in CUTS])
def test_the_first_sequences_of_a_large_set_have_their_energies(name: str, data_dir: Path) -> None:
    """Those of the card's averages, seeds and all: what `avf evaluate --sequences N --json` said is in cuts.json."""
    said = CUTS[name]
    assert said["digest"] == checkpoints.load(name).digest, f"{name} has other weights than when cuts.json was made"
    assert_same(evaluated(name, data_dir / DATA[name], "--sequences", str(said["sequences"])), said)


@pytest.mark.parametrize("name", BARS)
def test_figures_are_below_their_bars(name: str) -> None:
    """The figures that people will compare, as cards say them."""
    card = card_of(name)
    assert card["splits"][1] == "test"
    assert card["test"]["free_energy_pooled"] <= BARS[name]


@pytest.mark.parametrize("name", ["ecg", "weather"])
def test_sensors_are_ahead_of_a_vector_autoregression(name: str) -> None:
    """In nats, and in forecasts at every horizon."""
    verdict = card_of(name)["verdict"]
    (rival,) = (row for name, row in verdict["baselines"]["rows"].items() if name.startswith("VAR"))
    assert verdict["nats"] < rival["nats"]
    assert all(error <= rival["errors"][horizon] for horizon, error in verdict["errors"].items())


def test_speech_is_ahead_of_a_codec_with_a_latent_that_is_used() -> None:
    """FLAC at its highest level needs 1,106 nats a frame of the same split (`python -m benchmarks.codecs`)."""
    figures = card_of("speech")["test"]
    assert figures["free_energy_pooled"] <= 1050.0
    assert figures["kl"] >= 5.0


def test_video_is_ahead_of_the_last_frame() -> None:
    """With noise of Student's t by local motion that needs 8,524 nats a frame (`python -m benchmarks.codecs`)."""
    assert card_of("actions")["test"]["free_energy_pooled"] <= 7500.0


def test_avf_is_ahead_of_its_baseline() -> None:
    """Trained with five iterations, against direct inference with the same model and no more updates."""
    avf, direct = (checkpoints.load(name) for name in ("srnn-jsb", "srnn-jsb-direct"))
    assert isinstance(avf.filter.inference, iterative.Inference)
    assert avf.settings["inference"]["iterations"] == 5
    assert avf.settings["model"] == direct.settings["model"]
    assert avf.card["budget"] <= direct.card["budget"]  # updates, those of the start included
    assert avf.card["test"]["free_energy_pooled"] < direct.card["test"]["free_energy_pooled"]
