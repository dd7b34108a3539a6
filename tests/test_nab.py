"""The Numenta benchmark's score is that of its rules, by hand and as published, and the service can be scored by it."""

import asyncio
import csv
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nab import corpus, ours, peers, scoring
from benchmarks.nab.__main__ import figures
from benchmarks.nab.corpus import Stream
from benchmarks.nab.scoring import PROFILES, Profile
from benchmarks.servers import PATIENT, served

pytestmark = pytest.mark.slow
STANDARD = PROFILES["standard"]


def stream(length: int, *windows: tuple[int, int], name: str = "a/one.csv") -> Stream:
    """A stream of zeros with these windows."""
    return Stream(name=name, times=60.0 * np.arange(length), values=np.zeros(length), windows=windows)


def said(length: int, *rows: int) -> np.ndarray:
    """Scores of 1 at these rows, 0 elsewhere."""
    scores = np.zeros(length)
    scores[list(rows)] = 1.0
    return scores


def s(y: float) -> float:
    """The rules' own sigmoid."""
    return 2.0 / (1.0 + math.exp(5.0 * y)) - 1.0


def total(one: Stream, scores: np.ndarray, profile: Profile = STANDARD) -> float:
    """The score at a threshold of 1, before it is put on the scale of 0 to 100."""
    found = scoring.at([one], {one.name: scores}, profile, threshold=1.0)
    windows = len(one.windows)
    nothing, perfect = -profile.missed * windows, profile.found * windows
    return nothing + found / 100.0 * (perfect - nothing)


@pytest.mark.parametrize("profile", list(PROFILES.values()))
def test_a_hand_calculation(profile: Profile) -> None:
    """One window of ten rows; one found late, one false before it, one after it, one far after it, one in probation."""
    one = stream(200, (100, 109))
    expected = {
        (105,): profile.found * s(-0.5) / 0.98661,
        (105, 103): profile.found * s(-0.7) / 0.98661,
        (50,): -profile.missed - profile.false,
        (112,): -profile.missed + profile.false * s(3 / 9),
        (150,): -profile.missed - profile.false,
        (10, 105): profile.found * s(-0.5) / 0.98661,
        (): -profile.missed,
    }
    for rows, worth in expected.items():
        assert total(one, said(200, *rows), profile) == pytest.approx(worth), rows


def test_false_alarms_are_counted_from_the_window_before() -> None:
    """Between two windows, from the first, whose width it is measured in."""
    one = stream(300, (100, 104), (200, 239))
    assert total(one, said(300, 106)) == pytest.approx(-2.0 + 0.11 * s(2 / 4))
    assert total(one, said(300, 245)) == pytest.approx(-2.0 + 0.11 * s(6 / 39))


def test_nothing_and_all() -> None:
    """Saying nothing is 0; each window at its first row, and nothing else, is 100, in every profile."""
    streams = [
        stream(400, (200, 259)),
        stream(300, (90, 140), (200, 250), name="a/two.csv"),
        stream(99, name="b/c.csv"),
    ]
    nothing = {each.name: np.zeros(len(each.values)) for each in streams}
    perfect = {each.name: said(len(each.values), *(first for first, _ in each.windows)) for each in streams}
    for profile in PROFILES.values():
        assert scoring.evaluate(streams, nothing, profile).score == 0.0
        assert scoring.evaluate(streams, perfect, profile).score == pytest.approx(100.0, abs=0.01)


def test_one_threshold_serves_all_streams() -> None:
    """Thresholds by brute force, with scores that no single one separates."""
    draw = np.random.default_rng(0)
    streams = [stream(120, (60, 79)), stream(120, (30, 39), (90, 99), name="a/two.csv")]
    scores = {each.name: draw.integers(0, 12, 120) / 11.0 for each in streams}
    best = 0.0
    for threshold in np.unique(np.concatenate(list(scores.values()))):
        found = sum(total(one, (scores[one.name] >= threshold).astype(float)) for one in streams)
        best = max(best, 100.0 * (found + 3.0) / 6.0)
    assert scoring.evaluate(streams, scores, STANDARD).score == pytest.approx(best)


