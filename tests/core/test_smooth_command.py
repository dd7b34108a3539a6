"""avf smooth, as a user runs it: against pykalman's smoother of every beginning, exactly and by particles."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from avf_core import checkpoints, configuration
from avf_core.analysis.looking_back import smooth
from avf_core.commands.smooth import command
from avf_core.errors import ConfigurationError, ObservationError
from tests.support.comparing import exact
from tests.support.lgssm import independent, random_model, simulate

from .pairs import make, observations

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

PNG = b"\x89PNG"
STEPS, GAP = 14, [4, 9]
LINEAR = {"kind": "lgssm", "observation_size": 2, "latent_size": 2}


def saved(folder: Path, procedure: str) -> list[str]:
    """Options that name a linear Gaussian model with this procedure, and sequences of it with two gaps."""
    settings = {"model": LINEAR, "inference": {"kind": procedure}}
    filter = configuration.build(settings).double()
    filter.model.load_state_dict(random_model(2, 2).state_dict())
    checkpoints.save(folder / procedure, filter=filter, settings=settings, card={})
    np.savez(folder / "data.npz", train=sequences(), test=sequences())
    return ["--model", str(folder / procedure), "--data", str(folder / "data.npz"), "--sequence", "1"]


def sequences() -> np.ndarray:
    """Three, as they are stored."""
    xs = simulate(random_model(2, 2), STEPS, 3, seed=4).numpy().transpose(1, 0, 2).astype(np.float32)
    xs[:, GAP] = np.nan
    return xs


def reference(lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of pykalman's smoother, of the beginning that each step is judged by; for 0 its filter."""
    xs, model = np.ma.masked_invalid(sequences()[1].astype(np.float64)), independent(random_model(2, 2))
    smoothed = [model.smooth(xs[: min(t + lag, STEPS - 1) + 1]) if lag else model.filter(xs) for t in range(STEPS)]
    means = np.stack([mean[t] for t, (mean, _) in enumerate(smoothed)])
    return means, np.sqrt([np.diag(covariance[t]) for t, (_, covariance) in enumerate(smoothed)])


def run(*words: object) -> str:
    """What the command prints."""
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def said(*words: object) -> dict[str, Any]:
    """The same as JSON."""
    found: dict[str, Any] = json.loads(run(*words, "--json"))
    return found


