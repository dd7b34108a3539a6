"""Waiting for an estimate, over real servers: it comes when it is there, and never waits for ever."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from avf_client import AsyncClient, Client, errors
from avf_server import problems
from avf_server.watching.notices import Notices

ZERO = [0.0] * 6


@pytest.fixture
def path(http: httpx.Client) -> str:
    """The address of a session of the shared server, one step in."""
    path = f"/v1/sessions/{http.post('/v1/sessions', json={'model': 'tiny', 'seed': 1}).json()['id']}"
    assert step(http, path, 1).status_code == 200
    return path


def step(http: httpx.Client, path: str, seq: int) -> httpx.Response:
    """One observation."""
    return http.post(f"{path}/steps", json={"seq": seq, "observations": [ZERO]})


def test_an_estimate_that_is_known_is_not_sent_again(http: httpx.Client, path: str) -> None:
    """304 while the tag names epoch and seq, in whatever form; another step, or epoch, has another tag."""
    first = http.get(f"{path}/estimate")
    tag = first.headers["etag"]
    for known in (tag, f'"0.0", {tag}', tag.removeprefix("W/"), "*"):
        same = http.get(f"{path}/estimate", headers={"if-none-match": known, "accept": "application/msgpack"})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert http.get(f"{path}/estimate", headers={"if-none-match": '"other"'}).content == first.content
    step(http, path, 2)
    second = http.get(f"{path}/estimate", headers={"if-none-match": tag})
    assert (second.status_code, second.json()["seq"]) == (200, 2)
    http.post(f"{path}/reset")
    step(http, path, 1)
    assert http.get(f"{path}/estimate").headers["etag"] not in (tag, second.headers["etag"])


def test_what_is_there_is_not_waited_for(http: httpx.Client, path: str) -> None:
    """A `seq` that is reached is answered at once, with the last estimate."""
    step(http, path, 2)
    assert http.get(f"{path}/estimate?wait_seq=1&timeout=0").json()["seq"] == 2


def test_a_wait_in_vain_says_where_the_session_stands(http: httpx.Client, path: str) -> None:
    """After the time given, 404 with the next seq."""
    body = http.get(f"{path}/estimate?wait_seq=2&timeout=0.01").json()
    assert (body["type"], body["status"]) == ("urn:avf:problem:no-estimate", 404)
    assert (body["expected_epoch"], body["expected_seq"]) == (1, 2)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("wait_seq=0", "invalid-setting"),
        (f"wait_seq={2**60}", "invalid-setting"),
        ("wait_seq=2&timeout=1e9", "invalid-setting"),
        ("wait_seq=2&timeout=-1", "invalid-setting"),
        ("wait_seq=2&timeout=nan", "invalid-setting"),
        ("wait_seq=two", "malformed-body"),
    ],
)
def test_waits_that_make_no_sense_are_refused(http: httpx.Client, path: str, query: str, name: str) -> None:
    """At once, whatever the session holds."""
    assert http.get(f"{path}/estimate?{query}").json()["type"] == f"urn:avf:problem:{name}"


async def test_waiters_are_answered_by_the_step_they_wait_for(server: Any) -> None:
    """Twenty wait for the third step, and one for the next epoch's first: each is answered by it."""
    async with AsyncClient(server.url) as client, await client.session("tiny") as session:
        waiting = [asyncio.create_task(session.estimate(wait_seq=3)) for _ in range(20)]
        for _ in range(3):
            assert not any(task.done() for task in waiting)
            await session.step(ZERO)
        assert {estimate.seq for estimate in await asyncio.gather(*waiting)} == {3}
        later = asyncio.create_task(session.estimate(wait_seq=4))
        await session.reset()
        assert [estimate.seq for estimate in await session.steps([ZERO] * 4)][-1] == 4
        assert ((await later).epoch, (await later).seq) == (2, 4)


def test_the_blocking_client_waits_longer_than_its_timeout(server: Any) -> None:
    """The server may take the time that it was given: a short `timeout` of the client is no limit to it."""
    with Client(server.url, timeout=0.5) as client, client.session("tiny") as session:
        with pytest.raises(errors.NoEstimate, match="seq 1 has not been observed within"):
            session.estimate(wait_seq=1, timeout=1.5)
        session.step(ZERO)
        assert client.attach(session.id).estimate(wait_seq=1, timeout=0).seq == 1


async def test_steps_of_another_server_and_the_sessions_end_are_seen(
    runtime: Any, open_session: Callable[..., Any]
) -> None:
    """One server waits for what the other filters; the session's end and the server's stop end the wait."""
    async with runtime() as first, runtime() as second:
        session = await open_session(first)

        def wait(seq: int) -> asyncio.Task[Any]:
            return asyncio.create_task(first.polls.reached(session, seq=seq, timeout=None, owner=""))

        waiting = wait(1)
        await asyncio.sleep(0)
        reply = await second.service.observe(session, seq=1, x=ZERO, owner="")
        assert (await waiting).reply.endswith(reply.estimate)
        assert reply.message().seq == 1
        ended = wait(2)
        await asyncio.sleep(0)
        await first.sessions.delete(session, owner="")
        with pytest.raises(problems.UnknownSessionError):
            await ended
        session = await open_session(first)
        stopped = wait(1)
        await asyncio.sleep(0)
        first.service.refuse()
        with pytest.raises(problems.StoppingError):
            await stopped


async def test_waiters_are_bounded_in_number(runtime: Any, open_session: Any) -> None:
    """One more than the queue holds is refused; a place is free again once a wait is over."""
    async with runtime(queue_limit=1) as server:
        session = await open_session(server)
        first = asyncio.create_task(server.polls.reached(session, seq=1, timeout=None, owner=""))
        await asyncio.sleep(0)
        with pytest.raises(problems.OverloadedError):
            await server.polls.reached(session, seq=1, timeout=None, owner="")
        await server.service.observe(session, seq=1, x=ZERO, owner="")
        await first
        assert (await server.polls.reached(session, seq=1, timeout=None, owner="")).position.seq == 1


def test_nothing_is_kept_of_who_no_longer_waits() -> None:
    """Notices of a session are forgotten with the last one who holds them."""
    news = Notices()
    held = news.next("a")
    assert news.next("a") is held
    news.next("b")
    assert list(news._events) == ["a"]
    news.tell(["b"])
    news.tell_all()
    assert held.is_set()
    assert not news._events
