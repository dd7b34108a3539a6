"""Data with inputs and times: tables and arrays that have them, clips and batches of them, training and evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avf_core import configuration, data
from avf_core.analysis.batching import batches
from avf_core.analysis.bounds import bound
from avf_core.analysis.calibration import calibrate
from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.surprise import step_scores
from avf_core.data import Driven
from avf_core.errors import ConfigurationError, DataError, InputError
from avf_core.models import lgssm
from avf_core.training import presets
from avf_core.training.clips import clip_batch
from avf_core.training.config import TrainingConfig
from avf_core.training.fitting import fit

ROWS = 60
LGSSM: dict[str, dict[str, Any]] = {
    "model": {"kind": "lgssm", "latent_size": 1, "observation_size": 1, "input_size": 1},
    "inference": {"kind": "kalman"},
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Rows with uneven times, two channels of which one has a gap, and two inputs."""
    seconds = np.cumsum([0, *([1, 2, 5] * ROWS)])[:ROWS]
    lines = [f"{t},{0.5 * i},{i % 2},{'' if i == 7 else 2 * i},{-i}" for i, t in enumerate(seconds)]
    path = tmp_path / "plant.csv"
    path.write_text("\n".join(["when,level,valve,flow,hour", *lines]) + "\n")
    return path


OPTIONS = {"time": "when", "inputs": ["valve", "hour"]}


def test_named_columns_are_inputs_and_times_become_dt(table: Path) -> None:
    """In the order they are named in; the first dt of a stream is not known, and pieces keep theirs."""
    described = data.describe(table, options=OPTIONS)
    assert (described.channels, described.inputs) == (("level", "flow"), ("valve", "hour"))
    assert (described.observation_size, described.input_size) == (2, 2)
    train, valid = (data.load(table, split, options=OPTIONS)[0] for split in ("train", "valid"))
    np.testing.assert_array_equal(train[:3], [[0.0, 0.0], [0.5, 2.0], [1.0, 4.0]])
    assert np.isnan(train[7, 1])
    np.testing.assert_array_equal(moved(train)[:3], [[0, 0], [1, -1], [0, -2]])
    np.testing.assert_array_equal(since(train)[:5], [np.nan, 1, 2, 5, 1])
    assert not np.isnan(since(valid)).any()
    swapped = data.load(table, "train", options={**OPTIONS, "inputs": ["hour", "valve"]})[0]
    np.testing.assert_array_equal(moved(swapped), moved(train)[:, ::-1])


def test_a_card_asks_other_data_for_its_inputs_by_name(table: Path) -> None:
    """As it does for channels."""
    source = data.Source(path=table, options=OPTIONS)
    card = source.as_card()
    assert (card["channels"], card["inputs"]) == (["level", "flow"], ["valve", "hour"])
    asked = data.Source(path=table).like(card)
    assert asked.describe().inputs == ("valve", "hour")


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"inputs": ["valv"]}, DataError, "no column valv to be an input"),
        ({"inputs": ["flow"]}, DataError, "no value of the input flow in row 8"),
        ({"inputs": ["level", "valve", "flow", "hour"], "time": "when"}, DataError, "no channels"),
        ({"inputs": ["level"], "channels": ["level", "flow"]}, ConfigurationError, "level is named in"),
    ],
)
def test_inputs_that_are_not_there_are_refused(
    table: Path, options: dict[str, object], kind: type[Exception], words: str
) -> None:
    """The error names the column, and the row where a value is missing."""
    with pytest.raises(kind, match=words):
        data.load(table, "train", options=options)


