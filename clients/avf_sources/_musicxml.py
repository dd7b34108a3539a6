"""MusicXML as notes (MusicXML 4.0, partwise and timewise), as they sound and in the order in which they are played.

The law: a note begins and ends where the file's durations put it, and sounds where `transpose` puts it. A measure is as
long as the longest part of it. What is printed but does not sound (clefs, slurs, tuplet brackets, octave lines) has no
effect, for durations and pitches hold it already; what sounds and is not kept has a remark.
"""

from collections import Counter
from collections.abc import Iterable
from xml.etree.ElementTree import Element

from avf_sources._errors import SourceError
from avf_sources._limits import Limits
from avf_sources._measures import Bar, Part, text
from avf_sources._piece import DamagedError, Note, Piece, count
from avf_sources._repeats import order
from avf_sources._signs import Signs
from avf_sources._xml import walk

ROOTS = ("score-partwise", "score-timewise")
NOTE_BYTES = 200
"""Of memory that a note takes, about."""
FEWEST_FRAMES = 100
"""Of a measure, when a piece that is played again and again is held against the most frames."""
_DRUMS = "10"  # the MIDI channel
_WANTED = frozenset({"measure", "part", "score-part", "work-title", "movement-title"})
_REMARKS = {
    "grace": "Grace notes are left out: {}.",
    "cue": "Cue notes are left out: {}.",
    "percussion": "Percussion is left out: {}.",
    "microtone": "Pitches between two keys count at the nearer one: {}.",
    "backup": "A voice that would begin before its measure begins with it.",
    "middle": "A repeat in the middle of a measure counts at its end.",
    "swing": "Swing is not heard: notes count as they are written.",
    "lost": "A jump to a segno or coda that is nowhere is not followed.",
    "words": "A da capo, dal segno, coda or fine in words only, without a sound element, is not followed.",
}


def read(name: str, chunks: Iterable[bytes], limits: Limits) -> Piece:
    """The notes of a score. Raises DamagedError, and SourceError where it is larger than the limits."""
    score = Score()
    for path, element in walk(name, chunks, limits, wanted=_WANTED):
        score.take(path, element)
    return score.piece(name, limits)


class Score:
    """What has been read of a score: its parts by their ids, and its signs."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}
        self._signs = Signs()
        self._titles: dict[str, str] = {}
        self._places = 0  # measures that are over, where parts stand in measures

    def take(self, path: tuple[Element, ...], element: Element) -> None:
        """Take an element that has ended. Raises DamagedError."""
        root, outer = (*path, element)[0].tag, (element, *path)[-1]
        if root not in ROOTS:
            raise DamagedError(f"it is XML and no score: it begins with <{root[:40]}>, expected {' or '.join(ROOTS)}")
        if root == ROOTS[0] and (outer.tag, element.tag) == ("part", "measure"):
            part = self._part(outer)
            self._measure(part, len(part.bars), element, f"measure {element.get('number')} of part {outer.get('id')}")
        elif root == ROOTS[1] and (outer.tag, element.tag) == ("measure", "part"):
            part = self._part(element)
            part.bars += [Bar() for _ in range(self._places - len(part.bars))]
            self._measure(part, self._places, element, f"measure {outer.get('number')} of part {element.get('id')}")
        elif (root, outer.tag, element.tag) == (ROOTS[1], ROOTS[1], "measure"):
            self._places += 1
        elif element.tag == "score-part":
            self._instruments(element)
        elif element.tag in ("work-title", "movement-title"):
            self._titles[element.tag] = " ".join(text(element).split())

    def piece(self, name: str, limits: Limits) -> Piece:
        """The notes as they are played. Raises SourceError where they are too many."""
        measures = max((len(part.bars) for part in self._parts.values()), default=0)
        notes, played = self._played(name, measures, limits)
        met = sum((part.met for part in self._parts.values()), Counter(self._signs.met))
        remarks = [remark.format(count(met[what], "note")) for what, remark in _REMARKS.items() if met[what]]
        if played != measures:
            remarks.append(f"Repeats are played: {count(measures, 'measure')} as {played}.")
        title = self._titles.get("work-title") or self._titles.get("movement-title") or ""
        return Piece(notes=notes, title=title, remarks=tuple(remarks))

    def _played(self, name: str, measures: int, limits: Limits) -> tuple[list[Note], int]:
        """The notes, and how many measures are played."""
        bars = [[part.bars[at] for part in self._parts.values() if at < len(part.bars)] for at in range(measures)]
        notes: list[Note] = []
        start, played = 0.0, 0
        for at, time in order(self._signs.finish(measures)):
            played += 1
            size = NOTE_BYTES * (len(notes) + sum(len(bar.notes) for bar in bars[at]))
            if played * FEWEST_FRAMES > limits.max_frames or size > limits.max_bytes:
                raise SourceError(
                    f"{name} cannot be read: its repeats make more of it than {limits.max_frames // FEWEST_FRAMES} "
                    f"measures, or than notes for {limits.max_bytes} bytes; where that is no damage, raise max_frames, "
                    "or max_bytes"
                )
            for bar in bars[at]:
                sounding = (note for note in bar.notes if not note.times or time in note.times)
                notes += [Note(note.midi, start + note.start, start + note.end) for note in sounding]
            length = max(bar.length for bar in bars[at])
            start += length or max(bar.metre for bar in bars[at])
        return notes, played

    def _part(self, element: Element) -> Part:
        return self._parts.setdefault(element.get("id", ""), Part())

    def _measure(self, part: Part, place: int, measure: Element, where: str) -> None:
        try:
            part.add(measure)
            self._signs.add(place, measure)
        except DamagedError as error:
            raise DamagedError(f"{where}: {error}") from error

    def _instruments(self, element: Element) -> None:
        """Which instruments of a part are drums, by their MIDI channel; a part of drums alone needs not say it."""
        played = element.findall("midi-instrument")
        drums = [one for one in played if text(one.find("midi-channel")) == _DRUMS]
        percussion = frozenset(one.get("id", "") for one in drums)
        self._parts[element.get("id", "")] = Part(percussion, drums=bool(drums) and len(drums) == len(played))
