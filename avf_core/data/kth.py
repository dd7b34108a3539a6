"""KTH Actions (Schuldt, Laptev & Caputo 2004) as its site ships it: 25 people, six actions, four settings, 25 Hz.

    person01_boxing_d1_uncomp.avi       a video, in any sub-folder
    00sequences.txt                     person01_boxing_d1    frames    1-95, 96-185, 186-245, 246-360

Each range of the table is a sequence. The table counts frames from 1, and a range's last frame belongs to it: where
the action does not stop, the next range begins one later. (The authors of AVF leave each last frame out:
`last = "exclusive"`.) The split is the published one, by person. Frames are averaged by area to size x size.

Memory: a frame of 64 x 64 takes 16 KiB; all of train about 1.2 GB. `actions` reads less.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from avf_core.data import _parts, _pixels
from avf_core.data._limits import Limits
from avf_core.data.base import TEST, TRAIN, VALID, DataSet, Modality, Split
from avf_core.errors import ConfigurationError, DataError

MODALITY: Modality = "video"
GENERAL = False
RATE = 25
TABLE = "00sequences.txt"
ENDING = "_uncomp.avi"
ACTIONS = ("walking", "jogging", "running", "boxing", "handwaving", "handclapping")
PERSONS = {
    TRAIN: (11, 12, 13, 14, 15, 16, 17, 18),
    VALID: (19, 20, 21, 23, 24, 25, 1, 4),
    TEST: (22, 2, 3, 5, 6, 7, 8, 9, 10),
}
MOST_TABLE_BYTES = 1 << 20
_ENTRY = re.compile(r"(person(\d\d)_([a-z]+)_d\d)\s+(\S.*)")
_RANGES = re.compile(r"frames\s+(\d+-\d+(?:\s*,\s*\d+-\d+)*),?")


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read KTH.

    `size`: pixels in a row, and rows, of a frame. `actions`: these only; all six where empty. `last`: whether a
    range's last frame belongs to it. `cut`: take what is there of a range that goes on after its video's end,
    instead of refusing the video.
    """

    size: int = _pixels.SIZE
    actions: tuple[str, ...] = ()
    last: Literal["inclusive", "exclusive"] = "inclusive"
    cut: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _pixels.check_size(self.size)
        unknown = set(self.actions) - set(ACTIONS)
        if unknown:
            raise ConfigurationError(f"no actions {', '.join(sorted(unknown))}; there are {', '.join(ACTIONS)}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the table: a video's name, who acts what, and the sequences in it as (first, last), from 1."""

    name: str
    person: int
    action: str
    ranges: tuple[tuple[int, int], ...]


EXAMPLES: Mapping[str, Options] = {"small": Options(size=8), "cut": Options(size=8, cut=True, last="exclusive")}


def recognises(path: Path) -> bool:
    """A folder with the table, or with videos that are named as KTH's are."""
    if not path.is_dir():
        return False
    return (path / TABLE).is_file() or any(path.glob(f"person*{ENDING}")) or any(path.glob(f"*/person*{ENDING}"))


def survey(path: Path, options: Options) -> DataSet:
    """The splits train, valid and test: float32 sequences of shape (time, size * size), pixels in [0, 1].

    Raises DataError where the table or videos of it are missing; reading raises it for videos that are damaged.
    """
    entries = [e for e in table(path) if not options.actions or e.action in options.actions]
    videos = {file.name.lower().removesuffix(ENDING): file for file in _parts.files(path, [".avi"])}
    missing = [entry.name for entry in entries if entry.name not in videos]
    if missing:
        raise DataError(
            f"{path} has no {missing[0]}{ENDING}, nor {len(missing) - 1} more of the {len(entries)} videos in {TABLE}: "
            "unpack all of the site's archives there, or choose some with --data-option 'actions=[\"walking\"]'"
        )
    splits = {name: [entry for entry in entries if entry.person in PERSONS[name]] for name in PERSONS}
    return DataSet(
        splits={
            name: Split(
                sequences=sum(len(entry.ranges) for entry in chosen), read=partial(_read, chosen, videos, options)
            )
            for name, chosen in splits.items()
            if chosen
        },
        observation_size=options.size**2,
        shape=(options.size, options.size),
        rate=RATE,
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """A video of noise a split, two sequences in each."""
    lines = [f"person{people[0]:02d}_boxing_d1\t\tframes\t1-4, 5-8" for people in PERSONS.values()]
    (folder / TABLE).write_text("\n".join([*lines, ""]))
    for people in PERSONS.values():
        frames = generator.integers(0, 256, (8, 12, 16)).astype(np.uint8)
        _pixels.write(folder / f"person{people[0]:02d}_boxing_d1{ENDING}", frames, rate=RATE)
    return folder


def table(path: Path) -> list[Entry]:
    """The entries of a folder's table that have sequences, in its order. Raises DataError."""
    file = path / TABLE
    if not file.is_file():
        raise DataError(f"no {TABLE} in {path}: KTH's site has it beside the archives; it says where sequences begin")
    if file.stat().st_size > MOST_TABLE_BYTES:
        raise DataError(f"{file} has {file.stat().st_size} bytes, expected a table of at most {MOST_TABLE_BYTES}")
    lines = file.read_text(encoding="latin-1").splitlines()
    entries = [_entry(file, found) for line in lines if (found := _ENTRY.fullmatch(line.strip()))]
    if not entries:
        raise DataError(f"{file} has no lines such as 'person01_boxing_d1  frames  1-95, 96-185'")
    return [entry for entry in entries if entry.ranges]


def _entry(file: Path, found: re.Match[str]) -> Entry:
    name, person, action, rest = found.groups()
    ranges: tuple[tuple[int, int], ...] = ()
    if rest != "*missing*":
        listed = _RANGES.fullmatch(rest)
        if not listed:
            raise DataError(f"{file}: {name} has {rest!r}, expected 'frames 1-95, 96-185' or '*missing*'")
        ranges = tuple((int(a), int(b)) for a, b in re.findall(r"(\d+)-(\d+)", listed[1]))
    if any(not 1 <= first < last for first, last in ranges):
        raise DataError(f"{file}: {name} has a range that does not go forward: {rest!r}")
    if action not in ACTIONS or int(person) not in {p for persons in PERSONS.values() for p in persons}:
        raise DataError(f"{file}: {name} is of no person from 1 to 25, or of no action that KTH has")
    return Entry(name=name, person=int(person), action=action, ranges=ranges)


def _read(entries: list[Entry], videos: dict[str, Path], options: Options) -> Iterator[np.ndarray]:
    for entry in entries:
        final = max(last for _, last in entry.ranges)
        frames = _pixels.watch(videos[entry.name], options.size, final, options)
        if len(frames) < final and not options.cut:
            raise DataError(
                f"{videos[entry.name]} has {len(frames)} frames, its sequences in {TABLE} go up to {final}: "
                "copy it again, or take what is there with --data-option cut=true"
            )
        for first, last in entry.ranges:
            sequence = frames[first - 1 : last if options.last == "inclusive" else last - 1]
            if not len(sequence):
                raise DataError(f"{videos[entry.name]} has {len(frames)} frames, none of them in {first}-{last}")
            yield _pixels.observations(sequence)
