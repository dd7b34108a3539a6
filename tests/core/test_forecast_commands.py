"""avf forecast, avf impute and what avf evaluate says beyond the free energy, as a user runs them."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from avf_client.commands import cli
from click import Command
from click.testing import CliRunner

from avf_core import checkpoints, configuration
from avf_core.analysis.calibration import crps
from avf_core.analysis.monitoring import monitor
from avf_core.commands import evaluate, forecast, impute
from avf_core.inference import gradient
from tests.support.lgssm import random_model, simulate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def rolls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short piano rolls."""
    rows = (np.random.default_rng(0).random((24, 88)) > 0.95).astype(np.uint8)
    arrays = {}
    for split in ("train", "valid", "test"):
        arrays[f"{split}_bits"] = np.packbits(rows, axis=1)
        arrays[f"{split}_offsets"] = np.array([0, 12, 18, 24])
    path = tmp_path_factory.mktemp("data") / "rolls.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The checkpoint of a linear Gaussian model, and an array of its observations with two gaps."""
    folder = tmp_path_factory.mktemp("linear")
    settings = {"model": {"kind": "lgssm", "observation_size": 2, "latent_size": 2}, "inference": {"kind": "exact"}}
    model = random_model(2, 2)
    filter = configuration.build(settings).double()
    filter.model.load_state_dict(model.state_dict())
    checkpoints.save(folder / "model", filter=filter, settings=settings, card={})
    xs = simulate(model, 40, 3, seed=4).numpy().transpose(1, 0, 2).astype(np.float32)
    xs[0, 5:9, 0] = np.nan
    xs[0, 20] = np.nan
    np.savez(folder / "data.npz", train=xs, test=xs)
    return folder / "model", folder / "data.npz"


def run(command: Command, *arguments: object) -> str:
    """What the command prints."""
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_forecast_of_music(rolls: Path, tmp_path: Path) -> None:
    """A table, a JSON object, and the files beside each other, with the same figures."""
    common = ["--model", "srnn-jsb", "--data", rolls, "--horizon", 3, "--paths", 8, "--particles", 4]
    assert "likeliest ones" in run(forecast.command, *common)
    out = tmp_path / "new" / "f.npz"
    printed = json.loads(run(forecast.command, *common, "--out", out, "--json"))
    assert printed == json.loads(out.with_suffix(".json").read_text())
    assert (printed["steps"], printed["at"], printed["horizon"], printed["paths"]) == (12, 9, 3, 8)
    assert out.with_suffix(".png").read_bytes().startswith(PNG)
    with np.load(out) as arrays:
        assert arrays["paths"].shape == (3, 8, 88)
        assert set(np.unique(arrays["paths"])) <= {0.0, 1.0}
        assert len(arrays["past"]) == 9
        np.testing.assert_allclose(printed["mean"], arrays["mean"], rtol=1e-5, atol=1e-9)
        np.testing.assert_array_equal(printed["truth"], arrays["truth"])
    assert json.loads(run(forecast.command, *common, "--json")) == printed


def test_forecast_of_numbers_beyond_the_end(gaussian: tuple[Path, Path], tmp_path: Path) -> None:
    """Where nothing came yet the truth is null; where something did, CRPS is that of the paths."""
    model, data = gaussian
    common = ["--model", model, "--data", data, "--split", "test", "--at", 38, "--horizon", 4, "--sequence", 1]
    found = json.loads(run(forecast.command, *common, "--json", "--out", tmp_path / "f.npz"))
    assert found["crps"][2:] == [None, None]
    assert found["truth"][3] == [None, None]
    with np.load(tmp_path / "f.npz") as arrays:
        paths, truth = (torch.as_tensor(arrays[name]) for name in ("paths", "truth"))
        assert found["crps"][0] == pytest.approx(float(crps(paths, truth)[0].mean()))
    assert (tmp_path / "f.png").read_bytes().startswith(PNG)
    assert "median" in run(forecast.command, *common)
    assert "?" in run(forecast.command, *common)
    assert len(json.loads(run(forecast.command, *common, "--at", 0, "--json"))["mean"]) == 4


