"""A script called for one session: what it is told, and the bytes by which it is told.

The law: the bytes are those that redis-py packs of the same. There is a commit at every step: what is the same in all
of them is packed once, which is an eighth of the work.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from avf_server.stores._pipeline import argument, packed, strings
from avf_server.stores.base import Commit


def key(session: str) -> str:
    """The key of a session's hash."""
    return f"avf:{{{session}}}"


def history_key(session: str) -> str:
    """The key of a session's history."""
    return f"avf:{{{session}}}:history"


class Call(Protocol):
    """A script's call."""

    @property
    def session(self) -> str:
        """The session whose keys it is told."""
        ...

    @property
    def arguments(self) -> Sequence[bytes | str | int]:
        """What it is told beside the keys."""
        ...

    def packed(self, script: bytes) -> bytes:
        """The call by the name under which Redis holds the script."""
        ...


class Told(NamedTuple):
    """Any script's call."""

    session: str
    arguments: Sequence[bytes | str | int]

    def packed(self, script: bytes) -> bytes:
        """The call by the name under which Redis holds the script."""
        keys = key(self.session), history_key(self.session)
        return packed([b"EVALSHA", script, b"2", *map(argument, (*keys, *self.arguments))])


class Committed(NamedTuple):
    """A commit. `keeps`: how many replies, for how many milliseconds, how many notes."""

    commit: Commit
    keeps: tuple[int, int, int]

    @property
    def session(self) -> str:
        """The session whose keys it is told."""
        return self.commit.session

    @property
    def arguments(self) -> Sequence[bytes | str | int]:
        """What the script is told beside the keys."""
        at = self.commit.continues
        steps = [part for step in self.commit.steps for part in (step.reply, step.note)]
        return [at.epoch, at.seq, self.commit.belief, *self.keeps, *steps]

    def packed(self, script: bytes) -> bytes:
        """The call by the name under which Redis holds the script."""
        commit = self.commit
        of, epoch, seq = key(commit.session).encode(), b"%d" % commit.continues.epoch, b"%d" % commit.continues.seq
        begin = b"*%d\r\n%b$%d\r\n%b\r\n$%d\r\n%b:history\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n" % (
            *(11 + 2 * len(commit.steps), _head(script)),
            *(len(of), of, len(of) + len(":history"), of),
            *(len(epoch), epoch, len(seq), seq, len(commit.belief)),
        )
        parts = [begin, commit.belief, b"\r\n", _keeps(self.keeps)]
        for step in commit.steps:
            parts += (b"$%d\r\n" % len(step.reply), step.reply, b"\r\n$%d\r\n" % len(step.note), step.note, b"\r\n")
        return b"".join(parts)


@lru_cache(16)
def _head(script: bytes) -> bytes:
    return strings([b"EVALSHA", script, b"2"])


@lru_cache(16)
def _keeps(keeps: tuple[int, int, int]) -> bytes:
    return strings([argument(each) for each in keeps])
