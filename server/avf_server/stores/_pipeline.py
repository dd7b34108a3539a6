"""Many commands in one write, as bytes, over a connection of redis-py's pool: what a tick asks of Redis.

redis-py's own pipelines pack and read each command by itself, which costs more than Redis takes to do what it is told.

The law: what was asked on a connection is read to its end, or the connection is closed; so no answer is ever taken for
that to another question.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import RedisError


def packed(arguments: Sequence[bytes]) -> bytes:
    """A command as Redis reads it (RESP: an array of strings)."""
    return b"*%d\r\n" % len(arguments) + strings(arguments)


def strings(arguments: Sequence[bytes]) -> bytes:
    """Some of a command's arguments as Redis reads them, each after its length."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments])


def argument(value: bytes | str | int) -> bytes:
    """A number or a text as Redis reads it."""
    if isinstance(value, bytes):
        return value
    return b"%d" % value if isinstance(value, int) else value.encode()


BEGIN, END = packed([b"MULTI"]), packed([b"EXEC"])


async def transaction(redis: Any, commands: Iterable[bytes]) -> list[Any]:
    """What Redis answers to each of these packed commands, all done at once; an error is an answer like others.

    Raises where Redis refuses all of them, and whatever redis-py raises of connections.
    """
    pieces = [BEGIN, *commands, END]
    *queued, done = await _asked(redis, b"".join(pieces), len(pieces))
    if isinstance(done, Exception):
        raise next((answer for answer in queued if isinstance(answer, Exception)), done)
    return list(done)


async def _asked(redis: Any, data: bytes, count: int) -> list[Any]:
    """So many answers to what these bytes ask."""
    pool = redis.connection_pool
    connection = await _idle(pool) or await pool.get_connection()
    try:
        await connection.send_packed_command(data)
        return await _answers(connection._parser, count)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        if type(pool) is ConnectionPool and connection.is_connected and not connection.should_reconnect():
            pool._in_use_connections.remove(connection)
            pool._available_connections.append(connection)
        else:
            await pool.release(connection)


async def _idle(pool: Any) -> Any:
    """The pool's next connection where it waits there, whole; None where the pool is to see to one.

    A pool gives it, too, and tells observers that nobody has asked for, at a tenth of what a tick of one step costs.
    """
    waiting: Sequence[Any] = (
        pool._available_connections if type(pool) is ConnectionPool and not pool._lock.locked() else ()
    )
    if not waiting or not waiting[-1].is_connected or waiting[-1].should_reconnect():
        return None
    try:
        if await waiting[-1].can_read():  # which never waits
            return None
    except (RedisError, OSError):
        return None
    connection = pool._available_connections.pop()
    pool._in_use_connections.add(connection)
    return connection


async def _answers(parser: Any, count: int) -> list[Any]:
    """So many answers, of which those that have come with another are taken without a wait."""
    read = parser.read_response  # the connection's own sets a timer for each answer
    gets = getattr(getattr(parser, "_reader", None), "gets", None)  # hiredis'; there is none where it is not installed
    found: list[Any] = []
    while len(found) < count:
        found.append(await read())
        while gets is not None and len(found) < count and (answer := gets()) is not NOT_ENOUGH_DATA:
            found.append(answer)
    return found
