"""Music: MIDI and MusicXML files by their own ticks and divisions, and the pieces of music21 (`corpus:bach/bwv66.6`).

The law of the frames: frame f begins f * `frame` quarter notes after the start; a note counts in each frame at whose
beginning it sounds (start <= beginning < end). Short notes between two beginnings are not heard; grace notes and
chord symbols are no notes. This is how the JSB chorales of the data sets were cut: of 204 chorales compared, 177
agree with a sequence of the data at more than 60 % of the frames, and none agrees better when every note that sounds
anywhere in a frame counts.

The law of the transposition: the key is analysed, and the piece moved to C major or C minor by the smallest shift
(-6 to +5 semitones). "jsb" adds an octave: in the JSB arrays all notes stand twelve semitones above the sounding ones,
and models trained on them expect that; "c" leaves the octave out.

What a file holds is known by its first bytes: a MIDI file, an archive, or XML. docs/data.md lists what of them is kept.
"""

import struct
from fractions import Fraction
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avf_sources import (
    KEYS,
    MIDI_LOW,
    Limits,
    MissingExtra,
    Options,
    Recording,
    SourceError,
    _midi,
    _musicxml,
    _mxl,
    existing,
)
from avf_sources._piece import DamagedError, Note, Piece, count

SUFFIXES: tuple[str, ...] = (".mid", ".midi", ".musicxml", ".mxl", ".xml")
SCHEMES: tuple[str, ...] = ("corpus",)

OCTAVE = 12
FRAME_BYTES = 8 * KEYS
MIDI_BYTES = 32
"""Of memory that a byte of a MIDI file takes, about: a note of six bytes becomes one of some two hundred."""
REST = 16
"""Nothing goes on unchanged for more than this part of what max_bytes allows."""
_TOLERANCE = 1e-6  # quarter notes; offsets of triplets are rounded
_TOLERANCE_OF_FRAME = 1e-3  # where frames are so short that this is less
_BEYOND = 1 << 62  # frames, where there are more than can be counted


def read(name: str, options: Options) -> Recording:
    """The frames (T, 88) of a piece. Raises SourceError, and MissingExtra without music21 where that is needed."""
    if not (options.frame > 0 and isfinite(options.frame)):
        raise SourceError(f"a frame of {options.frame} quarter notes: expected more than 0")
    piece = _piece(name, options)
    if not piece.notes:
        raise SourceError(f"{name} has no notes")
    shift, remarks = _shift(piece.notes, options)
    moved = [Note(n.midi + shift, n.start, n.end) for n in piece.notes]
    rolled, outside = roll(moved, frame=options.frame, name=name, limits=options)
    remarks += piece.remarks
    if outside:
        remarks.append(
            f"{count(outside, 'note')} beyond the keyboard's 88 keys {'is' if outside == 1 else 'are'} left out."
        )
    return Recording(
        name=title(piece.title) or name.removeprefix("corpus:"),
        frames=rolled,
        piano_roll=True,
        frame=options.frame,
        remarks=tuple(remarks),
    )


def write_example(folder: Path, generator: np.random.Generator) -> str:
    """Eight quarter notes of the C major scale, in any order, as MIDI: 96 ticks a quarter."""
    path, notes = folder / "example.mid", generator.permutation([60, 62, 64, 65, 67, 69, 71, 72]).tolist()
    played = b"".join(bytes([0, 0x90, note, 64, 96, 0x80, note, 0]) for note in notes)
    track = played + bytes([0, 0xFF, 0x2F, 0])
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96)
    path.write_bytes(header + b"MTrk" + struct.pack(">I", len(track)) + track)
    return str(path)


def roll(
    notes: list[Note], *, frame: float, name: str = "the piece", limits: Limits | None = None
) -> tuple[NDArray[np.float64], int]:
    """The frames (T, 88) of these notes, and how many notes lie beyond the keyboard. Raises SourceError."""
    midi = np.array([note.midi for note in notes])
    edges = np.array([(note.start, note.end) for note in notes])
    frames = _empty(name, edges, frame, limits or Limits())
    first, beyond = np.ceil((edges - _tolerance(frame)) / frame).astype(np.int64).clip(0).T
    for column in range(KEYS):
        mine = midi == column + MIDI_LOW
        if mine.any():
            struck, let_go = (np.bincount(at[mine], minlength=len(frames) + 1) for at in (first, beyond))
            frames[np.cumsum(struck - let_go)[:-1] > 0, column] = 1.0
    return frames, int(((midi < MIDI_LOW) | (midi >= MIDI_LOW + KEYS)).sum())


