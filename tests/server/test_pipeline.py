"""Commands as bytes are those that redis-py packs, and answers are to what was asked."""

import asyncio
from typing import Any

import pytest
from avf_server.stores._calls import Committed, Told
from avf_server.stores._pipeline import argument, packed, transaction
from avf_server.stores.base import Commit, Position, Step
from avf_server.stores.embedded import EmbeddedRedis
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.connection import Connection
from redis.exceptions import NoScriptError, RedisError

VALUES = st.one_of(st.binary(max_size=50), st.text(max_size=20), st.integers(-(2**53), 2**53))


@given(st.lists(VALUES, max_size=8))
def test_commands_are_packed_as_redis_py_packs_them(values: list[bytes | str | int]) -> None:
    """Whatever they hold."""
    packer: Any = Connection()
    assert packed([b"SET", *map(argument, values)]) == b"".join(packer.pack_command("SET", *values))


@given(
    st.from_regex("[a-f0-9]{1,24}", fullmatch=True),
    st.integers(1, 2**53),
    st.integers(0, 2**53),
    st.binary(min_size=1, max_size=99),
    st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=9)), min_size=1, max_size=3),
    st.tuples(st.integers(1, 10**4), st.integers(1, 10**9), st.integers(1, 10**5)),
)
def test_commits_are_packed_as_redis_py_packs_them(
    session: str, epoch: int, seq: int, belief: bytes, steps: list[tuple[bytes, bytes]], keeps: tuple[int, int, int]
) -> None:
    """What is packed once is in its place."""
    made = tuple(Step(reply=reply, note=note) for reply, note in steps)
    call = Committed(Commit(session=session, continues=Position(epoch, seq), belief=belief, steps=made), keeps)
    packer: Any = Connection()
    keys = f"avf:{{{session}}}", f"avf:{{{session}}}:history"
    told = [epoch, seq, belief, *keeps, *(part for step in steps for part in step)]
    expected = b"".join(packer.pack_command("EVALSHA", "0" * 40, 2, *keys, *told))
    assert call.packed(b"0" * 40) == Told(session, call.arguments).packed(b"0" * 40) == expected


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> Any:
    """A client of a Redis of its own."""
    client: Any = Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


async def test_all_is_done_at_once_and_an_error_is_an_answer(redis: Any) -> None:
    """Those beside it are done; what Redis refuses to begin is raised, and the next question has its own answer."""
    found = await transaction(
        redis, [*map(packed, [[b"SET", b"p:k", b"1"], [b"EVALSHA", b"0" * 40, b"0"], [b"INCR", b"p:k"]])]
    )
    assert found[0] == b"OK"
    assert isinstance(found[1], NoScriptError)
    assert found[2] == 2
    with pytest.raises(RedisError, match="wrong number of arguments"):
        await transaction(redis, [packed([b"INCR", b"p:k"]), packed([b"GET"])])
    assert await transaction(redis, [packed([b"GET", b"p:k"])]) == [b"2"]
    assert await transaction(redis, []) == []


async def test_who_is_cancelled_leaves_no_answer_to_another(redis: Any) -> None:
    """The connection is closed where its answers were not read to the end."""
    for _ in range(20):
        asked = asyncio.create_task(transaction(redis, [packed([b"SET", b"p:k", b"old"])] * 50))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        assert await transaction(redis, [packed([b"SET", b"p:k", b"new"]), packed([b"GET", b"p:k"])]) == [b"OK", b"new"]