def test_impute_fills_what_is_missing_and_only_that(gaussian: tuple[Path, Path], tmp_path: Path) -> None:
    """NaN in the data, and what was hidden; what was observed is left as it is."""
    model, data = gaussian
    common = ["--model", model, "--data", data, "--split", "test", "--paths", 9]
    with np.load(data) as arrays:
        xs = arrays["test"][0]
    for fill in ("mean", "median", "sample"):
        assert "values filled" in run(impute.command, *common, "--fill", fill, "--out", tmp_path / "x.npy")
        filled = np.load(tmp_path / "x.npy")
        known = ~np.isnan(xs)
        np.testing.assert_array_equal(filled[known], xs[known])
        assert np.isfinite(filled).all()
    hidden = ["--hide", "10-12:1", "--hide", "30,31"]
    printed = json.loads(run(impute.command, *common, *hidden, "--json", "--out", tmp_path / "x.npz"))
    assert (printed["missing"], printed["known"]) == (6 + 3 + 4, 7)
    with np.load(tmp_path / "x.npz") as arrays:
        assert int((~arrays["observed"]).sum()) == 13
        truth = xs[10:13, 1].tolist() + xs[30:32].ravel().tolist()
        means = arrays["mean"][10:13, 1].tolist() + arrays["mean"][30:32].ravel().tolist()
        assert printed["mean_absolute_error"] == pytest.approx(np.abs(np.subtract(truth, means)).mean(), rel=1e-5)
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)
    filled = json.loads(run(impute.command, *common, "--json"))["filled"]
    assert np.array(filled, dtype=float).shape == (40, 2)


def test_impute_music_on_the_shipped_checkpoint(rolls: Path, tmp_path: Path) -> None:
    """Hidden keys get probabilities, and a picture."""
    common = ["--model", "srnn-jsb", "--data", rolls, "--hide", ":40-44", "--paths", 4]
    out = tmp_path / "x.npz"
    found = json.loads(run(impute.command, *common, "--json", "--out", out))
    assert (found["missing"], found["known"]) == (60, 60)
    with np.load(out) as arrays:
        assert bool(((arrays["mean"] >= 0.0) & (arrays["mean"] <= 1.0)).all())
    assert out.with_suffix(".png").read_bytes().startswith(PNG)


def test_evaluate_says_more_when_asked(
    gaussian: tuple[Path, Path], rolls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each addition has its part of the JSON object and a table of its own."""
    model, data = gaussian
    brief = partial(monitor, gap_steps=1, converged=gradient.Config(iterations=20))  # converged inference is slow
    monkeypatch.setattr(evaluate, "monitor", brief)
    asked = ["--bound", "fivo", "--particles", 32, "--repeats", 2, "--monitor", "--calibration", "--reference"]
    common = ["--model", model, "--data", data, "--split", "test", *asked]
    found = json.loads(run(evaluate.command, *common, "--json"))
    assert found["steps"] == 119
    assert found["bound"]["particles"] == 32
    assert found["bound"]["pooled"] < found["free_energy_pooled"]
    assert found["bound"]["standard_error"] > 0.0 < found["bound"]["monte_carlo_error"]
    assert found["monitor"]["gap_steps"] == 3
    assert len(found["calibration"]["coverage"]) == 4
    assert found["reference"]["count"] == 119
    table = run(evaluate.command, *common)
    for part in ("fivo bound", "latents and inference", "one step ahead", "free energy of 119 steps"):
        assert part in table
    found = json.loads(
        run(evaluate.command, "--model", "srnn-jsb", "--data", rolls, "--bound", "iw", "--particles", 4, "--json")
    )
    assert found["bound"]["kind"] == "iw"
    assert "monitor" not in found


def test_on_real_data(data_dir: Path) -> None:
    """A chorale of the test split: the forecast of the next chord finds most of it, and so does the imputation."""
    common = ["--model", "srnn-jsb", "--data", data_dir / "music" / "jsb_chorales.npz", "--sequence", 1, "--json"]
    found = json.loads(run(forecast.command, *common, "--horizon", 1, "--at", 12, "--paths", 50, "--particles", 8))
    mean, truth = np.array(found["mean"][0]), np.array(found["truth"][0], dtype=bool)
    assert mean[truth].mean() > 3.0 * mean[~truth].mean()
    filled = json.loads(run(impute.command, *common, "--hide", "4-5:45-70", "--paths", 8))
    assert filled["mean_absolute_error"] < 0.25


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["forecast", "--sequence", "9"], "no sequence 9"),
        (["forecast", "--at", "99"], "lies behind its end"),
        (["forecast", "--out", "x.png"], "does not end in .npz"),
        (["impute"], "nothing missing"),
        (["impute", "--hide", "5-3"], "'5-3': write"),
        (["impute", "--hide", ":88"], "the last one is 87"),
        (["impute", "--hide", "1", "--out", "x.txt"], "neither in .npz"),
        (["evaluate", "--bound", "elbo"], "'elbo' is not one of"),
        (["evaluate", "--reference"], "expected 100"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], word: str, rolls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wrong, without a stack trace, and an exit code that is not 0."""
    command, *others = arguments
    assert cli.run([command, "--model", "srnn-jsb", "--data", str(rolls), *others]) in (1, 2)
    error = capsys.readouterr().err
    assert word in error
    assert "Traceback" not in error
