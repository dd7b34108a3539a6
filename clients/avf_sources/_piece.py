"""A piece as its notes: what the readers of music files give, before it is cut into frames.

The law: time is in quarter notes from the piece's beginning, as the file counts it, and nothing is rounded to a grid.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Note(NamedTuple):
    """A note that sounds from `start` to `end`, in quarter notes."""

    midi: int
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The notes of a piece, its title where it has one, and what of the file was left out, one sentence each."""

    notes: list[Note]
    title: str = ""
    remarks: tuple[str, ...] = ()


class DamagedError(ValueError):
    """A file is not what its kind's specification says. The message says what and where, without the file's name."""


def count(number: int, what: str) -> str:
    """`1 note`, `2 notes`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
