"""A measure of one part of MusicXML as notes, by the durations and pitches that the file gives.

The law: each number is read as the specification writes it (decimals, no exponents, of bounded length), and one that is
none is refused by its measure. What holds on from measure to measure (divisions, transposition, metre) is the part's.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import floor
from typing import NamedTuple
from xml.etree.ElementTree import Element

from avf_sources._piece import DamagedError
from avf_sources._repeats import numbers

OCTAVE = 12
WHOLE_NOTE = 4.0  # quarter notes
MOST_DIVISIONS = 1_000_000
"""Of a quarter note; programs write up to some ten thousand."""
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_DECIMAL = re.compile(r"\s*[+-]?(\d{1,12}(\.\d{0,40})?|\.\d{1,40})\s*")
_WHOLE = re.compile(r"\s*[+-]?\d{1,9}\s*")


class Sounding(NamedTuple):
    """A note within its measure; `times` are those at which it is played, all where there are none."""

    midi: int
    start: float
    end: float
    times: frozenset[int]


@dataclass
class Bar:
    """A measure of one part: its notes, how long it is, and how long its metre says, in quarter notes."""

    notes: list[Sounding] = field(default_factory=list)
    length: float = 0.0
    metre: float = WHOLE_NOTE


@dataclass
class Transposition:
    """What is added to written pitches, in semitones, and to these once more where they are doubled."""

    semitones: float = 0.0
    doubled: int = 0


@dataclass
class Part:
    """A part while it is read, and its measures."""

    percussion: frozenset[str] = frozenset()
    drums: bool = False
    met: Counter[str] = field(default_factory=Counter)
    bars: list[Bar] = field(default_factory=list)
    _metre: float = WHOLE_NOTE
    _divisions: float | None = None
    _transpositions: dict[str | None, Transposition] = field(default_factory=dict)
    _at: float = 0.0
    _onset: float = 0.0

    def add(self, measure: Element) -> None:
        """Take the next measure. Raises DamagedError."""
        bar = Bar()
        self._at = self._onset = 0.0
        for child in measure:
            if child.tag == "note":
                bar.notes += self._note(child, bar)
            elif child.tag in ("backup", "forward"):
                self._move(self._duration(child) * (1 if child.tag == "forward" else -1))
            elif child.tag == "attributes":
                self._attributes(child)
            bar.length = max(bar.length, self._at)
        bar.metre = self._metre
        self.bars.append(bar)

    def _note(self, note: Element, bar: Bar) -> Iterator[Sounding]:
        tags = {child.tag: child for child in note}
        if "grace" in tags:
            self.met["grace"] += 1
            return
        duration = self._duration(note)
        if "chord" not in tags:
            self._onset = self._at
            self._move(duration)
        end = self._onset + duration
        bar.length = max(bar.length, end)
        if "cue" in tags:
            self.met["cue"] += 1
        elif "unpitched" in tags or ("pitch" in tags and self._is_percussion(tags.get("instrument"))):
            self.met["percussion"] += 1
        elif "pitch" in tags:
            staff = text(tags["staff"]) if "staff" in tags else None
            for midi in self._pitches(tags["pitch"], staff):
                yield Sounding(midi, self._onset, end, numbers(note.get("time-only")))

    def _is_percussion(self, instrument: Element | None) -> bool:
        return self.drums if instrument is None else instrument.get("id") in self.percussion

    def _pitches(self, pitch: Element, staff: str | None) -> list[int]:
        step = text(pitch.find("step"))
        if step not in _STEPS:
            raise DamagedError(f"a pitch has the step {step!r}, expected one of {' '.join(_STEPS)}")
        alter = pitch.find("alter")
        written = OCTAVE * (whole(pitch.find("octave")) + 1) + _STEPS[step]
        moved = self._transpositions.get(staff) or self._transpositions.get(None) or Transposition()
        sounding = written + (0.0 if alter is None else decimal(alter)) + moved.semitones
        midi = floor(sounding + 0.5)
        self.met["microtone"] += midi != sounding
        return [midi, midi + moved.doubled] if moved.doubled else [midi]

    def _duration(self, element: Element) -> float:
        duration = decimal(element.find("duration"))
        if duration < 0:
            raise DamagedError(f"a duration is {duration:g}, expected 0 or more")
        if self._divisions is None:
            raise DamagedError("durations come before the divisions of a quarter note that they count")
        return duration / self._divisions

    def _move(self, quarters: float) -> None:
        self.met["backup"] += self._at + quarters < -1e-6
        self._at = max(self._at + quarters, 0.0)

    def _attributes(self, attributes: Element) -> None:
        for child in attributes:
            if child.tag == "divisions":
                self._divisions = decimal(child)
                if not 0 < self._divisions <= MOST_DIVISIONS:
                    raise DamagedError(f"a quarter note has {text(child)} divisions, expected 1 to {MOST_DIVISIONS}")
            elif child.tag == "transpose":
                self._transpose(child)
            elif child.tag == "time":
                self._metre = _metre(child)

    def _transpose(self, element: Element) -> None:
        octaves, chromatic, double = (element.find(tag) for tag in ("octave-change", "chromatic", "double"))
        moved = 0.0 if chromatic is None else decimal(chromatic)
        moved += OCTAVE * (0 if octaves is None else whole(octaves))
        doubled = 0 if double is None else OCTAVE if double.get("above") == "yes" else -OCTAVE
        staff = element.get("number")
        if staff is None:
            self._transpositions.clear()
        self._transpositions[staff] = Transposition(moved, doubled)


def text(element: Element | None) -> str:
    """What an element holds, without spaces around it; nothing where it is absent."""
    return "" if element is None or element.text is None else element.text.strip()


def decimal(element: Element | None) -> float:
    """The number that an element holds. Raises DamagedError."""
    found = text(element)
    if not _DECIMAL.fullmatch(found):
        raise DamagedError(f"{_named(element)} is {found[:40]!r}, expected a number")
    return float(found)


def whole(element: Element | None) -> int:
    """The whole number that an element holds. Raises DamagedError."""
    found = text(element)
    if not _WHOLE.fullmatch(found):
        raise DamagedError(f"{_named(element)} is {found[:40]!r}, expected a whole number")
    return int(found)


def _named(element: Element | None) -> str:
    return "a missing number" if element is None else f"<{element.tag}>"


def _metre(time: Element) -> float:
    """The quarter notes of a measure: such as 3/8, or 3+2/8, or 2/4 and 3/8; of free metre those of a whole note."""
    beats = [text(child) for child in time if child.tag == "beats"]
    kinds = [text(child) for child in time if child.tag == "beat-type"]
    quarters = 0.0
    for above, below in zip(beats, kinds, strict=False):
        if re.fullmatch(r"\d{1,4}(\s*\+\s*\d{1,4})*", above) and re.fullmatch(r"[1-9]\d{0,3}", below):
            quarters += WHOLE_NOTE * sum(int(found) for found in re.findall(r"\d+", above)) / int(below)
    return quarters or WHOLE_NOTE