def test_an_archive_has_inputs_and_dt_beside_its_arrays(tmp_path: Path) -> None:
    """For one stream, and for splits with offsets; what does not fit is refused."""
    xs, inputs, dt = np.arange(40.0).reshape(20, 2), np.arange(20.0).reshape(20, 1), np.linspace(1, 2, 20)
    np.savez(tmp_path / "one.npz", x=xs, x_inputs=inputs, x_dt=dt)
    assert data.describe(tmp_path / "one.npz").input_size == 1
    (train,) = data.load(tmp_path / "one.npz", "train")
    np.testing.assert_array_equal(moved(train), inputs[:16])
    np.testing.assert_allclose(since(train), dt[:16], rtol=1e-6)
    named = {"train": xs, "train_inputs": inputs, "train_offsets": np.array([0, 5, 20]), "valid": xs}
    np.savez(tmp_path / "named.npz", **named, valid_inputs=inputs)
    short, long = data.load(tmp_path / "named.npz", "train")
    np.testing.assert_array_equal(moved(short), inputs[:5])
    np.testing.assert_array_equal(moved(long), inputs[5:])
    np.savez(tmp_path / "odd.npz", x=xs, x_inputs=inputs[:-1])
    with pytest.raises(DataError, match=r"x_inputs is of shape \(1, 19, 1\), expected \(1, 20\) steps"):
        data.load(tmp_path / "odd.npz", "train")
    np.savez(tmp_path / "mixed.npz", **named)
    with pytest.raises(DataError, match=r"\[0, 1\] inputs"):
        data.load(tmp_path / "mixed.npz", "train")


def test_a_stretch_keeps_what_moved_it_and_nothing_else_does() -> None:
    """Sums and columns are plain arrays; rows of another number are refused."""
    whole = Driven(np.zeros((6, 2)), inputs=np.arange(6.0)[:, None], dt=np.ones(6))
    part = whole[2:4][1:]
    assert part.inputs.tolist() == [[3.0]]
    assert part.dt.tolist() == [1.0]
    assert not isinstance(whole[:, 0], Driven)
    summed: object = whole + 1.0
    assert isinstance(summed, Driven)
    assert summed.inputs is None
    for wrong in ({"inputs": np.zeros((5, 1))}, {"dt": np.ones(5)}):
        with pytest.raises(DataError, match="every step"):
            Driven(np.zeros((6, 2)), **wrong)


def moved(sequence: np.ndarray) -> np.ndarray:
    """Its inputs."""
    assert isinstance(sequence, Driven)
    assert sequence.inputs is not None
    return sequence.inputs


def since(sequence: np.ndarray) -> np.ndarray:
    """Its dt."""
    assert isinstance(sequence, Driven)
    assert sequence.dt is not None
    return sequence.dt


def pushed(count: int, seed: int, time: int = 30) -> list[np.ndarray]:
    """Noisy positions of what inputs push about."""
    generator = np.random.default_rng(seed)
    sequences: list[np.ndarray] = []
    for _ in range(count):
        inputs = generator.normal(size=(time, 1))
        z = np.cumsum(3.0 * inputs[:, 0] + 0.1 * generator.normal(size=time))
        xs = (z + 0.1 * generator.normal(size=time))[:, None]
        sequences.append(Driven(xs.astype(np.float32), inputs=inputs.astype(np.float32)))
    return sequences


def test_clips_and_batches_are_cut_and_padded_with_their_inputs() -> None:
    """Each row's inputs are those of its own steps; beyond a sequence's end they are zeros."""
    sequences = [sequence[:length] for sequence, length in zip(pushed(3, 0), (30, 4, 12), strict=True)]
    clip = clip_batch(sequences, TrainingConfig(clip_length=8, batch_size=3), 0, 0)
    assert clip.drive.inputs is not None
    given = {(np.asarray(x).tobytes(), u.tobytes()) for s in sequences for x, u in zip(s, moved(s), strict=True)}
    for t, row in clip.real.nonzero().tolist():
        assert (clip.xs[t, row].numpy().tobytes(), clip.drive.inputs[t, row].numpy().tobytes()) in given
    assert not bool(clip.drive.inputs[~clip.real].any())
    (batch,) = batches(configuration.build(LGSSM), sequences, size=4)
    assert batch.rows == [0, 2, 1]
    now = batch.drive_at(5)
    assert now.inputs is not None
    np.testing.assert_array_equal(now.inputs.numpy(), np.stack([moved(sequences[0])[5], moved(sequences[2])[5]]))


