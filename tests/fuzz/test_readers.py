"""The short form: some hundred files that are almost right at every reader; the long form: ten thousand."""

from pathlib import Path
from random import Random

import avf_sources as sources
import pytest

from tests.fuzz import readers
from tests.fuzz.readers import Kind

pytestmark = pytest.mark.slow


def _misbehave(path: str, random: Random) -> object:
    """A reader that does what none should: by the first byte of its file."""
    first = Path(path).read_bytes()
    if first == b"r":
        raise sources.SourceError("refused")
    if first == b"e":
        raise KeyError("not mine")
    if first == b"m":
        held = bytearray(readers.MEMORY + (64 << 20))
        held[::4096] = bytes(len(range(0, len(held), 4096)))  # each page is touched
    while first == b"t":
        pass
    return None


def _first_byte(random: Random, name: str, data: bytes) -> bytes:
    return random.choice((b"r", b"e", b"m", b"t", b"."))


SEED, MADE = 25, [b"e", b"t", b".", b"m", b".", b"e", b"r"]
WRONG = Kind(name="wrong", valid=lambda: {"x": b"."}, spoil=_first_byte, read=_misbehave)


def test_faults_of_readers_are_found() -> None:
    """One that raises something else, takes too much memory or does not come back; and those after it are read."""
    report = readers.run("tests.fuzz.test_readers:WRONG", count=len(MADE), seed=SEED)
    assert [readers.spoilt(WRONG, SEED, number)[1] for number in range(len(MADE))] == MADE
    assert (report.files, report.read, report.refused) == (7, 2, 1)
    beginnings = ["0: x raised KeyError", "1: its reader died of signal", "3: x took", "5: x raised KeyError"]
    assert [fault[: len(begin)] for fault, begin in zip(report.faults, beginnings, strict=True)] == beginnings


@pytest.mark.parametrize("place", readers.READERS)
def test_the_same_seed_gives_the_same_files(place: str) -> None:
    """So that whatever is found can be found again."""
    kind = readers.kind(place)
    first, second = ([readers.spoilt(kind, 3, i)[:2] for i in range(20)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 15


@pytest.mark.parametrize("place", readers.READERS)
def test_whatever_a_file_holds_it_is_read_or_refused(place: str) -> None:
    """No other exception, no memory beyond bounds, no time beyond bounds; and both things happen."""
    report = readers.run(place, count=300)
    assert report.faults == []
    assert min(report.read, report.refused) > 20


@pytest.mark.long
@pytest.mark.parametrize("place", readers.READERS)
def test_ten_thousand_files_are_read_or_refused(place: str) -> None:
    """The same of another seed, at length."""
    report = readers.run(place, count=10_000, seed=1)
    assert report.faults == []
    assert report.files == 10_000
