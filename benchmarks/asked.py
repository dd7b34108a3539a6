"""What is asked of the engine, beside what full runs found: the first table of docs/performance.md.

The law: a line is a figure of `benchmarks/results/` and a bar; whether it is met is computed, so that no page calls met
what its own figures do not.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import results

Found = Mapping[str, Any]
WITHOUT_AMX = 0.5  # of a bar that tiles of bfloat16 are counted on for


class Line(NamedTuple):
    """A figure of a benchmark, and the least, or with `most` the most, that is asked of it."""

    what: str
    benchmark: str
    figure: Callable[[Found], float]
    bar: float
    most: bool = False
    tiles: bool = False  # whether it is asked for of a processor with AMX, and half of it elsewhere


def step(model: str, batch: int, key: str) -> Callable[[Found], float]:
    """A figure of one row of `benchmarks.step`."""
    return lambda found: _row(found["milliseconds"], model=model, batch=batch)[key]


def _row(rows: list[dict[str, Any]], **of: Any) -> dict[str, Any]:
    return next(row for row in rows if all(row[name] == value for name, value in of.items()))


def training(preset: str, way: str) -> Callable[[Found], float]:
    """How many times the plain loop's the frames a second of the trainer are."""
    return lambda found: _row(found["rows"], preset=preset, phi_steps=way)["ratio"]["trainer"]


def _share(found: Found) -> float:
    rows = [row for row in found["steps"] if row["model"] == "paper-vrnn-speech" and row["batch"] == 64]
    return max(float(row["share"]) for row in rows)


BEFORE = "times the version before"
LINES = (
    Line(f"srnn-jsb, one row: {BEFORE}", "step", step("srnn-jsb", 1, "to_baseline"), 9.0, tiles=True),
    Line(f"srnn-jsb, 16 rows: {BEFORE}", "step", step("srnn-jsb", 16, "to_baseline"), 5.5, tiles=True),
    Line(f"srnn-jsb, 64 rows: {BEFORE}", "step", step("srnn-jsb", 64, "to_baseline"), 5.0, tiles=True),
    Line(f"srnn-speech-small, one row: {BEFORE}", "step", step("srnn-speech-small", 1, "to_baseline"), 5.0, tiles=True),
    Line(
        f"srnn-speech-small, 16 rows: {BEFORE}", "step", step("srnn-speech-small", 16, "to_baseline"), 5.0, tiles=True
    ),
    Line(f"vrnn-speech-small, one row: {BEFORE}", "step", step("vrnn-speech-small", 1, "to_baseline"), 5.0, tiles=True),
    Line(
        f"vrnn-speech-small, 16 rows: {BEFORE}", "step", step("vrnn-speech-small", 16, "to_baseline"), 5.0, tiles=True
    ),
    Line(f"svg-actions-small, one row: {BEFORE}", "step", step("svg-actions-small", 1, "to_baseline"), 3.0),
    Line("paper's JSB, one row: times the authors' step", "step", step("preset:paper-jsb", 1, "to_authors"), 20.0),
    Line(
        "paper's Nottingham, one row: times the authors' step",
        "step",
        step("preset:paper-nottingham", 1, "to_authors"),
        20.0,
    ),
    Line("paper's VRNN, 64 rows: share of the peak", "roofline", _share, 0.7),
    Line("served over engine, 64 WebSockets", "serve", lambda found: found["served_over_engine_64"], 0.85),
    Line("steps a second, 64 WebSockets, two cores", "serve", lambda found: found["steps_per_second"], 1500.0),
    Line("one session, p50, ms", "serve", lambda found: found["p50_ms"], 3.0, most=True),
    Line("one session, beside the raw step, ms", "serve", lambda found: found["overhead_ms"], 1.0, most=True),
    Line("HTTP over WebSocket", "serve", lambda found: found["http_over_websocket"], 2.0, most=True),
    Line("times the best peer, HTTP", "peers", lambda found: found["times_best_peer"]["avf, HTTP"], 5.0),
    Line("times the best peer, WebSocket", "peers", lambda found: found["times_best_peer"]["avf, WebSocket"], 12.0),
    *(
        Line(f"{preset}, phi by {way}: times the authors' loop in training", "training", training(preset, way), 8.0)
        for preset in ("paper-jsb", "paper-nottingham")
        for way in ("online", "clip")
    ),
    *(
        Line(f"streams of {model} on one core", "realtime", lambda found, model=model: found["streams"][model], 24.0)
        for model in ("speech", "speech-avf", "srnn-speech-small", "vrnn-speech-small")
    ),
)


def rows(folder: Path) -> Iterator[list[str]]:
    """What is asked, what there is, and whether that is met; lines that no full run measured are left out."""
    held = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    for line in LINES:
        try:
            found = held[line.benchmark]
            figure = float(line.figure(found))
        except (KeyError, StopIteration):
            continue
        bar = line.bar * (WITHOUT_AMX if line.tiles and found["machine"].get("executor") != "amx" else 1.0)
        met = figure <= bar if line.most else figure >= bar
        asked = f"at {'most' if line.most else 'least'} {results.text(bar)}"
        asked += f" ({results.text(line.bar)} with AMX)" if bar != line.bar else ""
        yield [line.what, asked, results.text(figure), "met" if met else "**not met**"]
