"""The library against a second implementation, in numpy, that shares no code with it: on every dense checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avf_core import checkpoints
from avf_core.analysis.evaluation import evaluate, sequence_sums
from avf_core.checkpoints import Checkpoint
from avf_core.data import Source
from avf_core.filtering import Filter
from avf_core.native import running
from tests.oracles.plain_filter import PlainFilter
from tests.oracles.plain_keys import PlainKeys

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
SEQUENCES, STEPS = 3, 16
CHOICES: tuple[running.Choice, ...] = ("off", "float32")
DENSE = ("srnn", "vrnn")
KNOWN = ("bernoulli", "discretized", "autoregressive", None)


def test_every_dense_checkpoint_is_among_these() -> None:
    """Those of models and emissions that the second implementation has."""
    found = set()
    for name in checkpoints.available():
        model = checkpoints.load(name).settings["model"]
        if model["kind"] in DENSE and model.get("likelihood") in KNOWN:
            found.add(name)
    assert found == set(DATA)


def plain_filter(name: str, filter: Filter) -> PlainFilter:
    """The second implementation of a checkpoint, at the point that it is run at."""
    folder = checkpoints.ZOO / name
    keyed = checkpoints.load(name).settings["model"].get("likelihood") == "autoregressive"
    return (PlainKeys if keyed else PlainFilter)(folder, **effort(filter))


def effort(filter: Filter) -> dict[str, Any]:
    """Iterations and samples of a filter that has them: a checkpoint may ship with others than it was trained with."""
    config = vars(filter.inference.config)
    return {key: config[key] for key in ("iterations", "samples") if key in config}


def clip(checkpoint: Checkpoint, path: Path) -> list[np.ndarray]:
    """The beginnings of a few sequences that the checkpoint was selected or reported on."""
    source = Source(path=path).like(checkpoint.card["data"])
    return [sequence[:STEPS] for sequence in source.load("valid")[:SEQUENCES]]


@pytest.mark.parametrize("name", list(DATA))
def test_free_energies_are_those_of_the_second_implementation(name: str, data_dir: Path) -> None:
    """On the same noise, to a ten-thousandth, in float32: computed by torch, and natively."""
    checkpoint = checkpoints.load(name)
    sequences = clip(checkpoint, data_dir / DATA[name])
    plain = plain_filter(name, checkpoint.filter)
    expected = [plain.free_energies(sequence, seed=7 + i) for i, sequence in enumerate(sequences)]
    for choice in CHOICES:
        with running.using(choice):
            sums, steps = sequence_sums(checkpoint.filter, sequences, seed=7, draws=0)
        assert list(steps) == [len(energies) for energies in expected]
        assert sums == pytest.approx([energies.sum() for energies in expected], rel=1e-4)


@pytest.mark.parametrize("name", list(DATA))
def test_what_ships_keeps_to_it_within_its_error(name: str, data_dir: Path) -> None:
    """By the path that this machine takes, whose products may be in bfloat16: to three standard errors over steps."""
    checkpoint = checkpoints.load(name)
    sequence = clip(checkpoint, data_dir / DATA[name])[0]
    expected = plain_filter(name, checkpoint.filter).free_energies(sequence, seed=7)
    found = evaluate(checkpoint.filter, [sequence], seed=7, passes=1, draws=0).free_energy_pooled
    assert abs(found - expected.mean()) < 3.0 * expected.std(ddof=1) / len(expected) ** 0.5
