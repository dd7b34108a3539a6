"""How good are alarms: on the Numenta Anomaly Benchmark, this service beside detectors of river, pysad and textbooks?

    python -m benchmarks.nab [--data FOLDER] [--json] [--no-peers]

A real server on loopback, a session for each of the 58 streams, rows one after the other; scored by the benchmark's
rules (`scoring`), whose best threshold is one for all. The half of the streams that no setting was chosen by is scored
by itself, too, at its own best threshold and at the one of the other half. As each row beyond the threshold counts, and
our detector tells of an event once, others are also scored `as_events`, by that rule: what it alone is worth.

`--data`, else AVF_DATA, else shared/data beside the project, holds `nab/`. Figures and a plot go to
benchmarks/results/.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from benchmarks import results
from benchmarks.nab import ours, scoring
from benchmarks.nab.corpus import Stream, read
from benchmarks.servers import PATIENT, served

SECONDS = 540.0  # in which peers are to be done
BESIDE = Path(__file__).parents[2].parent / "shared" / "data"
OURS = "avf"
HOLD = 200  # rows: what our detector's rule, that a novelty is an event, does to the scores of others
PUBLISHED = {"ARTime": 74.9, "Numenta HTM": 70.5, "relative entropy": 54.6, "random cut forest": 51.7}


def figures(streams: Sequence[Stream], scores: scoring.Scores) -> dict[str, Any]:
    """The score by profile; and of the half that was held out, at its own threshold and at that of the other."""
    chosen = [stream for stream in streams if not stream.held_out]
    held_out = [stream for stream in streams if stream.held_out]
    found: dict[str, Any] = {}
    for name, profile in scoring.PROFILES.items():
        found[name] = round(scoring.evaluate(streams, scores, profile).score, 1)
    if chosen and held_out:
        profile = scoring.PROFILES["standard"]
        there = scoring.evaluate(chosen, scores, profile)
        found["chosen_half"] = round(there.score, 1)
        found["held_out_half"] = round(scoring.evaluate(held_out, scores, profile).score, 1)
        found["held_out_at_chosen_threshold"] = round(
            scoring.at(held_out, scores, profile, threshold=there.threshold), 1
        )
    held = {name: scoring.events(each, hold=HOLD) for name, each in scores.items()}
    found["standard_as_events"] = round(scoring.evaluate(streams, held, scoring.PROFILES["standard"]).score, 1)
    return found


def served_scores(streams: Sequence[Stream]) -> tuple[scoring.Scores, float]:
    """Of the service, and the seconds that streaming took."""
    with tempfile.TemporaryDirectory(prefix="avf-nab-") as folder:
        model = ours.learn(streams, Path(folder))
        with served(str(model), settings=PATIENT | {"AVF_THREADS": "1"}) as server:
            began = time.monotonic()
            found = asyncio.run(ours.scores(server.url, streams))
            return found, time.monotonic() - began


class Peers:
    """The other detectors, in a process of their own, meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._file = Path(tempfile.mkdtemp(prefix="avf-nab-")) / "peers.npz"
        command = [sys.executable, "-m", "benchmarks.nab.peers", str(folder), str(self._file), str(SECONDS)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)

    def scores(self) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Of each detector and stream; and why others are absent."""
        out, _ = self._process.communicate()
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        with np.load(self._file) as arrays:
            for key in arrays.files:
                name, stream = key.split("|", 1)
                found[name][stream] = arrays[key]
        self._file.unlink()
        self._file.parent.rmdir()
        return found, dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)


def measure(folder: Path, *, peers: bool) -> dict[str, Any]:
    """All of it."""
    streams = read(folder)
    others = Peers(folder) if peers else None
    scores, seconds = served_scores(streams)
    rows = sum(len(stream.values) for stream in streams)
    results.say(f"avf: {rows:,} rows in {seconds:.0f} s")
    detectors = {OURS: figures(streams, scores)}
    absent: dict[str, str] = {}
    if others is not None:
        found, absent = others.scores()
        detectors |= {name: figures(streams, each) for name, each in found.items()}
    return {
        "detectors": detectors,
        "absent": absent,
        "published_standard": PUBLISHED,
        "streams": len(streams),
        "windows": sum(len(stream.windows) for stream in streams),
        "rows": rows,
        "seconds": round(seconds, 1),
        "machine": results.machine(),
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Scores of the standard profile, whole and held out, beside what others have published."""
    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    names = list(found["detectors"])
    places = np.arange(len(names))
    for shift, (key, label, colour) in enumerate(
        (("standard", "all streams", "#3b6ea8"), ("held_out_half", "held-out half", "#9dbbd9"))
    ):
        values = [found["detectors"][name].get(key, 0.0) for name in names]
        axes.bar_label(axes.barh(places + 0.4 * shift, values, height=0.38, color=colour, label=label), fmt="{:.1f}")
    for name, score in found["published_standard"].items():
        axes.axvline(score, color="#999999", linewidth=0.8, linestyle=":")
        axes.text(score, len(names) - 0.1, name, rotation=90, fontsize=7, ha="right", va="bottom", color="#666666")
    axes.set_yticks(places + 0.2, names)
    axes.invert_yaxis()
    axes.set_xlabel("score, standard profile (0: says nothing, 100: perfect)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure, write, show."""
    parser: argparse.ArgumentParser = results.options(__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("AVF_DATA", BESIDE)), help="holds nab/")
    parser.add_argument("--no-peers", action="store_true", help="this service only")
    told = parser.parse_args()
    folder = told.data / "nab" if (told.data / "nab").is_dir() else told.data
    if not (folder / "windows.json").is_file():
        sys.exit(f"{folder} holds no windows.json: give --data the folder of the corpus, or the one that holds nab/")
    found = measure(folder, peers=not told.no_peers)
    target = results.FOLDER / "quick" if told.quick else results.FOLDER
    results.write("nab", found, target)
    draw(found, target / "nab.png")
    if told.json:
        print(json.dumps(found))
    else:
        results.told(found, as_json=False)


if __name__ == "__main__":
    main()
