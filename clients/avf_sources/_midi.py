"""Standard MIDI files as notes, by their ticks (MIDI 1.0: Standard MIDI Files 1.1).

The law: a note sounds from the tick of its note-on to the tick at which its key is let go, and keys are held per track
and channel. Letting a key go ends all of its notes that began before; those that begin at this very tick are of no
length where nothing else ended. What is no note is left out: with a remark where it is heard, without one where it is
not. A file that is not all there is refused: what is left of it is not the piece.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from avf_sources._piece import DamagedError, Note, Piece, count

HEADER, TRACK = b"MThd", b"MTrk"
TEMPO, END = 0x51, 0x2F
PERCUSSION = 9  # channel 10, counted from 0
SUSTAIN, FINE_RPN, ALL_SOUND_OFF, ALL_NOTES_OFF = 64, 100, 120, 123
CENTRE = 0x2000  # of the pitch wheel
_DATA = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
"""Bytes after the status of a channel's message, by its upper half."""
_SYSTEM = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
"""The same of messages that belong on a wire; programs that record everything leave them in files."""
_DEFAULT_TEMPO = 500_000  # microseconds of a quarter note
_NTSC = 30_000 / 1001  # what "29 frames a second" is

_REMARKS = {
    "percussion": "Percussion (channel 10) is left out: {}.",
    "hanging": "Keys that are never let go end with their track: {}.",
    "pedal": "The sustain pedal is not heard: notes end where their keys are let go.",
    "bend": "The pitch wheel is not heard: notes count at their keys.",
    "tuning": "Tuning messages are not heard: notes count at their keys.",
    "endless": "A track has no end mark: it ends with its last message.",
    "beyond": "What follows the end mark of a track is left out.",
}


class Event(NamedTuple):
    """A message of a track by its `status`: of a channel; TEMPO: microseconds; END: 1 if marked, bytes beyond it."""

    tick: int
    status: int
    first: int
    second: int


