"""Music by music21: MIDI and MusicXML files, and the pieces that music21 ships (`corpus:bach/bwv66.6`).

The law of the frames: frame f begins f * `frame` quarter notes after the start; a note counts in each frame at whose
beginning it sounds (start <= beginning < end). Short notes between two beginnings are not heard; grace notes and
chord symbols are no notes. This is how the JSB chorales of the data sets were cut: of 204 chorales compared, 177
agree with a sequence of the data at more than 60 % of the frames, and none agrees better when every note that sounds
anywhere in a frame counts.

The law of the transposition: the key is analysed, and the piece moved to C major or C minor by the smallest shift
(-6 to +5 semitones). "jsb" adds an octave: in the JSB arrays all notes stand twelve semitones above the sounding ones,
and models trained on them expect that; "c" leaves the octave out.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avf_sources import (
    KEYS,
    MIDI_LOW,
    MissingExtra,
    Options,
    Recording,
    SourceError,
    existing,
)

SUFFIXES: tuple[str, ...] = (".mid", ".midi", ".musicxml", ".mxl", ".xml")
SCHEMES: tuple[str, ...] = ("corpus",)

OCTAVE = 12
LONGEST = 1_000_000
"""Frames; a file that claims more is damaged."""
_TOLERANCE = 1e-6  # quarter notes; offsets of triplets are rounded


@dataclass(frozen=True)
class Note:
    """A note that sounds from `start` to `end`, in quarter notes."""

    midi: int
    start: float
    end: float


def read(name: str, options: Options) -> Recording:
    """The frames (T, 88) of a piece. Raises SourceError, and MissingExtra without music21."""
    if not options.frame > 0:
        raise SourceError(f"a frame of {options.frame} quarter notes: expected more than 0")
    score = _parse(name)
    notes = _notes(score)
    if not notes:
        raise SourceError(f"{name} has no notes")
    shift, remarks = _shift(score, options)
    rolled, outside = roll([Note(n.midi + shift, n.start, n.end) for n in notes], frame=options.frame)
    if outside:
        remarks.append(f"{outside} notes beyond the keyboard's 88 keys are left out.")
    return Recording(
        name=title(score) or name.removeprefix("corpus:"),
        frames=rolled,
        piano_roll=True,
        frame=options.frame,
        remarks=tuple(remarks),
    )


def roll(notes: list[Note], *, frame: float) -> tuple[NDArray[np.float64], int]:
    """The frames (T, 88) of these notes, and how many notes lie beyond the keyboard."""
    count = ceil((max(note.end for note in notes) - _TOLERANCE) / frame)
    if count > LONGEST:
        raise SourceError(f"the piece has {count} frames, more than {LONGEST}: is the file damaged?")
    frames = np.zeros((max(count, 1), KEYS))
    outside = 0
    for note in notes:
        column = note.midi - MIDI_LOW
        if 0 <= column < KEYS:
            first, beyond = (ceil((edge - _TOLERANCE) / frame) for edge in (note.start, note.end))
            frames[first:beyond, column] = 1.0
        else:
            outside += 1
    return frames, outside


def title(score: Any) -> str:
    """The title of a score, or nothing where it has none or only a file's name."""
    found = score.metadata.bestTitle if score.metadata is not None else None
    text = str(found or "").strip()
    return "" if text.lower().endswith(SUFFIXES) else text


def _parse(name: str) -> Any:
    try:
        from music21 import converter, corpus
    except ImportError as error:
        raise MissingExtra("reading music", "music") from error
    scheme, colon, piece = name.partition(":")
    if colon and scheme in SCHEMES:
        try:
            return corpus.parse(piece)
        except Exception as error:  # music21 raises its own, and those of its parsers, of many kinds
            raise SourceError(f"music21's corpus has no piece {piece!r} that can be read: {error}") from error
    path = existing(name)
    if path.suffix.lower() in (".mid", ".midi"):
        _check_midi(name, path.read_bytes())
    try:
        return converter.parse(path, forceSource=True)
    except Exception as error:  # as above: a damaged file may fail anywhere in a parser
        detail = str(error) or type(error).__name__
        raise SourceError(
            f"{name} cannot be read as {path.suffix} music, it may be truncated; export it again ({detail})"
        ) from error


def _check_midi(name: str, data: bytes) -> None:
    """Refuse a MIDI file whose tracks are not all there: music21 would read what is left as if it were the piece."""
    if data[:4] != b"MThd" or len(data) < 14:
        raise SourceError(f"{name} cannot be read as MIDI: it does not begin with a MIDI header")
    tracks, position = int.from_bytes(data[10:12]), 8 + int.from_bytes(data[4:8])
    found = 0
    while found < tracks and position + 8 <= len(data):
        found += data[position : position + 4] == b"MTrk"
        position += 8 + int.from_bytes(data[position + 4 : position + 8])
    if found < tracks or position > len(data):
        raise SourceError(f"{name} cannot be read as MIDI, it is truncated: {len(data)} bytes; export it again")


def _notes(score: Any) -> list[Note]:
    notes = []
    for element in score.flatten().notes:
        length = element.quarterLength
        if length == 0 or "ChordSymbol" in element.classes or "Unpitched" in element.classes:
            continue
        start = float(Fraction(element.offset))
        notes += [Note(pitch.midi, start, start + float(length)) for pitch in element.pitches]
    return notes


def _shift(score: Any, options: Options) -> tuple[int, list[str]]:
    if options.transpose == "none":
        return 0, []
    try:
        key = score.analyze("key")
    except Exception as error:  # music21 fails in many ways on scores without tonality
        raise SourceError(f"no key can be found in the piece, try --transpose none: {error}") from error
    shift = shift_to_c(key.tonic.pitchClass)
    remarks = [f"From {key.name.replace('-', ' flat')} moved by {shift:+d} semitones to C {key.mode}."]
    if options.transpose == "jsb":
        return shift + OCTAVE, [*remarks, "Set an octave higher, as the JSB arrays are."]
    return shift, remarks


def shift_to_c(tonic: int) -> int:
    """The smallest shift, -6 to +5 semitones, that moves this pitch class (C is 0) to C."""
    return (-tonic + 6) % 12 - 6
