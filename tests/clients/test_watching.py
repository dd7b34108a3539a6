"""Watching sessions by the SDK: histories, lists, events, tokens and the server's state, against a real server."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from avf_client import AsyncClient, Client, Event, Retry, errors
from avf_client.core._httpx import ServerSentEvent
from avf_client.core.events import EventRun

X = np.eye(88)[:8]
QUICK = Retry(attempts=12, first=0.002, most=0.1)


@pytest.fixture(scope="module")
def client(checkpoint: Path) -> Iterator[Client]:
    """A client of a server with a key, in this process."""
    with Client.local(checkpoint, max_page=3) as made:
        yield made


def test_a_history_is_arrays(client: Client) -> None:
    """All steps of all epochs, over more than one page, and the newest ones."""
    with client.session("tiny", durability="group") as session:
        estimates = session.steps(X)
        session.reset()
        estimates += session.steps(X[:2])
        history = session.history()
        assert len(history) == 10
        assert list(zip(history.epoch.tolist(), history.seq.tolist(), strict=True)) == [
            (e.epoch, e.seq) for e in estimates
        ]
        np.testing.assert_allclose(history.free_energy, [e.free_energy for e in estimates])
        np.testing.assert_allclose(history.prior_free_energy, [e.free_energies[0] for e in estimates], rtol=1e-6)
        assert (np.diff(history.at) >= 0).all()
        assert session.history(newest=2).seq.tolist() == [1, 2]
        with pytest.raises(errors.InvalidSetting):
            session.history(newest=0)


def test_sessions_are_listed(client: Client) -> None:
    """The last opened first, over more than one page, each with its last step."""
    opened = [client.session("tiny") for _ in range(5)]
    opened[2].steps(X[:3])
    listed = client.sessions()
    assert [each.session.id for each in listed] == [session.id for session in reversed(opened)]
    last = listed[2].last
    assert last is not None
    assert last.seq == 3
    assert [each.session.id for each in client.sessions(limit=2)] == [opened[4].id, opened[3].id]
    for session in opened:
        session.close()
    assert client.sessions() == []


def test_the_server_says_how_it_is(client: Client) -> None:
    """Models and store."""
    status = client.status()
    assert status.models == ["tiny"]
    assert status.store.ok


def test_a_token_stands_for_the_key(client: Client) -> None:
    """For all sessions or for one, and for looking only."""
    with client.session("tiny") as session, client.session("tiny") as other:
        session.steps(X[:2])
        with Client(client.base_url, session.token(read_only=True).token) as page:
            watched = page.attach(session.id)
            assert watched.estimate().seq == 2
            with pytest.raises(errors.ProblemError, match="forbidden"):
                watched.step(X[0])
            with pytest.raises(errors.ProblemError):
                page.attach(other.id)
        with Client(client.base_url, client.token(lifetime_s=60).token) as page:
            assert page.attach(other.id).step(X[0]).seq == 1


def test_events_tell_what_becomes_of_a_session(client: Client) -> None:
    """The last estimate first, then those that come, a reset, and the end, which ends the loop."""
    with client.session("tiny", durability="group") as session:
        session.step(X[0])
        seen: list[tuple[str, int | None]] = []
        for event in session.events(observation=True):
            seen.append((event.kind, event.estimate.seq if event.estimate else event.epoch))
            if seen[-1] == ("estimate", 1) and len(seen) == 1:
                assert event.observation is not None
                np.testing.assert_array_equal(event.observation, X[0])
                session.step(None)
            elif event.kind == "estimate":
                assert event.observation is not None
                assert np.isnan(event.observation).all()
                session.reset()
            elif event.kind == "reset":
                session.close()
        assert seen == [("estimate", 1), ("estimate", 2), ("reset", 2), ("end", None)]
        with pytest.raises(errors.UnknownSession):
            next(session.events())


async def test_events_survive_cuts(server: str, proxy: Callable[[list[int]], Any]) -> None:
    """What was missed while the connection was cut is told by its scalars, and nothing is told twice."""

    async def run() -> list[Event]:
        made = proxy([2_000, 300, 9_000, 50, 6_000])
        async with (
            AsyncClient(server) as client,
            await client.session("tiny") as session,
            AsyncClient(made.url, retry=QUICK) as cut,
        ):
            attached = await cut.attach(session.id)

            async def feed() -> None:
                for _ in range(40):
                    await session.step(X[0])
                await session.close()

            feeding = asyncio.create_task(feed())
            events = [event async for event in attached.events()]
            await feeding
        assert made.connections == 6
        return events

    events = await run()
    told: list[int] = []
    for event in events:
        if event.history is not None:
            told += event.history.seq.tolist()
        elif event.estimate is not None:
            told.append(event.estimate.seq)
    assert events[-1].kind == "end"
    assert told == sorted(set(told))


def test_a_history_that_comes_again_is_told_once() -> None:
    """Where it is told from an earlier event on, it comes again, longer than it was."""
    run = EventRun(QUICK, size=2)

    def missed(*seqs: int) -> Event | None:
        scalars = {"at": 0, "free_energy": 1, "reconstruction": 1, "kl": 0, "prior_free_energy": None, "iterations": 1}
        data = {"entries": [{"epoch": 1, "seq": seq, **scalars} for seq in seqs], "cut": False}
        return run.hear(ServerSentEvent("history", json.dumps(data)))

    first, again, longer = missed(1, 2), missed(1, 2), missed(1, 2, 3)
    assert first is not None
    assert first.history is not None
    assert first.history.seq.tolist() == [1, 2]
    assert again is None
    assert longer is not None
    assert longer.history is not None
    assert longer.history.seq.tolist() == [3]


def test_the_last_id_is_sent_on() -> None:
    """A sign of life is no event; what this release does not know is passed over; the last id is sent on."""
    run = EventRun(QUICK, size=2)
    assert run.hear(ServerSentEvent()) is None
    assert "Last-Event-ID" not in run.headers
    assert run.hear(ServerSentEvent("novelty", "{}", "3")) is None
    assert run.headers["Last-Event-ID"] == "3"
    run.lost(errors.ConnectionFailed("cut"))
    reset = run.hear(ServerSentEvent("reset", '{"epoch": 4}', "9"))
    assert reset is not None
    assert (reset.kind, reset.epoch, run.headers["Last-Event-ID"]) == ("reset", 4, "9")
    with pytest.raises(errors.ProtocolError, match="reset"):
        run.hear(ServerSentEvent("reset", "{"))


@pytest.mark.parametrize("interval", [-1.0, float("nan"), float("inf")])
def test_events_that_the_server_refuses_are_refused_at_once(client: Client, interval: float) -> None:
    """What can never be right is not asked for again, though it is a ValueError as a broken name is."""
    with client.session("tiny") as session, pytest.raises(errors.InvalidSetting):
        next(session.events(interval=interval))
