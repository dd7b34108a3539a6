"""Publishing: a card says what the weights that ship do, for any kind of data, and can be renewed."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from avf_core import checkpoints, data
from avf_core.analysis import operating
from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.commands import train
from avf_core.data import Description
from avf_core.errors import TrainingError
from avf_core.plugins import plugin
from avf_core.training import curve, publish, result
from avf_core.training.model_card import about, limits, point_of, said

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

FIGURES = ("free_energy", "ms_1", "ms_64")

SMALL = [
    "model.observation_size=3", "model.likelihood=gaussian", "model.hidden_size=8", "model.latent_size=4",
    "model.prior_widths=[8]", "model.decoder_widths=[8]", "inference.units=8", "inference.iterations=2",
    "training.epochs=1", "training.clip_length=6", "training.phi_steps=clip",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small filter of three sensors, trained for an epoch."""
    folder = tmp_path_factory.mktemp("publish")
    walks = np.cumsum(np.random.default_rng(0).normal(size=(400, 3)), axis=0)
    np.save(folder / "sensors.npy", walks.astype(np.float32))
    words = [
        "paper-jsb",
        "--data",
        str(folder / "sensors.npy"),
        "--data-option",
        "length=20",
        "--data-option",
        "valid=0.4",
    ]
    changes = [word for change in SMALL for word in ("--set", change)]
    options = ["--out", str(folder / "run"), "--precision", "float32", *changes]
    assert CliRunner().invoke(train.command, [*words, *options], catch_exceptions=False).exit_code == 0
    return folder / "run"


def published(run: Path, zoo: Path, **texts: Any) -> tuple[Path, dict[str, Any]]:
    folder = publish.publish(run, "walks", data=run.parent / "sensors.npy", title="Walks", zoo=zoo, **texts)
    return folder, json.loads((folder / "card.json").read_text())


def test_a_card_says_what_the_shipped_weights_do(run: Path, tmp_path: Path) -> None:
    """Half-precision weights, evaluated as they are; data read as in training; texts by the kind of data."""
    folder, card = published(run, tmp_path)
    shipped = checkpoints.load(folder)
    options = {"length": 20, "valid": 0.4}
    test = data.load(run.parent / "sensors.npy", "test", options=options)
    assert card["test"] == evaluate(shipped.filter, test).as_dict()
    assert (card["weights"], card["splits"], card["data"]["options"]) == ("float16", ["valid", "test"], options)
    text = (folder / "MODEL_CARD.md").read_text()
    for fact in (
        said(card["test"], "free_energy_sequence_mean", "sequence_mean_error"),
        said(card["valid"], "free_energy_pooled", "standard_error"),
        "3 numbers a step", "comes out as surprise", card["command"], "float16", '`{"length": 20, "valid": 0.4}`',
    ):  # fmt: skip
        assert fact in text


def test_the_reference_is_of_the_split_that_training_was_selected_on(run: Path, tmp_path: Path) -> None:
    """Against it, half of the steps of that split have a p-value of at most a half; so for other levels."""
    folder, card = published(run, tmp_path)
    assert (card["reference"]["split"], card["reference"]["count"]) == ("valid", 160)
    found = ReferenceDistribution.from_dict(card["reference"])
    valid = data.load(run.parent / "sensors.npy", "valid", options={"length": 20, "valid": 0.4})
    filter, energies = checkpoints.load(folder).filter, []
    for seed, sequence in enumerate(valid):
        xs = torch.from_numpy(sequence)[:, None]
        with torch.no_grad():
            _, estimates = filter.scan(filter.initial(torch.tensor([seed])), xs)
        energies.append(estimates.free_energy[:, 0])
    p = found.p_value(torch.cat(energies).double())
    for level in (0.4, 0.5, 0.75, 0.95):
        assert float((p <= level).double().mean()) == pytest.approx(level, abs=0.02)


def test_the_callers_texts_are_on_the_card_and_stay(run: Path, tmp_path: Path) -> None:
    """A renewed card has the same figures and texts, unless others are given."""
    folder, before = published(run, tmp_path, limits_text="It only knows walks.", about_text="three sensors")
    publish.refresh("walks", data=run.parent / "sensors.npy", zoo=tmp_path)
    assert json.loads((folder / "card.json").read_text()) == before
    assert "**Limits.** It only knows walks." in (folder / "MODEL_CARD.md").read_text()
    publish.refresh("walks", data=run.parent / "sensors.npy", zoo=tmp_path, limits_text="Nothing.")
    assert "**Limits.** Nothing." in (folder / "MODEL_CARD.md").read_text()


def test_a_run_that_was_not_published_has_no_card_to_refresh(run: Path, tmp_path: Path) -> None:
    """The error says what is missing and what to do, and its card is as it was."""
    shutil.copytree(run, tmp_path / "walks")
    before = (tmp_path / "walks" / "card.json").read_bytes()
    with pytest.raises(TrainingError, match=r"no title, name, .* never published"):
        publish.refresh("walks", data=run.parent / "sensors.npy", zoo=tmp_path)
    assert (tmp_path / "walks" / "card.json").read_bytes() == before
    assert not (tmp_path / "walks" / "MODEL_CARD.md").exists()


def test_a_card_without_a_reference_gets_one(run: Path, tmp_path: Path) -> None:
    """As those of earlier releases: whatever is measured is measured again."""
    folder, before = published(run, tmp_path)
    old = {key: value for key, value in before.items() if key not in ("reference", "weights", "parameters", "splits")}
    (folder / "card.json").write_text(json.dumps(old))
    publish.refresh("walks", data=run.parent / "sensors.npy", zoo=tmp_path)
    assert json.loads((folder / "card.json").read_text()) == before


