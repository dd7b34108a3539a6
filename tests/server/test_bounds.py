"""What a body holds is counted before anything is made of it, and what is made is what any other reader makes."""

import asyncio
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from avf_server import turns
from avf_server.codecs import bounds, negotiation
from avf_server.codecs.base import Place
from avf_server.problems import InvalidSnapshotError, MalformedBodyError
from avf_server.sessions.branches import metadata_of
from avf_wire.rows import RowForm
from hypothesis import given
from hypothesis import strategies as st

SIZE, MOST = 4, 8
FORM = RowForm(size=SIZE)
MEGABYTE = 1 << 20
NOWHERE = Place(seq=None, epoch=None)
KIND = list[list[float | None] | None]

NUMBERS = st.none() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6, width=32)
ROWS = st.lists(st.none() | st.lists(NUMBERS, max_size=SIZE), min_size=1, max_size=MOST)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False, width=32) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=SIZE) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def expected(rows: list[list[float | None] | None]) -> list[list[float]]:
    """Rows as the library of arrays makes them: NaN where missing."""
    return [np.array([np.nan] * SIZE if row is None else row, dtype=np.float32).tolist() for row in rows]


def check(found: Any, rows: list[list[float | None] | None]) -> None:
    """Assert that these are the rows."""
    found = [row.tolist() for row in found]
    assert [len(row) for row in found] == [len(row) for row in expected(rows)]
    for one, other in zip(found, expected(rows), strict=True):
        np.testing.assert_array_equal(one, other)


@given(rows=ROWS, indent=st.none() | st.integers(0, 3))
def test_observations_are_read_as_they_were_written(rows: list[list[float | None] | None], indent: int | None) -> None:
    """In JSON with blanks of any kind, and in MessagePack."""
    check(bounds.of_json(json.dumps(rows, indent=indent).encode(), size=SIZE, most=MOST), rows)
    check(bounds.of_msgpack(msgspec.msgpack.encode(rows), size=SIZE, most=MOST), rows)


@given(value=ANYTHING)
def test_what_another_reader_refuses_is_refused(value: Any) -> None:
    """And what it takes is taken, where it is no more than the most."""
    for encode, decode, read in (
        (msgspec.json.encode, msgspec.json.decode, bounds.of_json),
        (msgspec.msgpack.encode, msgspec.msgpack.decode, bounds.of_msgpack),
    ):
        data = encode(value)
        try:
            rows = decode(data, type=KIND)
        except msgspec.ValidationError:
            rows = []
        if rows and len(rows) <= MOST and all(row is None or len(row) <= SIZE for row in rows):
            check(read(data, size=SIZE, most=MOST), rows)
        elif not rows:
            with pytest.raises(MalformedBodyError):
                list(read(data, size=SIZE, most=MOST))


def steps_of_json(observations: bytes) -> bytes:
    """A body with these observations."""
    return b'{"seq":1,"observations":' + observations + b"}"


def steps_of_msgpack(observations: bytes) -> bytes:
    """A body with these observations."""
    return b"\x82\xa3seq\x01\xacobservations" + observations


def array(count: int) -> bytes:
    """The header of an array of MessagePack."""
    return b"\xdd" + count.to_bytes(4, "big")


