"""In which order the measures of a score are played: repeats, endings, da capo, dal segno, coda and fine.

The law (MusicXML 4.0, elements repeat, ending and sound; where it is silent, the custom of players): a section is
played as often as its last bar line says, each time with the ending of that number. A da capo or dal segno is followed
once, after the repeats of its measure; from there on sections are played once, with their last ending, unless they ask
to be repeated after the jump, to the fine, or from "to coda" on at the coda. Signs count between measures.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

JUMPS = ("dacapo", "dalsegno", "tocoda", "fine")
_NUMBERS = re.compile(r"\d{1,4}")


@dataclass
class Marks:
    """What stands at a measure.

    forward     whether a repeated section begins with it
    backward    how often the section that it ends is played; 0 where it ends none
    after_jump  whether that section is repeated after a da capo or dal segno, too
    opens       the numbers of an ending that begins with it
    closes      whether an ending ends with it
    targets     "segno" and "coda" with their names
    jumps       JUMPS that leave it: the name they aim at, and the times at which they are followed (none: by custom)
    """

    forward: bool = False
    backward: int = 0
    after_jump: bool = False
    opens: frozenset[int] = frozenset()
    closes: bool = False
    targets: set[tuple[str, str]] = field(default_factory=set)
    jumps: dict[str, tuple[str, frozenset[int]]] = field(default_factory=dict)


def numbers(text: str | None) -> frozenset[int]:
    """The numbers of a list such as "1, 2"."""
    return frozenset(int(found) for found in _NUMBERS.findall(text or "")) - {0}


def order(marks: list[Marks]) -> Iterator[tuple[int, int]]:
    """The measures as they are played, each with how often it has been by then."""
    return _Player(marks).play()


class _Player:
    """Where a player is, and what of the signs has been followed."""

    def __init__(self, marks: list[Marks]) -> None:
        self._marks = marks
        self._endings = _endings(marks)
        self._visits = [0] * len(marks)
        self._followed: set[int] = set()
        self._begin, self._time = 0, 1  # of the section that is played
        self._jumped = self._once = False  # whether a jump was made; whether sections are played once, since
        self._returns = any("dacapo" in mark.jumps or "dalsegno" in mark.jumps for mark in marks)
        self._begins = [i for i, mark in enumerate(marks) if mark.forward]
        self._targets: dict[tuple[str, str | None], list[int]] = {}  # by kind and name, and by kind alone
        for i, mark in enumerate(marks):
            for kind, name in mark.targets:
                self._targets.setdefault((kind, name), []).append(i)
            for kind in {kind for kind, _ in mark.targets}:
                self._targets.setdefault((kind, None), []).append(i)

    def play(self) -> Iterator[tuple[int, int]]:
        """Each measure, and which time it is."""
        at = 0
        while at < len(self._marks):
            if self._marks[at].forward and at != self._begin:
                self._begin, self._time = at, 1
            if self._passed_over(at):
                at = self._leave(at)
                continue
            self._visits[at] += 1
            yield at, self._visits[at]
            if self._follows(at, "fine"):
                return
            at = self._next(at)

    def _next(self, at: int) -> int:
        if self._repeats(at):
            self._time += 1
            return self._begin
        for jump in ("tocoda", "dacapo", "dalsegno"):
            if self._follows(at, jump) and (target := self._target(at, jump)) is not None:
                return self._jump(at, target, back=jump != "tocoda")
        return self._leave(at)

    def _leave(self, at: int) -> int:
        """The next measure, in a new section where this one has come to its end."""
        inside = self._endings[at] is not None
        goes_on = inside and at + 1 < len(self._marks) and self._endings[at + 1] is not None
        if not goes_on and (inside or self._marks[at].backward):
            self._begin, self._time = at + 1, 1
        return at + 1

    def _passed_over(self, at: int) -> bool:
        ending = self._endings[at]
        if ending is None:
            return False
        mine, times = ending
        return (times if self._once else self._time) not in mine

    def _repeats(self, at: int) -> bool:
        mark, ending = self._marks[at], self._endings[at]
        if not mark.backward or (self._once and not mark.after_jump):
            return False
        return self._time < (mark.backward if ending is None else ending[1])

    def _follows(self, at: int, jump: str) -> bool:
        found = self._marks[at].jumps.get(jump)
        if found is None:
            return False
        if found[1]:
            return self._visits[at] in found[1]
        if jump == "fine":
            return self._jumped
        if jump == "tocoda":
            return self._jumped if self._returns else self._visits[at] == 2
        return at not in self._followed

    def _target(self, at: int, jump: str) -> int | None:
        """The measure that a jump leads to, by its name, else the nearest of its kind; none where there is none."""
        if jump == "dacapo":
            return 0
        aim = "coda" if jump == "tocoda" else "segno"
        if named := self._targets.get((aim, self._marks[at].jumps[jump][0])):
            return named[0]
        places = self._targets.get((aim, None), [])
        nearest = bisect_right(places, at) - (aim == "segno")
        return places[nearest] if 0 <= nearest < len(places) else None

    def _jump(self, at: int, target: int, *, back: bool) -> int:
        self._followed.add(at)
        self._jumped, self._once = self._jumped or back, back
        before = bisect_right(self._begins, target)
        self._begin, self._time = (self._begins[before - 1] if before else 0) if back else target, 1
        return target


def _endings(marks: list[Marks]) -> list[tuple[frozenset[int], int] | None]:
    """For each measure within an ending its numbers, and how often the section of it and its neighbours is played."""
    own: list[frozenset[int] | None] = [None] * len(marks)
    for first, mark in enumerate(marks):
        if mark.opens:
            beyond = _beyond(marks, first)
            own[first:beyond] = [mark.opens] * (beyond - first)
    found: list[tuple[frozenset[int], int] | None] = []
    for _, run in groupby(own, key=lambda mine: mine is None):
        group = list(run)
        times = _times([mine for mine in group if mine is not None])
        found += [None if mine is None else (mine, times) for mine in group]
    return found


def _beyond(marks: list[Marks], first: int) -> int:
    """The measure after an ending: after its close or its repeat; one that is never closed has a single measure."""
    for at in range(first, len(marks)):
        if at > first and (marks[at].opens or marks[at].forward):
            break
        if marks[at].closes or marks[at].backward:
            return at + 1
    return first + 1


def _times(endings: list[frozenset[int]]) -> int:
    """The last number of endings side by side; where there is a first one alone, what follows it is the second."""
    last = max((max(mine) for mine in endings), default=0)
    return last + (len(set(endings)) == 1 and 1 in endings[0])
