"""What benchmarks say is what they found: the page, its tables, the search for the most streams, the peers' step."""

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from avf_core import checkpoints
from avf_core.native import running
from benchmarks import asked, load, page, peers, plots, realtime, results, roofline
from benchmarks.__main__ import SUITE
from benchmarks.peer.step import Stepper

FOUND: dict[str, Any] = {
    "model": "srnn-jsb",
    "steps_per_second": {"avf, HTTP": 1234.5, "litserve": 98.76},
    "p99_ms": {"avf, HTTP": 61.04, "litserve": 1200.0},
    "skipped": {},
    "models": {"a": {"rate": 80.0, "streams": 24}, "b": {"rate": 25.0}},
    "machine": {"processor": "P", "cores": 2},
}


def test_the_page_is_what_the_results_make() -> None:
    """docs/performance.md has no figure that no full run found: `python -m benchmarks.page` writes it."""
    assert page.PAGE.read_text(encoding="utf-8") == page.page()


def test_a_section_has_all_figures_and_explains_them(tmp_path: Path) -> None:
    """Figures by the same names stand side by side; what a benchmark says of itself comes before them."""
    results.write("peers", FOUND, tmp_path)
    assert json.loads((tmp_path / "peers.json").read_text()) == FOUND
    made = page.page(tmp_path)
    for line in (
        "## How many steps a second are answered here, and by the same step behind servers of others?",
        "Machine: processor P, cores 2. Run: model srnn-jsb.",
        "|  | steps/s | p99 ms |",
        "| avf, HTTP | 1,234 | 61 |",
        "| litserve | 98.8 | 1,200 |",
        "|  | rate | streams |",
        "| a | 80 | 24 |",
        "| b | 25 |  |",
    ):
        assert line in made.splitlines()
    assert "`times_best_peer`" in made


