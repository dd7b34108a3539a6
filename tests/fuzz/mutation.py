"""Messages that are almost right: bytes and values of valid ones, changed at random. The same generator, the same ones.

The law: nothing here knows what a server makes of it.
"""

from collections.abc import Callable
from random import Random
from typing import Any

PIECES = (
    *(b"NaN", b"-1", b"1e999", b"null", b"true", b'""', b"9" * 30, b"[[[[", b"{}{}", b"[" * 3000, b'{"a":' * 800),
    *(b"\x00", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", "\u202e\U0001f600".encode(), b"\r\n\r\n", b"%s%n", b"../.."),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**53, 2**53 + 1, 2**63, -(2**63), 0.5, 1e308, -0.0),
    *("", "tiny", "none", "\x00", "x" * 5000, [], [[]], [None] * 200, {}, {"a": {"b": []}}),
)


def spoil(random: Random, data: bytes) -> bytes:
    """These bytes with some of them changed, cut, doubled, moved or replaced."""
    spoilt = bytearray(data or b"{")
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(spoilt))
        end = at + random.randint(1, 9)
        random.choice(_EDITS)(random, spoilt, at, end)
        spoilt = spoilt or bytearray(b"{")
    return bytes(spoilt)


def distort(random: Random, value: Any) -> Any:
    """This value of JSON with one of its parts, however deep, replaced, left out or added to."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        changed, key = dict(value), random.choice(sorted(value))
        kind = random.random()
        if kind < 0.1:
            del changed[key]
        elif kind < 0.2:
            changed[random.choice(("", "extra", key.upper()))] = random.choice(VALUES)
        else:
            changed[key] = distort(random, value[key])
        return changed
    if isinstance(value, list) and value and random.random() < 0.7:
        at = random.randrange(len(value))
        return [*value[:at], distort(random, value[at]), *value[at + random.randint(0, 1) :]]
    return random.choice(VALUES)


def noise(random: Random) -> bytes:
    """Bytes of no kind."""
    return random.randbytes(random.choice((0, 1, 15, 16, 17, 200, 3000)))


Edit = Callable[[Random, bytearray, int, int], None]


def _flip(random: Random, data: bytearray, at: int, end: int) -> None:
    data[at] = random.randrange(256)


def _double(random: Random, data: bytearray, at: int, end: int) -> None:
    data[at:at] = data[at:end]


def _drop(random: Random, data: bytearray, at: int, end: int) -> None:
    del data[at:end]


def _cut(random: Random, data: bytearray, at: int, end: int) -> None:
    del data[at:]


def _insert(random: Random, data: bytearray, at: int, end: int) -> None:
    data[at : at + 1] = random.choice(PIECES)


def _swap(random: Random, data: bytearray, at: int, end: int) -> None:
    data[:] = data[at:] + data[:at]


_EDITS: tuple[Edit, ...] = (_flip, _flip, _double, _drop, _cut, _insert, _insert, _swap)