@dataclass
class Track:
    """The notes of a track in ticks, and how often each thing was met that is not heard."""

    notes: list[tuple[int, int, int]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    _held: list[dict[int, list[int]]] = field(default_factory=lambda: [{} for _ in range(16)])

    def read(self, data: bytes) -> None:
        """Take the messages of a track. Raises DamagedError."""
        for tick, status, first, second in events(data):
            kind, channel = status & 0xF0, status & 0x0F
            if status == TEMPO:
                self.tempos.append((tick, first))
            elif status == END:
                self._end(tick, marked=bool(first), beyond=second)
            elif kind == 0x90 and second:
                self._held[channel].setdefault(first, []).append(tick)
            elif kind in (0x80, 0x90):
                self._let_go(channel, first, tick)
            elif kind == 0xB0:
                self._control(channel, first, second, tick)
            elif kind == 0xE0 and first | second << 7 != CENTRE:
                self.met["bend"] += 1

    def _let_go(self, channel: int, key: int, tick: int) -> None:
        begun = self._held[channel].pop(key, [])
        ended = [start for start in begun if start < tick]
        if ended and len(ended) < len(begun):
            self._held[channel][key] = begun[len(ended) :]
        self._add(channel, key, ended, tick)

    def _add(self, channel: int, key: int, starts: list[int], end: int) -> None:
        if channel == PERCUSSION:
            self.met["percussion"] += len(starts)
        else:
            self.notes += [(key, start, end) for start in starts]

    def _control(self, channel: int, controller: int, value: int, tick: int) -> None:
        if controller == ALL_SOUND_OFF or controller >= ALL_NOTES_OFF:
            for key in list(self._held[channel]):
                self._let_go(channel, key, tick)
        self.met["pedal"] += controller == SUSTAIN and value >= 64
        self.met["tuning"] += controller == FINE_RPN and value in (1, 2)

    def _end(self, tick: int, *, marked: bool, beyond: int) -> None:
        self.met["endless"] += not marked
        self.met["beyond"] += beyond
        for channel, held in enumerate(self._held):
            for key, begun in held.items():
                starts = [start for start in begun if start < tick]
                self.met["hanging"] += len(starts) * (channel != PERCUSSION)
                self._add(channel, key, starts, tick)


def read(data: bytes) -> Piece:
    """The notes of a MIDI file. Raises DamagedError."""
    kind, division, chunks, beyond = _chunks(data)
    if kind > 2:
        raise DamagedError(f"it is of format {kind}, expected 0, 1 or 2")
    if kind == 2 and len(chunks) > 1:
        raise DamagedError(f"it is of format 2, {len(chunks)} pieces of their own: save each as a file of format 1")
    tracks = []
    for chunk in chunks:
        tracks.append(Track())
        tracks[-1].read(chunk)
    remarks = _remarks(sum((track.met for track in tracks), Counter()))
    if beyond:
        remarks.append(f"What follows the last track is left out: {count(beyond, 'byte')}.")
    notes = [note for track in tracks for note in track.notes]
    if division < 0x8000:
        if division == 0:
            raise DamagedError("it has 0 ticks a quarter note, expected 1 to 32767")
        return Piece(notes=[Note(k, a / division, b / division) for k, a, b in notes], remarks=tuple(remarks))
    clock = Clock(division, sorted(tempo for track in tracks for tempo in track.tempos))
    remarks.append("Its ticks are those of a SMPTE clock: quarter notes follow from its tempo, 120 where it has none.")
    return Piece(notes=[Note(k, clock.quarters(a), clock.quarters(b)) for k, a, b in notes], remarks=tuple(remarks))


def events(data: bytes) -> Iterator[Event]:
    """The messages of a track that matter, and always its end as the last one. Raises DamagedError."""
    at = tick = running = 0
    try:
        while at < len(data):
            delta, at = number(data, at)
            tick += delta
            status = data[at]
            if status < 0x80:
                status = running
            else:
                at += 1
            if status < 0xF0:
                if not status:
                    raise DamagedError("a track begins in the middle of a message")
                running = status
                first = data[at]
                second = data[at + 1] if (size := _DATA[status >> 4]) == 2 else 0
                if (first | second) & 0x80:
                    raise DamagedError(f"a message of a channel is cut short at byte {at} of its track")
                yield Event(tick, status, first, second)
                at += size
            elif status in _SYSTEM:
                at += _SYSTEM[status]
            else:
                kind, body, at = _packet(data, at, status)
                if kind == END:
                    yield Event(tick, END, 1, len(data) - at)
                    return
                if kind == TEMPO:
                    yield Event(tick, TEMPO, int.from_bytes(body), 0)
    except IndexError:
        raise DamagedError("it is truncated: a track ends in the middle of a message") from None
    yield Event(tick, END, 0, 0)


def number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, of four bytes at most, and where it ends. Raises DamagedError, and IndexError."""
    value = 0
    for place in range(at, at + 4):
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    raise DamagedError(f"a number at byte {at} of its track has more than four bytes")


def _packet(data: bytes, at: int, status: int) -> tuple[int, bytes, int]:
    """A meta event, as its kind, or a system exclusive packet (kind 0); what it holds, and where it ends."""
    kind = 0
    if status == 0xFF:
        kind, at = data[at], at + 1
    elif status not in (0xF0, 0xF7):
        raise DamagedError(f"byte {at - 1} of its track, {status:#x}, is no message")
    size, at = number(data, at)
    if at + size > len(data):
        raise IndexError
    return kind, data[at : at + size], at + size


def _chunks(data: bytes) -> tuple[int, int, list[bytes], int]:
    """Format, division, tracks, and how many bytes follow them; chunks of other kinds are passed over."""
    if data[:4] != HEADER or len(data) < 14 or (size := int.from_bytes(data[4:8])) < 6:
        raise DamagedError("it does not begin with a MIDI header")
    kind, expected, division = (int.from_bytes(data[at : at + 2]) for at in (8, 10, 12))
    tracks: list[bytes] = []
    position = 8 + size
    while len(tracks) < expected and position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8])
        if data[position : position + 4] == TRACK:
            tracks.append(data[position + 8 : end])
        position = end
    if len(tracks) < expected or position > len(data):
        raise DamagedError(f"it is truncated: {len(data)} bytes; export it again")
    return kind, division, tracks, len(data) - position


class Clock:
    """Ticks of a SMPTE clock as quarter notes: seconds from its frames, quarters from the tempo that holds."""

    def __init__(self, division: int, tempos: list[tuple[int, int]]) -> None:
        """`division` as in the file's header; `tempos` as (tick, microseconds a quarter note), by ticks."""
        frames, self._parts = 0x100 - (division >> 8), division & 0xFF
        if frames not in (24, 25, 29, 30) or not self._parts or any(tempo == 0 for _, tempo in tempos):
            raise DamagedError(
                f"its clock of {frames} frames a second and {self._parts} ticks a frame is none of SMPTE's"
            )
        self._rate = (_NTSC if frames == 29 else frames) * self._parts  # ticks a second
        self._ticks, self._quarters, self._tempos = [0], [0.0], [_DEFAULT_TEMPO]
        for tick, tempo in tempos:
            self._quarters.append(self.quarters(tick))
            self._ticks.append(tick)
            self._tempos.append(tempo)

    def quarters(self, tick: int) -> float:
        """The quarter notes that have passed at a tick."""
        last = bisect_right(self._ticks, tick) - 1
        seconds = (tick - self._ticks[last]) / self._rate
        return self._quarters[last] + seconds * 1e6 / self._tempos[last]


def _remarks(met: Counter[str]) -> list[str]:
    return [text.format(count(met[what], "note")) for what, text in _REMARKS.items() if met[what]]