def test_an_event_is_told_once() -> None:
    """Of what goes on, the rows that are above all of the two before them."""
    scores = np.array([0.1, 0.3, 0.3, 0.2, 0.25, 0.1, 0.4])
    np.testing.assert_array_equal(scoring.events(scores, hold=2), [0.1, 0.3, 0.0, 0.0, 0.0, 0.0, 0.4])


def test_scores_that_do_not_fit_are_refused() -> None:
    """One finite score a row."""
    for wrong in (np.zeros(5), np.full(100, np.nan)):
        with pytest.raises(ValueError, match="expected"):
            scoring.evaluate([stream(100, (50, 60))], {"a/one.csv": wrong}, STANDARD)


def test_the_corpus_is_whole(data_dir: Path) -> None:
    """58 streams, 116 windows; the windowed Gaussian has about its published 39.6, and nothing has 0."""
    streams = corpus.read(data_dir / "nab")
    assert (len(streams), sum(len(each.windows) for each in streams)) == (58, 116)
    scores = {each.name: peers.windowed_gaussian(each) for each in streams}
    assert scoring.evaluate(streams, scores, STANDARD).score == pytest.approx(39.6, abs=1.0)
    firsts = {each.name: said(len(each.values), *(first for first, _ in each.windows)) for each in streams}
    assert scoring.evaluate(streams, firsts, STANDARD).score == pytest.approx(100.0, abs=0.2)


def synthetic(folder: Path) -> Path:
    """A corpus of two streams, with days, of which one has a jump."""
    draw, begin = np.random.default_rng(5), datetime(2024, 1, 1, tzinfo=UTC)
    (folder / "data" / "made").mkdir(parents=True)
    windows: dict[str, list[list[str]]] = {}
    for name, jump in (("jump.csv", True), ("calm.csv", False)):
        times = [begin + timedelta(minutes=10 * t) for t in range(1500)]
        values = [10.0 + math.sin(time.hour / 24 * 2 * math.pi) + 0.1 * draw.normal() for time in times]
        if jump:
            values[900:] = [value + 4.0 for value in values[900:]]
        with (folder / "data" / "made" / name).open("w", newline="") as file:
            written = csv.writer(file)
            written.writerow(["timestamp", "value"])
            written.writerows((f"{time:%Y-%m-%d %H:%M:%S}", value) for time, value in zip(times, values, strict=True))
        marked = [[f"{times[890]:%Y-%m-%d %H:%M:%S}", f"{times[960]:%Y-%m-%d %H:%M:%S}"]] if jump else []
        windows[f"made/{name}"] = marked
    (folder / "windows.json").write_text(json.dumps(windows))
    return folder


def test_the_service_finds_a_jump_in_what_it_has_learned(tmp_path: Path) -> None:
    """A corpus made for the test, streamed through a real server: its window is found soon, and little else told."""
    streams = corpus.read(synthetic(tmp_path / "corpus"))
    model = ours.learn(streams, tmp_path)
    with served(str(model), settings=PATIENT) as server:
        scores = asyncio.run(ours.scores(server.url, streams))
    assert {name: len(each) for name, each in scores.items()} == {each.name: 1500 for each in streams}
    assert figures(streams, scores)["standard"] > 85.0


def test_peers_see_the_same_streams(tmp_path: Path) -> None:
    """Those that are installed score every row; those that are not are named."""
    streams = [each for each in corpus.read(synthetic(tmp_path)) if each.windows]
    cut = [Stream(name=e.name, times=e.times[:300], values=e.values[:300], windows=()) for e in streams]
    found, absent = peers.run(cut)
    assert set(found) | set(absent) == {"windowed Gaussian", *peers.RIVER, *peers.PYSAD}
    for name, scores in found.items():
        assert np.isfinite(scores[cut[0].name]).all(), name
