"""What ends leaves nothing behind: neither in the server nor in Redis; and nobody opens more than is allowed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from avf_server import problems
from avf_server.stores import _index

from tests.support import redises

pytestmark = pytest.mark.slow

ZERO = [0.0] * 6


@pytest.fixture
def node(tmp_path: Path) -> Any:
    """A Redis that nobody else uses."""
    with redises.running(redises.Node(redises.binary(redises.WANTED[0]), tmp_path)) as (one,):
        yield one


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of the index are dropped however new they are."""
    monkeypatch.setattr(_index, "GRACE", -1.0)


async def until(condition: Any) -> None:
    """Poll, until the test's patience is over."""
    while not await condition():
        await asyncio.sleep(0.02)


async def test_sessions_that_were_opened_used_and_dropped_leave_nothing(
    runtime: Any, open_session: Any, node: Any, no_grace: None
) -> None:
    """A hundred of every durability, some deleted, some merely left: no key in Redis, no entry in the server."""
    async with runtime(redis_url=node.url, session_ttl_s=3.0, max_sessions=1000) as server:
        kinds = ("group", "behind", "none")
        for start in range(0, 120, 30):
            opened = [await open_session(server, durability=kinds[i % 3]) for i in range(start, start + 30)]
            await asyncio.gather(*(server.service.observe(s, seq=1, x=ZERO, owner="") for s in opened))
            await server.sessions.reset(opened[0], owner="")
            for session in opened[3:6]:
                await server.sessions.delete(session, owner="")
        assert any(b"avf:owner" in key for key in node.ask("KEYS", "*"))

        async def is_clean() -> bool:
            sessions, stores = server.sessions, server.sessions.stores
            here = (sessions.seen, len(server.cached), len(sessions._known._metas), len(stores.memory))
            return here == (0, 0, 0, 0) and len(stores.behind) == 0 and not node.ask("KEYS", "avf:*")

        await until(is_clean)


@pytest.mark.parametrize("durability", ["group", "none"])
async def test_a_key_s_sessions_are_bounded_and_those_that_ended_do_not_count(
    runtime: Any, open_session: Any, node: Any, no_grace: None, durability: str
) -> None:
    """At the limit the next one is refused; another owner's is not; after one has ended there is room again."""
    async with runtime(redis_url=node.url, max_sessions_per_key=3) as server:
        opened = [await open_session(server, durability=durability) for _ in range(3)]
        with pytest.raises(problems.OverloadedError, match="3 sessions of this key"):
            await open_session(server, durability=durability)
        await server.sessions.delete(opened[1], owner="")
        await open_session(server, durability=durability)
        if durability == "group":
            node.ask("DEL", f"avf:{{{opened[0]}}}")  # it expired
            await open_session(server, durability=durability)
        with pytest.raises(problems.OverloadedError):
            await open_session(server, durability=durability)


async def test_an_index_keeps_what_is_about_to_come(
    runtime: Any, open_session: Any, node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry without a session is left for a while, as the session may be on its way, and is no work meanwhile."""
    async with runtime(redis_url=node.url) as server:
        session = await open_session(server)
        node.ask("DEL", f"avf:{{{session}}}")
        index = server.store.index
        assert await index.sweep("") == 0.0
        assert await index.count("") == 1
        monkeypatch.setattr(_index, "GRACE", -1.0)
        assert await index.sweep("") == 1.0
        assert await index.count("") == 0


async def test_a_stream_that_is_cut_leaves_its_session_and_no_task(server: Any, http: Any, eventually: Any) -> None:
    """Twenty connections are aborted in mid-stream: the gauge of streams is back at nothing."""
    import websockets

    def streams() -> float:
        lines = http.get("/metrics").text.splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("avf_streams ")))

    session = http.post("/v1/sessions", json={"model": "tiny"}).json()["id"]
    address = f"{server.ws}/v1/sessions/{session}/stream"
    for _ in range(20):
        stream = await websockets.connect(address, subprotocols=[websockets.Subprotocol("avf.v1.json")])
        await stream.recv()
        stream.transport.abort()
    await asyncio.to_thread(eventually, lambda: streams() == 0.0, "the streams to be forgotten")
    assert http.get(f"/v1/sessions/{session}").status_code == 200