def test_a_result_of_another_checkpoint_is_not_published(run: Path, tmp_path: Path) -> None:
    """As after a run that was killed when it had found a better one: refused by name, with nothing in the zoo."""
    spoilt = tmp_path / "run"
    shutil.copytree(run, spoilt)
    (spoilt / "result.json").write_text(json.dumps({**result.read(run), "checkpoint": "0" * 16}))
    with pytest.raises(TrainingError, match="of another checkpoint"):
        publish.publish(spoilt, "walks", data=run.parent / "sensors.npy", title="Walks", zoo=tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_a_run_that_stopped_before_its_first_validation_is_not_published(run: Path, tmp_path: Path) -> None:
    """Whether it has no checkpoint, or lies where an older one does: refused by name, with nothing in the zoo."""
    spoilt = tmp_path / "run"
    shutil.copytree(run, spoilt)
    result.write(spoilt, {**result.read(run), "finished": False}, None, curve=None)
    told = {"data": run.parent / "sensors.npy", "title": "Walks", "zoo": tmp_path / "zoo"}
    with pytest.raises(TrainingError, match="stopped before its first validation"):
        publish.publish(spoilt, "walks", **told)
    for name in checkpoints.FILES:
        (spoilt / name).unlink()
    with pytest.raises(TrainingError, match="stopped before its first validation"):
        publish.publish(spoilt, "walks", **told)
    assert not (tmp_path / "zoo").exists()


def test_weights_that_rounding_harms_do_not_ship(run: Path, tmp_path: Path) -> None:
    """A weight beyond half precision: refused, with nothing left in the zoo."""
    spoilt = tmp_path / "run"
    shutil.copytree(run, spoilt)
    checkpoint = checkpoints.load(run)
    named = {name: p for name, p in checkpoint.filter.model.named_parameters() if "decoder" in name and p.ndim == 2}
    with torch.no_grad():
        list(named.values())[-1][0, 0] = 1e5
    checkpoints.save(spoilt, filter=checkpoint.filter, settings=checkpoint.settings, card=checkpoint.card)
    found = result.read(run)
    result.write(spoilt, found, checkpoints.load(spoilt), curve=None)
    with pytest.raises(TrainingError, match="half precision moves the free energy"):
        publish.publish(spoilt, "walks", data=run.parent / "sensors.npy", title="Walks", zoo=tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("kind", "size", "shape", "rate", "word"),
    [
        ("pianoroll", 88, None, None, "piano rolls of 88 keys"),
        ("crowd16k", 200, None, 16_000, "frames of 200 samples at 16000 Hz"),
        ("weizmann", 4096, (64, 64), None, "64 x 64 pixels"),
        ("arrays", 5, None, None, "5 numbers a step"),
    ],
)
def test_each_kind_of_data_has_its_words(
    kind: str, size: int, shape: tuple[int, ...] | None, rate: int | None, word: str
) -> None:
    """What it is, and what a checkpoint of it does not know."""
    described = Description(
        name="x",
        kind=kind,
        options={},
        modality=plugin(data, kind).MODALITY,
        splits={"train": 1},
        observation_size=size,
        shape=shape,
        rate=rate,
    )
    assert word in about(described)
    assert "surprise" in limits(described)


def test_the_shipped_cards_have_references_that_can_be_read() -> None:
    """Of every checkpoint of the zoo; all steps of the split made them, but for first ones while a model is warming."""
    for name in checkpoints.available():
        shipped = checkpoints.load(name)
        valid = shipped.card["valid"]
        judged = valid["steps"] - shipped.filter.model.warming * valid["sequences"]
        assert judged <= ReferenceDistribution.from_dict(shipped.card["reference"]).count <= valid["steps"]


def test_what_a_card_says_by_hand_stays_when_its_name_is_published_again(run: Path, tmp_path: Path) -> None:
    """Operating points that sessions ask for by name; all else is the new checkpoint's."""
    folder, before = published(run, tmp_path)
    (folder / "card.json").write_text(json.dumps({**before, "points": {"bound": {"particles": 4}}, "odd": 1}))
    _, card = published(run, tmp_path)
    assert card == {**before, "points": {"bound": {"particles": 4}}}


def test_a_card_prints_its_curve_and_is_measured_at_its_knee(run: Path, tmp_path: Path) -> None:
    """The checkpoint is then run there; taken again, its figures stay."""
    folder, before = published(run, tmp_path)
    curve.take("walks", data=run.parent / "sensors.npy", zoo=tmp_path)
    card, text = json.loads((folder / "card.json").read_text()), (folder / "MODEL_CARD.md").read_text()
    shipped = checkpoints.load(folder)
    points = [operating.Worth(point=point_of(row), **{k: row[k] for k in FIGURES}) for row in card["curve"]["points"]]
    best = operating.knee(points, near=operating.NEAR, relative=operating.RELATIVE)
    assert shipped.filter.inference.iterations == best.point.iterations
    assert card["test"]["iterations"] == best.point.iterations
    assert (card["curve"]["split"], card["curve"]["steps"]) == ("valid", 160)
    for point in points:
        (shown,) = re.findall(rf"^\| {re.escape(str(point.point))} \| (\S+) \|", text, flags=re.MULTILINE)
        assert float(shown) == pytest.approx(point.free_energy, abs=0.5 * 10.0 ** -len(shown.partition(".")[2]))
    options = {"length": 20, "valid": 0.4}
    test = data.load(run.parent / "sensors.npy", "test", options=options)
    assert card["test"] == evaluate(shipped.filter, test).as_dict()
    publish.refresh("walks", data=run.parent / "sensors.npy", zoo=tmp_path)
    assert json.loads((folder / "card.json").read_text()) == card
    assert before["command"] == card["command"]