def test_a_preset_takes_inputs_and_the_usual_dt_from_the_data() -> None:
    """Their number and their units; what settings say themselves is left."""
    xs, inputs = np.random.default_rng(0).normal(size=(4, 2)), np.array([[0.0], [2.0]] * 2)
    sequence = Driven(xs, inputs=inputs, dt=np.arange(4.0))
    model = {"kind": "srnn", "observation_size": 2, "likelihood": "gaussian", "timed": True}
    fitted = presets.fit({"model": model, "inference": {}}, [sequence])["model"]
    assert (fitted["input_size"], fitted["input_center"], fitted["input_scale"]) == (1, (1.0,), (1.0,))
    assert fitted["usual_dt"] == 1.5
    told = {**model, "input_size": 1, "usual_dt": 7.0}
    assert "input_center" not in presets.fit({"model": told, "inference": {}}, [sequence])["model"]
    with pytest.raises(DataError, match="says nothing of time"):
        presets.fit({"model": model, "inference": {}}, [xs])


@pytest.mark.usefixtures("shapes_unchecked")
def test_training_learns_what_inputs_do(tmp_path: Path) -> None:
    """From scratch, by the command's own way: B comes out near what pushed, and evaluation needs the inputs."""
    schedule = TrainingConfig(epochs=80, clip_length=20, batch_size=16, theta_rate=0.1, validate_every=80)
    train, valid = pushed(32, 1), pushed(4, 2)
    settings = {**LGSSM, "model": {k: v for k, v in LGSSM["model"].items() if k != "input_size"}}
    found = fit(settings, train, valid, folder=tmp_path / "run", schedule=schedule)
    model = found.filter.model
    assert isinstance(model, lgssm.Model)
    assert model.control is not None
    told = found.settings["model"]
    gain = float(model.emission[0, 0] * model.control[0, 0]) * told["scale"][0] / told["input_scale"][0]
    assert abs(gain - 3.0) < 0.2
    told, untold = (evaluate(found.filter, [s]).free_energy_pooled for s in (valid[0], still(valid[0])))
    assert told + 1.0 < untold
    with pytest.raises(InputError, match="none were given"):
        evaluate(found.filter, [np.asarray(valid[0])])
    assert bound(found.filter, valid, particles=1).pooled == pytest.approx(
        evaluate(found.filter, valid).free_energy_pooled
    )
    assert all(np.isfinite(scores).all() for scores in step_scores(found.filter, valid))
    assert calibrate(found.filter, valid[:1], samples=20, particles=1).values == 30


def still(sequence: np.ndarray) -> Driven:
    """The same, said to have been pushed by nothing."""
    return Driven(np.asarray(sequence), inputs=np.zeros((len(sequence), 1), np.float32))


def test_data_without_a_dt_is_filtered_at_the_usual_one_and_a_model_that_is_not_timed_leaves_it() -> None:
    """So that files with a time column serve models of both kinds."""
    xs = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    torch.manual_seed(0)
    small = {"observation_size": 6, "latent_size": 2, "hidden_size": 4, "prior_widths": [4], "decoder_widths": [4]}
    plain, timed = (
        configuration.build(
            {
                "model": {"kind": "srnn", "likelihood": "gaussian", **small, "timed": timed, "usual_dt": 2.0},
                "inference": {"kind": "direct", "widths": [4]},
            }
        )
        for timed in (False, True)
    )
    uneven = Driven(xs, dt=np.array([np.nan, 2.0, 2.0, 9.0, 0.1, 2.0]))
    usual = Driven(xs, dt=np.full(6, 2.0))
    none, same, own = (evaluate(timed, [sequence]).free_energy_pooled for sequence in (xs, usual, uneven))
    assert none == same != own
    assert evaluate(plain, [xs]) == evaluate(plain, [uneven])