def test_pictures_lie_beside_the_figures(tmp_path: Path) -> None:
    """One for each set of figures that has one."""
    drawn = plots.draw("peers", FOUND, tmp_path)
    assert sorted(path.name for path in drawn) == ["peers-p99_ms.png", "peers-steps_per_second.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_every_benchmark_of_the_suite_asks_one_question() -> None:
    """The first paragraph of its docstring is the heading of its section."""
    for name in SUITE:
        about = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
        assert about.partition("\n\n")[0].endswith("?"), name


@pytest.mark.parametrize("carried", [0, 1, 7, 23, 24])
def test_halving_finds_the_most_streams_that_are_on_time(carried: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if so many were carried, of 24 at best: found whatever the number, and none above it is told."""

    def probed(url: str, model: str, streams: int, rate: float, seconds: float) -> dict[str, float]:
        return {"p99": 0.05 if streams <= carried else 0.5, "problems": 0.0}

    monkeypatch.setattr(realtime, "probed", probed)
    found, lag = realtime.most("", "m", 80.0, 24, probes=10, seconds=1.0)
    assert found == carried
    assert lag == (0.05 if carried else 0.0)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("srnn-jsb", "srnn-jsb"),
        ("vrnn-speech", "preset:paper-vrnn-speech"),
        ("paper-jsb", "preset:paper-jsb"),
        ("sensor", "preset:sensor"),
    ],
)
def test_a_roofline_is_of_a_checkpoint_or_a_preset(name: str, found: str) -> None:
    """Presets of the paper by their own names, too."""
    assert roofline.found_as(name) == found


def test_the_best_peer_is_what_ours_is_compared_with() -> None:
    """Not the slowest, and not one of ours."""
    rates = {"avf, HTTP": 500.0, "avf, WebSocket": 1200.0, "litserve": 100.0, "fastapi-redis": 50.0}
    assert peers.times_best_peer(rates) == {"avf, HTTP": 5.0, "avf, WebSocket": 12.0}
    absent = [name for name, package in peers.PEERS.items() if importlib.util.find_spec(package) is None]
    assert list(peers.missing([*peers.OURS, *peers.PEERS])) == absent


def test_peers_make_the_same_step() -> None:
    """Sessions whose beliefs are kept as bytes go on as those of a filter that keeps them itself."""
    filter, before = checkpoints.load("srnn-jsb").filter, running.chosen()
    stepper = Stepper("srnn-jsb")
    assert running.chosen() == "off"
    running.choose(before)
    xs = (torch.rand(3, 2, 88, generator=torch.Generator().manual_seed(0)) > 0.95).float()
    with torch.no_grad():
        _, expected = filter.scan(filter.initial(torch.arange(2)), xs)
    kept: list[bytes | None] = [None, None]
    for t, x in enumerate(xs):
        after, answers = stepper.step(kept, x.tolist())
        kept = list(after)
        found = torch.tensor([answer["free_energy"] for answer in answers])
        torch.testing.assert_close(found, expected.free_energy[t])
        assert len(answers[0]["mean"]) == filter.model.latent_size


@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\n{1:2}", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{1:2}\r\n0\r\n\r\n"]
)
def test_answers_over_http_are_whole_before_they_count(body: bytes) -> None:
    """Whether their length is said or they come in chunks, and however they are cut: some servers' are in chunks."""

    class Heard(load.OverHttp):
        def _answer(self, problem: str | None) -> None:
            answers.append(problem)

    answers: list[str | None] = []
    answer = b"HTTP/1.1 200 OK\r\nDate: now\r\n" + body
    session = Heard(cast(load.Bench, None), "host", "session", np.zeros((1, 1)))
    for _ in range(2):
        for at in range(len(answer)):
            before = len(answers)
            session.data_received(answer[at : at + 1])
            assert len(answers) - before == (at == len(answer) - 1)
    assert answers == [None, None]


def test_a_line_is_met_where_its_figure_says_so(tmp_path: Path) -> None:
    """By the least or the most that is asked, half of it without tiles where it counts on them."""
    serve: dict[str, Any] = {
        "served_over_engine_64": 0.9,
        "steps_per_second": 1400.0,
        "p50_ms": 2.0,
        "overhead_ms": 1.2,
    }
    step = [{"model": "srnn-jsb", "batch": 1, "to_baseline": 5.0}]
    results.write("serve", serve | {"machine": {}}, tmp_path)
    results.write("step", {"milliseconds": step, "machine": {"executor": "avx512"}}, tmp_path)
    found = {line[0]: line[1:] for line in asked.rows(tmp_path)}
    assert found["served over engine, 64 WebSockets"] == ["at least 0.85", "0.9", "met"]
    assert found["steps a second, 64 WebSockets, two cores"] == ["at least 1,500", "1,400", "**not met**"]
    assert found["one session, p50, ms"] == ["at most 3", "2", "met"]
    assert found["one session, beside the raw step, ms"] == ["at most 1", "1.2", "**not met**"]
    assert found["srnn-jsb, one row: times the version before"] == ["at least 4.5 (9 with AMX)", "5", "met"]
    assert len(found) == 5
    assert "| one session, p50, ms | at most 3 | 2 | met |" in page.page(tmp_path)
    results.write("step", {"milliseconds": step, "machine": {"executor": "amx"}}, tmp_path)
    assert ["srnn-jsb, one row: times the version before", "at least 9", "5", "**not met**"] in asked.rows(tmp_path)


def test_every_line_is_found_in_a_full_run() -> None:
    """In those that docs/performance.md is made of: a name that is mistyped is no line that is left out."""
    assert len(list(asked.rows(results.FOLDER))) == len(asked.LINES)


def test_a_peer_that_fails_is_named_and_the_others_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that does not come up."""

    def measured(name: str, model: str, seconds: float) -> dict[str, Any]:
        if name == "litserve":
            raise RuntimeError("it does not answer")
        return {"steps_per_second": 100.0, "p50_ms": 1.0, "p99_ms": 2.0, "problems": 0, "cpu_ms_per_step": [1, 1, 1]}

    monkeypatch.setattr(peers, "measured", measured)
    monkeypatch.setattr(peers, "missing", lambda systems: {})
    monkeypatch.setattr(results, "machine", dict)
    monkeypatch.setattr("sys.argv", ["peers", "--json", "--only", "avf, HTTP", "litserve", "fastapi-redis"])
    peers.main()
    found = json.loads(capsys.readouterr().out)
    assert found["skipped"] == {"litserve": "it does not answer"}
    assert found["times_best_peer"] == {"avf, HTTP": 1.0}


def test_a_model_that_is_not_answered_costs_no_other_its_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, with the reason."""

    def measured(model: str, *, quick: bool) -> dict[str, Any]:
        if model == "a":
            raise realtime.UnansweredError("it takes inputs")
        return {"streams": 7}

    monkeypatch.setattr(realtime, "measured", measured)
    monkeypatch.setattr(results, "machine", dict)
    monkeypatch.setattr("sys.argv", ["realtime", "--json", "--models", "a", "b"])
    realtime.main()
    found = json.loads(capsys.readouterr().out)
    assert found["streams"] == {"b": 7}
    assert found["skipped"] == {"a": "it takes inputs"}
