"""The signs of MusicXML that say in which order its measures are played, gathered from all of its parts.

The law: `sound` elements and bar lines are followed; what stands in words only is a remark, for words say it in too
many ways.
"""

import re
from collections import Counter
from xml.etree.ElementTree import Element

from avf_sources._measures import text
from avf_sources._piece import DamagedError
from avf_sources._repeats import JUMPS, Marks, numbers

_IN_WORDS = {
    ("dacapo", "dalsegno"): re.compile(r"\b(d\.?\s?[cs]\.?(?=\s|$)|da\s+capo|dal\s+segno)", re.IGNORECASE),
    ("tocoda",): re.compile(r"^\s*to\s+coda\b", re.IGNORECASE),
    ("fine",): re.compile(r"^\s*fine\b", re.IGNORECASE),
}
_MOST_TIMES = 1000


class Signs:
    """The marks of each measure, by its place; "words" are met where they name a jump that no sound element makes."""

    def __init__(self) -> None:
        self.marks: list[Marks] = []
        self.met: Counter[str] = Counter()
        self._words: set[tuple[int, tuple[str, ...]]] = set()

    def add(self, place: int, measure: Element) -> None:
        """Take the signs of a measure of one part. Raises DamagedError."""
        while len(self.marks) <= place + 1:  # one more than there are measures: a repeat may begin after the last
            self.marks.append(Marks())
        played = False
        for child in measure:
            if child.tag == "barline":
                self._barline(place, child, played)
            elif child.tag == "sound":
                self._sound(place, child, played)
            elif child.tag == "direction":
                self._direction(place, child, played)
            played = played or (child.tag in ("note", "forward") and child.find("grace") is None)

    def finish(self, count: int) -> list[Marks]:
        """The marks of all measures, once they are known."""
        marks = (self.marks + [Marks()] * count)[:count]
        signs = {kind for mark in marks for kind, _ in mark.targets}
        for jump, sign in (("dalsegno", "segno"), ("tocoda", "coda")):
            self.met["lost"] += sign not in signs and any(jump in mark.jumps for mark in marks)
        for place, jumps in self._words:
            self.met["words"] += not marks[place].jumps.keys() & jumps
        return marks

    def _barline(self, place: int, barline: Element, played: bool) -> None:
        self.met["middle"] += barline.get("location") == "middle" and barline.find("repeat") is not None
        for child in barline:
            if child.tag == "repeat":
                self._repeat(place, child, played)
            elif child.tag == "ending" and child.get("type") == "start":
                self.marks[place].opens |= numbers(child.get("number"))
            elif child.tag == "ending":
                self.marks[place].closes = True
            elif child.tag in ("segno", "coda"):
                self.marks[place].targets.add((child.tag, barline.get(child.tag, "")))

    def _repeat(self, place: int, repeat: Element, played: bool) -> None:
        if repeat.get("direction") == "forward":
            self.marks[place + played].forward = True
            return
        times = repeat.get("times", "2")
        if not re.fullmatch(r"\d{1,9}", times) or not 1 <= int(times) <= _MOST_TIMES:
            raise DamagedError(f"a section is to be played {times[:40]!r} times, expected 1 to {_MOST_TIMES}")
        if not played and place:
            place -= 1  # a bar line at the left
        mark = self.marks[place]
        mark.backward = max(mark.backward, int(times))
        mark.after_jump = mark.after_jump or repeat.get("after-jump") == "yes"

    def _sound(self, place: int, sound: Element, played: bool) -> None:
        mark = self.marks[place]
        for kind in ("segno", "coda"):
            if sound.get(kind) is not None:
                mark.targets.add((kind, sound.get(kind, "")))
        for jump in JUMPS:
            if sound.get(jump, "no") != "no":
                mark.jumps[jump] = sound.get(jump, ""), numbers(sound.get("time-only"))
        if sound.get("forward-repeat") == "yes":
            self.marks[place + played].forward = True
        self.met["swing"] += sound.find("swing/first") is not None

    def _direction(self, place: int, direction: Element, played: bool) -> None:
        sounds = direction.findall("sound")
        for sound in sounds:
            self._sound(place, sound, played)
        for shown in direction.iterfind("direction-type/*"):
            if shown.tag in ("segno", "coda") and not any(JUMPS & s.attrib.keys() for s in sounds):
                self.marks[place].targets.add((shown.tag, ""))
            elif shown.tag == "words":
                self._words |= {(place, jumps) for jumps, words in _IN_WORDS.items() if words.search(text(shown))}