@pytest.mark.parametrize(("lag", "steps"), [("1", 1), ("3", 3), ("all", STEPS - 1), ("99", STEPS - 1)])
def test_under_kalman_it_is_pykalmans_smoother(lag: str, steps: int, tmp_path: Path) -> None:
    """Of every step, gaps included, in the checkpoint's float32: what is written and what is printed."""
    options, out = saved(tmp_path, "kalman"), tmp_path / "smoothed.npz"
    printed = said(*options, "--lag", lag, "--out", out)
    assert (printed["lag"], printed["particles"], printed["effective_ancestors"]) == (steps, None, None)
    names = ("mean", "deviation", "filtered_mean", "filtered_deviation")
    truth = dict(zip(names, (*reference(steps), *reference(0)), strict=True))
    with np.load(out) as written:
        assert set(written) == set(truth)
        for name, values in truth.items():
            np.testing.assert_allclose(written[name], values, atol=2e-6, rtol=2e-6)
            np.testing.assert_allclose(printed[name], values, atol=2e-5, rtol=2e-5)
    assert out.with_suffix(".png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("lag", [1, 4, None])
def test_in_double_precision_it_is_pykalmans_to_nine_digits(lag: int | None) -> None:
    """From Python."""
    filter = configuration.build({"model": LINEAR, "inference": {"kind": "kalman"}}).double()
    filter.model.load_state_dict(random_model(2, 2).state_dict())
    xs = torch.as_tensor(sequences()).double().transpose(0, 1)
    found = smooth(filter, xs, seeds=torch.arange(3), lag=lag, observed=~xs.isnan())
    means, deviations = reference(lag or STEPS - 1)
    np.testing.assert_allclose(found.mean[:, 1], means, atol=1e-9, rtol=1e-9)
    np.testing.assert_allclose(found.deviation[:, 1], deviations, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("lag", "steps"), [("2", 2), ("all", STEPS - 1)])
def test_by_particles_it_is_near(lag: str, steps: int, tmp_path: Path) -> None:
    """Of 1,024 samples within a fifth of a deviation (RMS) and as wide; of the first step, few ancestors are left."""
    found = said(*saved(tmp_path, "exact"), "--lag", lag, "--particles", 1024)
    means, deviations = reference(steps)
    off = (np.array(found["mean"]) - means) / deviations
    assert np.sqrt(np.mean(off**2)) < 0.2
    ratio = np.array(found["deviation"]) / deviations
    assert np.exp(np.abs(np.log(ratio)).mean()) < 1.15
    assert min(found["effective_ancestors"]) >= 1.0
    assert max(found["effective_ancestors"]) <= 1024.0
    assert steps == 2 or min(found["effective_ancestors"]) == found["effective_ancestors"][0]
    assert found["particles"] == 1024


def test_a_table_and_words(tmp_path: Path) -> None:
    """A line for every step with the same numbers; in words, what looking back adds."""
    options, out = [*saved(tmp_path, "exact"), "--lag", "2", "--particles", "32"], tmp_path / "smoothed.csv"
    found = said(*options)
    words = run(*options, "--out", out)
    assert f"{STEPS} steps, lag 2" in words
    assert "Effective ancestors" in words
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(t) for t in range(STEPS)]
    table = [[float(row[f"mean_{d}"]) for d in range(2)] for row in rows]
    np.testing.assert_allclose(table, found["mean"], rtol=1e-5)
    np.testing.assert_allclose(
        [float(row["effective_ancestors"]) for row in rows], found["effective_ancestors"], rtol=1e-5
    )
    assert out.with_suffix(".png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("name", ["srnn-gaussian", "vrnn-direct", "lgssm-exact"])
def test_of_each_step_it_says_what_a_session_says(name: str) -> None:
    """The estimate of a filter with this lag, so many steps later; sequences do not change each other."""
    filter = make(name, torch.float64)
    xs = observations(filter, 6, 2)
    back = smooth(filter, xs, seeds=torch.arange(2), lag=2, particles=16)
    _, found = filter.scan(filter.initial(torch.arange(2), particles=16, lag=2), xs)
    assert found.smoothed is not None
    exact(back.mean[:4], found.smoothed.mean[2:])
    exact(back.filtered_mean, found.posterior.mean)
    alone = smooth(filter, xs[:, 1:], seeds=torch.tensor([1]), lag=2, particles=16)
    torch.testing.assert_close(alone.mean, back.mean[:, 1:], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(alone.deviation, back.deviation[:, 1:], rtol=1e-8, atol=1e-8)


def test_mistakes_are_told(tmp_path: Path) -> None:
    """What was wrong, what was expected; before anything is computed."""
    options = saved(tmp_path, "exact")
    for words, told in (
        (("--lag", "0"), "'0': write a number of steps"),
        (("--lag", "some"), "'some': write a number of steps"),
        (("--particles", "1"), "is not in the range 2<=x<=1024"),
        (("--out", "x.txt"), "neither in .npz nor in .csv"),
    ):
        result = CliRunner().invoke(command, [*options, *words])
        assert result.exit_code == 2
        assert told in " ".join(result.output.split())
    filter = make("lgssm-exact")
    seeds = torch.arange(1)
    with pytest.raises(ConfigurationError, match="expected at most 1024; give a smaller lag"):
        smooth(filter, torch.zeros(1026, 1, 3), seeds=seeds)
    with pytest.raises(ConfigurationError, match="lag is 0"):
        smooth(filter, torch.zeros(4, 1, 3), seeds=seeds, lag=0)
    with pytest.raises(ConfigurationError, match="one sampled path cannot look back"):
        smooth(filter, torch.zeros(4, 1, 3), seeds=seeds, particles=1)
    with pytest.raises(ObservationError, match="time > 0"):
        smooth(filter, torch.zeros(0, 1, 3), seeds=seeds)