HOSTILE = {
    "json, a million lists": ("application/json", steps_of_json(b"[" + b"[]," * MEGABYTE + b"[]]")),
    "json, a million nulls": ("application/json", steps_of_json(b"[" + b"null," * MEGABYTE + b"null]")),
    "json, a million numbers": ("application/json", steps_of_json(b"[" + b"1," * MEGABYTE + b"1]")),
    "json, deep": ("application/json", steps_of_json(b"[" * MEGABYTE + b"]" * MEGABYTE)),
    "json, deep within one": ("application/json", steps_of_json(b"[" + b"[" * 100 + b"]" * 100 + b"]")),
    "json, a long string": ("application/json", steps_of_json(b'["' + b"a" * MEGABYTE + b'"]')),
    "json, a long name": ("application/json", b'{"' + b"a" * MEGABYTE + b'":1}'),
    "json, many names": ("application/json", steps_of_json(b"[{" + b'"a":1,' * MEGABYTE + b'"a":1}]')),
    "json, a long number": ("application/json", b'{"observations":[null],"seq":' + b"1" * MEGABYTE + b"}"),
    "msgpack, a million arrays": ("application/msgpack", steps_of_msgpack(array(MEGABYTE) + b"\x90" * MEGABYTE)),
    "msgpack, a million nils": ("application/msgpack", steps_of_msgpack(array(MEGABYTE) + b"\xc0" * MEGABYTE)),
    "msgpack, deep": ("application/msgpack", steps_of_msgpack(b"\x91" * MEGABYTE + b"\xc0")),
    "msgpack, said and not there": ("application/msgpack", steps_of_msgpack(array((1 << 32) - 1))),
    "msgpack, a long string": (
        "application/msgpack",
        steps_of_msgpack(b"\x91\xdb" + MEGABYTE.to_bytes(4, "big") + b"a" * MEGABYTE),
    ),
    "msgpack, a long name": (
        "application/msgpack",
        b"\x81\xdb" + MEGABYTE.to_bytes(4, "big") + b"a" * MEGABYTE + b"\0",
    ),
    "msgpack, a map of maps": ("application/msgpack", steps_of_msgpack(b"\x91" + b"\x81\xa1a" * 100 + b"\xc0")),
    "float32, a million rows": ("application/vnd.avf.float32", bytes(4 * SIZE * MEGABYTE)),
    "s16, a million rows": ("application/vnd.avf.s16", bytes(2 * SIZE * MEGABYTE)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bodies_are_refused_in_few_words(case: str) -> None:
    """Whatever they hold, it is a problem that says what is wrong, and does not quote all of it."""
    media_type, body = HOSTILE[case]
    place = NOWHERE if media_type in negotiation.writers() else Place(seq=1, epoch=None)
    with pytest.raises(MalformedBodyError) as refused:
        list(negotiation.reader(media_type).steps(body, place=place, form=FORM, most=MOST).observations)
    assert len(refused.value.detail) < 400


@pytest.mark.parametrize("kind", ["application/json", "application/msgpack"])
def test_a_row_of_too_many_numbers_is_counted_and_not_made(kind: str) -> None:
    """It stands for its count, by which the model refuses it, in the memory of one number; others are as they were."""
    rows: list[list[float | None] | None] = [[1.0] * SIZE, [0.5] * MEGABYTE, None]
    body = negotiation.writers()[kind].encode({"seq": 1, "observations": rows})
    first, second, third = (
        each.x for each in negotiation.reader(kind).steps(body, place=NOWHERE, form=FORM, most=MOST).observations
    )
    np.testing.assert_array_equal(first, [1.0] * SIZE)
    assert second.shape == (MEGABYTE,)
    assert second.strides == (0,)
    assert np.isnan(third).all()


def test_the_header_of_a_snapshot_is_bounded() -> None:
    """A million names are not read."""
    header = b'{"__metadata__":{' + b'"a":"",' * (MEGABYTE // 8) + b'"b":""}}'
    with pytest.raises(InvalidSnapshotError, match="expected at most 65536"):
        metadata_of(len(header).to_bytes(8, "little") + header)


@pytest.mark.parametrize("first", [True, False])
async def test_items_are_made_in_order_and_errors_are_the_makers(first: bool) -> None:
    """In turns, whoever goes first; what the maker raises comes out."""
    assert await turns.in_turns((x * x for x in range(5)), first=first) == [0, 1, 4, 9, 16]

    def failing() -> Any:
        yield 1
        raise MalformedBodyError("no")

    with pytest.raises(MalformedBodyError):
        await turns.in_turns(failing(), first=first)


async def test_others_go_between_two_items_that_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every item takes longer than a turn, somebody else's work goes on after each."""
    monkeypatch.setattr(turns, "SLICE", -1.0)
    done: list[str] = []

    async def other() -> None:
        for _ in range(3):
            done.append("other")
            await asyncio.sleep(0)

    def mine() -> Any:
        for _ in range(3):
            done.append("mine")
            yield None

    task = asyncio.create_task(other())
    await turns.in_turns(mine())
    await task
    assert done == ["other", "mine"] * 3