def _empty(name: str, edges: NDArray[np.float64], frame: float, limits: Limits) -> NDArray[np.float64]:
    """Frames of silence for notes with these edges, where there are not too many. Raises SourceError."""
    with np.errstate(over="ignore"):
        needed = float((edges.max() - _tolerance(frame)) / frame)
        unchanged = float(np.diff(np.unique(edges), prepend=0.0).max() / frame)
    frames = max(ceil(min(needed, _BEYOND)), 1)
    limits.check_frames(name, frames)
    limits.check_bytes(name, frames * FRAME_BYTES)
    if unchanged * FRAME_BYTES * REST > limits.max_bytes:
        raise SourceError(
            f"{name} cannot be read: nothing begins or ends in it for {ceil(unchanged)} frames; where that is no "
            f"damage, raise max_bytes to {ceil(unchanged) * FRAME_BYTES * REST}"
        )
    return np.zeros((frames, KEYS))


def _tolerance(frame: float) -> float:
    return min(_TOLERANCE, _TOLERANCE_OF_FRAME * frame)


def title(found: str) -> str:
    """The title of a piece, or nothing where it has none or only a file's name."""
    return "" if found.lower().endswith(SUFFIXES) else found


def _piece(name: str, options: Options) -> Piece:
    """The notes of a file, known by its first bytes, or of a piece of the corpus. Raises SourceError."""
    scheme, colon, piece = name.partition(":")
    if colon and scheme in SCHEMES:
        return _of_corpus(piece)
    path = existing(name)
    with path.open("rb") as file:
        magic = file.read(4)
    midi = magic == _midi.HEADER or (path.suffix.lower() in (".mid", ".midi") and magic[:2] != _mxl.MAGIC)
    try:
        if midi:
            options.check_bytes(name, MIDI_BYTES * path.stat().st_size)
            return _midi.read(path.read_bytes())
        return _musicxml.read(name, _mxl.text(name, path, options), options)
    except DamagedError as error:
        kind = "MIDI" if midi else "MusicXML"
        raise SourceError(f"{name} cannot be read as {kind}: {error}") from error


def _of_corpus(piece: str) -> Piece:
    """A piece that music21 ships, as music21 reads it: its pitches as written, its repeats once."""
    try:
        from music21 import bar, corpus, repeat
    except ImportError as error:
        raise MissingExtra("reading the corpus of music", "music") from error
    try:
        score = corpus.parse(piece)
    except Exception as error:  # music21 raises its own, and those of its parsers, of many kinds
        raise SourceError(f"music21's corpus has no piece {piece!r} that can be read: {error}") from error
    notes = []
    for element in score.flatten().notes:
        length = element.quarterLength
        if length == 0 or "ChordSymbol" in element.classes or "Unpitched" in element.classes:
            continue
        start = float(Fraction(element.offset))
        notes += [Note(pitch.midi, start, start + float(length)) for pitch in element.pitches]
    found = score.metadata.bestTitle if score.metadata is not None else None
    repeats = any(score.recurse().getElementsByClass((bar.Repeat, repeat.RepeatMark)))
    remarks = ("Repeats are read once, as they are written.",) if repeats else ()
    return Piece(notes=notes, title=str(found or "").strip(), remarks=remarks)


def _shift(notes: list[Note], options: Options) -> tuple[int, list[str]]:
    if options.transpose == "none":
        return 0, []
    key = _key(notes)
    shift = shift_to_c(key.tonic.pitchClass)
    remarks = [f"From {key.name.replace('-', ' flat')} moved by {shift:+d} semitones to C {key.mode}."]
    if options.transpose == "jsb":
        return shift + OCTAVE, [*remarks, "Set an octave higher, as the JSB arrays are."]
    return shift, remarks


def _key(notes: list[Note]) -> Any:
    """The key that music21 finds, from how long each pitch class sounds; that is all it asks."""
    try:
        from music21 import note, stream
    except ImportError as error:
        raise MissingExtra('finding the key of music (transpose="none" needs none)', "music") from error
    lengths = np.zeros(OCTAVE)
    np.add.at(lengths, [n.midi % OCTAVE for n in notes], [n.end - n.start for n in notes])
    classes: Any = stream.Stream()
    for pitch_class in np.flatnonzero(lengths):
        classes.append(note.Note(int(pitch_class) + 60, quarterLength=float(lengths[pitch_class])))
    try:
        return classes.analyze("key")
    except Exception as error:  # music21 fails in many ways on scores without tonality
        raise SourceError(f"no key can be found in the piece, try --transpose none: {error}") from error


def shift_to_c(tonic: int) -> int:
    """The smallest shift, -6 to +5 semitones, that moves this pitch class (C is 0) to C."""
    return (-tonic + 6) % 12 - 6
