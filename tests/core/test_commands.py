"""The commands train, evaluate and models, as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from avf_client.commands import cli
from click.testing import CliRunner

from avf_core.commands import evaluate, models, train
from avf_core.training import presets

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

SMALL = [
    "--set", "model.hidden_size=8", "--set", "model.latent_size=4", "--set", "model.prior_widths=[8]",
    "--set", "model.decoder_widths=[8]", "--set", "training.clip_length=6", "--set", "training.phi_steps=clip",
    "--set", "inference.units=8", "--set", "inference.iterations=2", "--precision", "float32",
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small piano-roll file."""
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "valid", "test"):
        rows = (generator.random((120, 88)) > 0.95).astype(np.uint8)
        arrays[f"{split}_bits"] = np.packbits(rows, axis=1)
        arrays[f"{split}_offsets"] = np.arange(0, 121, 12)
    np.savez(tmp_path / "rolls.npz", **arrays)
    return tmp_path / "rolls.npz"


def run(*arguments: object) -> tuple[int, str]:
    """`avf train` with small settings: its exit code and standard output."""
    result = CliRunner().invoke(train.command, [*map(str, arguments), "--json"], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_train_stop_resume_evaluate(data: Path, tmp_path: Path) -> None:
    """A run stopped by time goes on with the same command, and its folder evaluates."""
    out = tmp_path / "run"
    common = ["paper-jsb", "--data", data, "--out", out, *SMALL, "--set", "training.epochs=3"]
    code, stdout = run(*common, "--max-minutes", 1e-9)
    assert (code, json.loads(stdout)["finished"]) == (0, False)
    code, stdout = run(*common)
    result = json.loads(stdout)
    assert (code, result["finished"], result["updates"], result["skipped"]) == (0, True, 3, 0)
    names = ["config.json", "weights.safetensors", "card.json", "metrics.jsonl", "result.json", "curve.png"]
    assert all((out / name).stat().st_size > 0 for name in names)
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    card = json.loads((out / "card.json").read_text())
    assert card["command"].startswith("avf train paper-jsb --data rolls.npz --out OUT --set model.hidden_size=8")
    asked = ["--model", str(out), "--data", str(data), "--split", "test", "--json"]
    printed = CliRunner().invoke(evaluate.command, asked, catch_exceptions=False)
    figures = json.loads(printed.stdout)
    wanted = {
        "free_energy_pooled", "free_energy_sequence_mean", "free_energy_without_first_frame", "kl", "steps",
        "sequences", "iterations", "free_energy_by_iteration",
    }  # fmt: skip
    assert wanted <= set(figures)
    assert (figures["steps"], figures["sequences"], figures["iterations"]) == (120, 10, 2)
    table = CliRunner().invoke(evaluate.command, asked[:-1], catch_exceptions=False)
    assert "free energy, pooled over steps" in table.stdout


def test_threads_are_those_asked_for(data: Path) -> None:
    """`--threads` of train and evaluate; none at all is refused."""
    before = torch.get_num_threads()
    try:
        for count in (before + 1, before):
            asked = ["--model", "srnn-jsb-direct", "--data", str(data), "--iterations", "0", "--threads", str(count)]
            assert CliRunner().invoke(evaluate.command, asked, catch_exceptions=False).exit_code == 0
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    for command in (evaluate.command, train.command):
        refused = CliRunner().invoke(command, ["--threads", "0"])
        assert refused.exit_code == 2
        assert "0 is not in the range x>=1" in refused.output


def test_data_of_another_kind_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    """Kind and options are on the card, in the command, and `avf evaluate` reads as the card says."""
    rows = (np.random.default_rng(0).random((1000, 88)) > 0.95).astype(np.float32)
    np.savez(tmp_path / "x.npz", notes=rows, times=np.arange(1000.0))
    out = tmp_path / "run"
    reading = ["--data-kind", "arrays", "--data-option", "key=notes", "--data-option", "length=25"]
    options = ["--data", tmp_path / "x.npz", *reading, "--out", out, *SMALL, "--set", "training.epochs=1"]
    code, stdout = run("paper-jsb", *options)
    assert (code, json.loads(stdout)["updates"]) == (0, 2)  # 32 sequences of 25 steps, 16 a batch
    card = json.loads((out / "card.json").read_text())
    assert card["data"] == {"name": "x.npz", "kind": "arrays", "options": {"key": "notes", "length": 25}}
    words = "avf train paper-jsb --data x.npz --data-kind arrays --data-option 'key=\"notes\"' --data-option length=25"
    assert card["command"].startswith(words)
    asked = ["--model", str(out), "--data", str(tmp_path / "x.npz"), "--json"]
    figures = json.loads(CliRunner().invoke(evaluate.command, asked, catch_exceptions=False).stdout)
    assert (figures["sequences"], figures["steps"]) == (4, 100)
    other = [*asked, "--data-option", "length=50"]
    figures = json.loads(CliRunner().invoke(evaluate.command, other, catch_exceptions=False).stdout)
    assert (figures["sequences"], figures["steps"]) == (2, 100)


def test_train_from_another_checkpoint(data: Path, tmp_path: Path) -> None:
    """`--init` starts from the baseline's model, and the card says so."""
    direct = [x for x in SMALL if "inference" not in x]
    direct = [x for i, x in enumerate(direct) if not (x == "--set" and direct[i + 1].startswith("--"))]
    sizes = ["--set", "training.epochs=1"]
    assert run("paper-jsb-direct", "--data", data, "--out", tmp_path / "a", *direct, *sizes)[0] == 0
    options = ["--data", data, "--out", tmp_path / "b", "--init", tmp_path / "a", *SMALL]
    assert run("paper-jsb", *options, "--set", "training.epochs=1")[0] == 0
    card = json.loads((tmp_path / "b" / "card.json").read_text())
    assert card["init"]["updates"] == 1
    assert card["command"].endswith("--init START")
    assert card["init"]["commands"][0].startswith("avf train paper-jsb-direct")


def test_data_that_does_not_fit_the_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read: the sizes, and what the data was read as."""
    np.save(tmp_path / "x.npy", np.zeros((50, 3)))
    assert cli.run(["evaluate", "--model", "srnn-jsb", "--data", str(tmp_path / "x.npy")]) == 1
    assert "read as arrays, has observations of 3 numbers, the model takes 88" in capsys.readouterr().err


def test_models_lists_every_preset_with_its_sizes() -> None:
    """The zoo's checkpoints and all presets, as JSON and as a table."""
    listed = json.loads(CliRunner().invoke(models.command, ["--json"], catch_exceptions=False).stdout)["models"]
    by_name = {row["name"]: row for row in listed if row["form"] == "preset"}
    assert set(by_name) == set(presets.names())
    assert {"paper-jsb", "paper-jsb-direct", "regimes"} <= set(by_name)
    assert "regimes-direct" not in by_name
    assert by_name["paper-jsb"]["latent_size"] == 100
    assert by_name["paper-jsb"]["inference_parameters"] == 3_741_072
    assert "paper-nottingham" in CliRunner().invoke(models.command, [], catch_exceptions=False).stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["train", "srnn-bach", "--data", "x.npz", "--out", "o"], "no preset 'srnn-bach'"),
        (["train", "paper-jsb", "--data", "missing.npz", "--out", "o"], "no file or folder missing.npz"),
        (["train", "paper-jsb", "--data", "x.npz", "--out", "o", "--set", "epochs"], "no KEY=VALUE"),
        (["evaluate", "--model", "nowhere", "--data", "x.npz"], "no checkpoint 'nowhere'"),
        (["evaluate", "--model", "srnn-jsb", "--data", ".", "--data-kind", "timit"], ". is no TIMIT"),
        (["evaluate", "--model", "srnn-jsb", "--data", ".", "--data-kind", "tape"], "'tape' is not one of"),
        (["evaluate", "--model", "srnn-jsb", "--data", ".", "--data-option", "key"], "no KEY=VALUE"),
        (["evaluate", "--model", "srnn-jsb", "--data", "."], "is of no kind that is known"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was wrong, without a stack trace, and an exit code that is not 0."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) in (1, 2)
    error = capsys.readouterr().err
    assert word in error
    assert "Traceback" not in error
