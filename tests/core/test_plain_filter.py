"""The library against a second implementation, in numpy, that shares no code with it: on every dense checkpoint."""

from typing import Any

import numpy as np
import pytest

from avf_core import checkpoints
from avf_core.analysis.evaluation import evaluate, sequence_sums
from avf_core.data import Source
from avf_core.filtering import Filter
from avf_core.native import running
from tests.oracles.plain_filter import PlainFilter
from tests.oracles.plain_keys import PlainKeys
from tests.oracles.plain_sensors import PlainSensors

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

DATA = {
    "chorales": "music/jsb_chorales.npz",
    "muse": "music/musedata.npz",
    "nottingham": "music/nottingham.npz",
    "piano": "music/piano_midi.npz",
    "srnn-jsb": "music/jsb_chorales.npz",
    "srnn-jsb-direct": "music/jsb_chorales.npz",
    "srnn-muse": "music/musedata.npz",
    "srnn-nottingham": "music/nottingham.npz",
    "srnn-piano": "music/piano_midi.npz",
    "srnn-speech-small": "speech/crowd16k",
    "vrnn-speech-small": "speech/crowd16k",
}
SENSORS = ("ecg", "weather")
APART = {
    "actions": "convolutions",
    "speech": "linear prediction",
    "speech-avf": "linear prediction",
    "svg-actions-small": "convolutions",
}
NAMES = (*DATA, *SENSORS)
SEQUENCES, STEPS = 3, 16
CHOICES: tuple[running.Choice, ...] = ("off", "float32")
DENSE = ("srnn", "vrnn")
EMISSIONS: dict[str, type[PlainFilter]] = {"autoregressive": PlainKeys, "vector-autoregressive": PlainSensors}


def test_every_checkpoint_is_compared_or_said_to_be_left_out() -> None:
    """Left out are those whose networks the second implementation does not have, by name; none of them is dense."""
    kinds = {name: checkpoints.load(name).settings["model"]["kind"] for name in checkpoints.available()}
    assert set(kinds) == {*NAMES, *APART}
    assert not {name for name in APART if kinds[name] in DENSE}


def plain_filter(name: str, filter: Filter) -> PlainFilter:
    """The second implementation of a checkpoint, at the point that it is run at."""
    emission = checkpoints.load(name).settings["model"].get("likelihood")
    return EMISSIONS.get(emission, PlainFilter)(checkpoints.ZOO / name, **effort(filter))


def effort(filter: Filter) -> dict[str, Any]:
    """Iterations and samples of a filter that has them: a checkpoint may ship with others than it was trained with."""
    config = vars(filter.inference.config)
    return {key: config[key] for key in ("iterations", "samples") if key in config}


@pytest.fixture
def sequences(name: str, request: pytest.FixtureRequest) -> list[np.ndarray]:
    """The beginnings of a few sequences that the checkpoint was selected or reported on; of sensors, drawn ones."""
    if name in SENSORS:
        plain = PlainSensors(checkpoints.ZOO / name)
        return [plain.drawn(STEPS + max(plain.lags), seed=i) for i in range(SEQUENCES)]
    source = Source(path=request.getfixturevalue("data_dir") / DATA[name]).like(checkpoints.load(name).card["data"])
    return [sequence[:STEPS] for sequence in source.load("valid")[:SEQUENCES]]


@pytest.mark.parametrize("name", NAMES)
def test_free_energies_are_those_of_the_second_implementation(name: str, sequences: list[np.ndarray]) -> None:
    """On the same noise, to a ten-thousandth (of sensors: of a nat a step), in float32, by torch and natively."""
    filter = checkpoints.load(name).filter
    plain = plain_filter(name, filter)
    expected = [plain.free_energies(sequence, seed=7 + i) for i, sequence in enumerate(sequences)]
    for choice in CHOICES:
        with running.using(choice):
            sums, steps = sequence_sums(filter, sequences, seed=7, draws=0)
        assert list(steps) == [len(energies) for energies in expected]
        close = {"rel": 0.0, "abs": 1e-4 * len(expected[0])} if name in SENSORS else {"rel": 1e-4}
        assert sums == pytest.approx([energies.sum() for energies in expected], **close)


@pytest.mark.parametrize("name", NAMES)
def test_what_ships_keeps_to_it_within_its_error(name: str, sequences: list[np.ndarray]) -> None:
    """By the path that this machine takes, whose products may be in bfloat16: to three standard errors over steps."""
    filter = checkpoints.load(name).filter
    expected = plain_filter(name, filter).free_energies(sequences[0], seed=7)
    found = evaluate(filter, sequences[:1], seed=7, passes=1, draws=0).free_energy_pooled
    assert abs(found - expected.mean()) < 3.0 * expected.std(ddof=1) / len(expected) ** 0.5
