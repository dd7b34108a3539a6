"""What another release wrote is read, or refused by name; it is never misread."""

from typing import Any

import pytest
import redis
from avf_server import problems

ZERO = [0.0] * 6


@pytest.mark.parametrize("kept", [b'{"version":2}', b'{"id":"x"}', b"\x00\xff", b"META_OF_VERSION_2"])
async def test_a_session_of_another_form_is_refused_by_name(
    runtime: Any, open_session: Any, redis_server: Any, kept: bytes
) -> None:
    """A newer version, fields that are missing, no JSON at all: belief-unreadable, and no fault."""
    async with runtime() as first, runtime() as second:
        session = await open_session(first)
        with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
            own = client.hget(f"avf:{{{session}}}", "meta")
            newer = own.replace(b'"version":1', b'"version":2')
            client.hset(f"avf:{{{session}}}", "meta", newer if kept.startswith(b"META") else kept)
        with pytest.raises(problems.BeliefUnreadableError):
            await second.service.observe(session, seq=1, x=ZERO, owner="")


async def test_a_reply_of_another_form_is_not_given_out(runtime: Any, open_session: Any, redis_server: Any) -> None:
    """A repeated seq is refused by name, nothing is applied twice, and the session goes on."""
    async with runtime() as server:
        session = await open_session(server)
        await server.service.observe(session, seq=1, x=ZERO, owner="")
        with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
            reply = client.hget(f"avf:{{{session}}}", "r1")
            client.hset(f"avf:{{{session}}}", "r1", reply[:16] + b"\x7f" + reply[17:])
        with pytest.raises(problems.BeliefUnreadableError):
            await server.service.observe(session, seq=1, x=ZERO, owner="")
        assert (await server.sessions.record(session, owner="")).reply is None
        assert (await server.service.observe(session, seq=2, x=ZERO, owner="")).seq == 2
