"""Picking a preset: the first candidate is begun once, and what is to come after is told of the filter that it was."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avf_core import configuration, lags
from avf_core.commands import fit
from avf_core.configuration import Settings
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.training import choosing


@pytest.fixture
def walks() -> list[np.ndarray]:
    """Two channels, each near to where it was."""
    random = np.random.default_rng(0)
    return [np.cumsum(0.1 * random.standard_normal((120, 2)), axis=0).astype(np.float32) for _ in range(4)]


def test_the_first_candidate_is_begun_once(
    tmp_path: Path, walks: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`after` hears of the very filter that is trained then; other candidates are begun when it is their turn."""
    built: list[Filter] = []
    asked: list[Filter] = []
    build = configuration.build

    def counted(settings: Settings, **told: bool) -> Filter:
        built.append(build(settings, **told))
        return built[-1]

    def after(filter: Filter) -> float:
        asked.append(filter)
        assert len(built) == 1  # before any training
        return 0.0

    monkeypatch.setattr(configuration, "build", counted)
    found = choosing.choose(
        walks[:3], walks[3:], folder=tmp_path, names=("sensor", "lgssm"), seconds=30.0, after=after, stop=lambda: True
    )
    assert [id(one) for one in asked] == [id(built[0])]
    assert list(found.validated) == ["sensor"]  # it was stopped before the second one


def test_none_that_can_be_validated_is_an_error(tmp_path: Path, walks: list[np.ndarray]) -> None:
    """Where nothing was observed."""
    unknown = [np.full_like(walks[0], np.nan)]
    with pytest.raises(DataError, match="at least one frame with an observation"):
        choosing.choose(walks, unknown, folder=tmp_path, names=("sensor",), seconds=1.0)


@pytest.mark.parametrize("known", [[], [3], [119], [50, 51], list(range(115, 120))])
def test_lags_are_chosen_where_forecasts_meet_nothing(walks: list[np.ndarray], known: list[int]) -> None:
    """So little was observed that no forecast, or none so many steps ahead, has anything to be judged by."""
    valid = np.full_like(walks[0], np.nan)
    valid[known] = 0.1
    assert lags.choose(lags.Part(sequences=walks[:3]), lags.Part(sequences=[valid])).order >= 1


def test_lags_are_chosen_where_the_end_of_training_is_missing(walks: list[np.ndarray]) -> None:
    """Without other data they are judged there."""
    cut = [np.where(np.arange(len(walk))[:, None] < 60, walk, np.nan) for walk in walks]
    assert lags.choose(lags.Part(sequences=cut)).order >= 1


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        (lambda t: t < 800, "0 of the 100 steps that choose"),
        (lambda t: not 780 <= t < 910, "0 of the 100 steps that choose"),
        (lambda t: t < 900, "0 of the 100 steps of the test"),
        (lambda t: t < 910 and (t < 800 or t % 40 == 0), "3 of the 100 steps that choose"),
    ],
)
def test_a_stretch_in_which_nothing_was_measured_is_named(
    tmp_path: Path, seen: Callable[[int], bool], what: str
) -> None:
    """Before any training: a sensor that was unplugged where presets are chosen, or in the test."""
    random = np.random.default_rng(1)
    rows = [",".join(f"{v:.3f}" if seen(t) else "" for v in random.standard_normal(2)) for t in range(1000)]
    (tmp_path / "plant.csv").write_text("\n".join(["a,b", *rows]) + "\n")
    with pytest.raises(DataError, match=what):
        fit.command.main([str(tmp_path / "plant.csv"), "--out", str(tmp_path / "out")], standalone_mode=False)
    assert not (tmp_path / "out").exists()


def test_one_channel_that_was_not_measured_is_fitted(tmp_path: Path, walks: list[np.ndarray]) -> None:
    """Where others were."""
    valid = walks[3].copy()
    valid[:, 1] = np.nan
    found = choosing.choose(walks[:3], [valid], folder=tmp_path, names=("sensor",), seconds=2.0)
    assert np.isfinite(found.validated["sensor"])
