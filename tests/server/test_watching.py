"""Watching sessions: lists, histories, and events that are the latest, complete in their scalars, and end cleanly."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import avf_wire as wire
import httpx
import msgspec
import pytest
from avf_server import problems
from avf_server.sessions.listing import merge
from avf_server.stores.base import Meta, Position, Summary, place
from avf_server.watching import events as events_module
from avf_server.watching.events import Event, WatchOptions

pytestmark = pytest.mark.slow

ZERO = [0.0] * 6
ONE = [1.0] * 6


def told(event: Event) -> tuple[str, Any]:
    """An event by name and content."""
    return event.name, json.loads(event.data)


async def following(events: AsyncIterator[Event]) -> Event:
    """The next event that is no sign of life."""
    async for event in events:
        if event.name:
            return event
    raise AssertionError("the events are over")


async def steps(server: Any, session: str, *seqs: int) -> None:
    """Filter observations."""
    for seq in seqs:
        await server.service.observe(session, seq=seq, x=ZERO, owner="")


def test_a_page_of_sessions_is_what_its_owner_has(http: httpx.Client) -> None:
    """The last opened first, each with its last step; pages neither repeat nor leave out."""
    mine = [http.post("/v1/sessions", json={"model": "tiny", "seed": 1}).json() for _ in range(5)]
    http.post(f"/v1/sessions/{mine[2]['id']}/steps", json={"seq": 1, "observations": [ZERO, ONE]})
    forgotten = http.post("/v1/sessions", json={"model": "tiny", "durability": "none"}).json()
    found, cursor = [], None
    while True:
        page = http.get("/v1/sessions", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["sessions"]) <= 2
        found += page["sessions"]
        if (cursor := page["cursor"]) is None:
            break
    ids = [each["session"]["id"] for each in found]
    assert len(ids) == len(set(ids))
    assert ids[:6] == [forgotten["id"], *(session["id"] for session in reversed(mine))]
    stepped = found[ids.index(mine[2]["id"])]
    estimate = http.get(f"/v1/sessions/{mine[2]['id']}/estimate").json()
    assert stepped["last"]["free_energy"] == estimate["free_energy"]
    assert stepped["used_at"] == stepped["last"]["at"]
    assert stepped["session"]["next_seq"] == 3
    untouched = found[ids.index(mine[1]["id"])]
    assert untouched["last"] is None
    assert untouched["used_at"] == mine[1]["created_at"]
    http.delete(f"/v1/sessions/{mine[4]['id']}")
    assert mine[4]["id"] not in {s["session"]["id"] for s in http.get("/v1/sessions").json()["sessions"]}


def test_owners_do_not_see_each_others_sessions(serve: Any, tmp_path: Any) -> None:
    """Neither in lists, nor in histories, nor as events."""
    served = serve("--data-dir", str(tmp_path), AVF_API_KEYS="alice,bob")
    with (
        httpx.Client(base_url=served.url, headers={"authorization": "Bearer alice"}, timeout=60) as alice,
        httpx.Client(base_url=served.url, headers={"authorization": "Bearer bob"}, timeout=60) as bob,
    ):
        session = alice.post("/v1/sessions", json={"model": "tiny"}).json()["id"]
        assert [each["session"]["id"] for each in alice.get("/v1/sessions").json()["sessions"]] == [session]
        assert bob.get("/v1/sessions").json() == {"sessions": [], "cursor": None}
        for path in ("history", "events"):
            assert bob.get(f"/v1/sessions/{session}/{path}").status_code == 404
        assert httpx.get(f"{served.url}/v1/status").status_code == 401
        assert bob.get("/v1/status").json()["sessions"] == 1
        token = alice.post(f"/v1/sessions/{session}/tokens", json={"lifetime_s": 1.0}).json()["token"]
        with httpx.stream("GET", f"{served.url}/v1/sessions/{session}/events?token={token}", timeout=60) as page:
            assert page.status_code == 200
            assert [line for line in page.iter_lines() if line.startswith("event")] == ["event: expired"]
    assert token not in served.log.read_text()


@pytest.mark.parametrize("path", ["/v1/sessions?limit=0", "/v1/sessions?limit=1001"])
def test_pages_are_bounded(http: httpx.Client, path: str) -> None:
    """By the settings, which the problem names."""
    assert http.get(path).json()["type"] == "urn:avf:problem:invalid-setting"


def summary(number: int, *, seq: int = 0) -> Summary:
    """A session, opened at this time."""
    meta = Meta(
        id=f"s{number}", owner="", model="m", seed=0, iterations=0, durability="group", created_at=float(number)
    )
    return Summary(meta=meta, position=Position(1, seq), expires_in=1.0)


def test_pages_of_several_stores_are_merged_without_gaps() -> None:
    """Nothing is given beyond the end of one store's page; of a session in two stores the furthest is taken."""
    first = ([summary(9), summary(7)], place(summary(7).meta))
    second = ([summary(8), summary(5)], place(summary(5).meta))
    found, cursor = merge([first, second], count=4)
    assert [each.meta.id for each in found] == ["s9", "s8", "s7"]
    assert cursor == place(summary(7).meta)
    found, cursor = merge([([summary(3), summary(2)], None), ([summary(3, seq=2)], None)], count=2)
    assert [(each.meta.id, each.position.seq) for each in found] == [("s3", 2), ("s2", 0)]
    assert cursor is None
    assert merge([([summary(3)], None), ([summary(1)], None)], count=1)[1] == place(summary(3).meta)


def test_a_history_is_read_to_its_end_and_from_any_place(http: httpx.Client) -> None:
    """Page by page; across epochs; the newest; and from a cursor that a client has made itself."""
    path = f"/v1/sessions/{http.post('/v1/sessions', json={'model': 'tiny', 'seed': 1}).json()['id']}"
    assert http.get(f"{path}/history").json()["entries"] == []
    first = http.post(f"{path}/steps", json={"seq": 1, "observations": [ZERO, ONE, None]}).json()["estimates"]
    http.post(f"{path}/reset")
    second = http.post(f"{path}/steps", json={"seq": 1, "observations": [ONE, ONE]}).json()["estimates"]
    entries: list[Any] = []
    cursor: str | None = None
    while True:
        page = http.get(f"{path}/history", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        entries, cursor = entries + page["entries"], page["cursor"]
        if not page["more"]:
            break
    for entry, estimate in zip(entries, first + second, strict=True):
        shared = {name: estimate[name] for name in entry if name in estimate}
        assert entry == entry | shared
        energies = estimate["free_energies"]
        assert entry["prior_free_energy"] == (energies[0] if len(energies) > 1 else None)
    assert cursor == "2-2"
    assert http.get(f"{path}/history?cursor=2-2").json() == page | {"entries": [], "cursor": "2-2", "more": False}
    assert http.get(f"{path}/history?limit=2&newest=true").json()["entries"] == entries[3:]
    assert http.get(f"{path}/history?cursor=1-2&limit=1").json()["entries"] == entries[2:3]
    packed = http.get(f"{path}/history", headers={"accept": "application/msgpack"})
    assert packed.status_code == 200
    for wrong in ("x", "1", "-", "1-", "9" * 20 + "-1", "1-2-3"):
        answer = http.get(f"{path}/history", params={"cursor": wrong})
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:avf:problem:invalid-setting")


async def test_events_of_a_session_are_its_estimates(runtime: Any, open_session: Any) -> None:
    """Each step's, as it comes, with what was observed; then a reset; then the end."""
    async with runtime() as server:
        session = await open_session(server)
        await steps(server, session, 1)
        events = await server.events.session(session, owner="", options=WatchOptions(observation=True))
        name, estimate = told(first := await following(events))
        assert (name, first.id, estimate["seq"], estimate["observation"]) == ("estimate", "1-1", 1, ZERO)
        for seq in (2, 3):
            waiting = asyncio.ensure_future(following(events))
            await asyncio.sleep(0)
            reply = await server.service.observe(session, seq=seq, x=ONE, owner="")
            assert told(await waiting)[1] == msgspec.to_builtins(reply.message()) | {"observation": ONE}
        await server.sessions.reset(session, owner="")
        assert told(await following(events)) == ("reset", {"epoch": 2})
        await server.sessions.delete(session, owner="")
        assert told(await following(events)) == ("end", {})
        assert [event async for event in events] == []
        assert server.events.watching == 0


async def test_a_slow_page_gets_the_latest_and_the_scalars_of_what_it_missed(runtime: Any, open_session: Any) -> None:
    """Whatever happens between two looks is one history and one estimate; across a reset, one history an epoch."""
    async with runtime(max_page=3) as server:
        session = await open_session(server)
        events = await server.events.session(session, owner="", options=WatchOptions())
        assert (await anext(events)).name == ""  # a sign of life: nothing was observed yet
        await steps(server, session, 1)
        assert (await following(events)).id == "1-1"
        await steps(server, session, 2, 3, 4)
        name, missed = told(between := await following(events))
        assert (name, [entry["seq"] for entry in missed["entries"]], missed["cut"]) == ("history", [2, 3], False)
        assert between.id == "1-3"
        assert told(last := await following(events))[1]["seq"] == 4
        assert last.id == "1-4"
        await steps(server, session, 5)
        await server.sessions.reset(session, owner="")
        await steps(server, session, 1, 2)
        found = [await following(events) for _ in range(4)]
        assert [event.name for event in found] == ["history", "reset", "history", "estimate"]
        assert [event.id for event in found] == ["1-5", "2-0", "2-1", "2-2"]
        assert [entry["seq"] for i in (0, 2) for entry in told(found[i])[1]["entries"]] == [5, 1]
        await steps(server, session, 3, 4, 5, 6, 7, 8)
        name, missed = told(await following(events))
        assert ([entry["seq"] for entry in missed["entries"]], missed["cut"]) == ([5, 6, 7], True)
        await events.aclose()


async def test_who_comes_back_is_told_what_was_missed(runtime: Any, open_session: Any) -> None:
    """From the last event's id on; nothing is told to those who missed nothing."""
    async with runtime() as server:
        session = await open_session(server)
        await steps(server, session, 1, 2, 3, 4)
        events = await server.events.session(session, owner="", options=WatchOptions(), after="1-2")
        assert [entry["seq"] for entry in told(await following(events))[1]["entries"]] == [3]
        assert (await following(events)).id == "1-4"
        await events.aclose()
        events = await server.events.session(session, owner="", options=WatchOptions(), after="1-4")
        assert (await anext(events)).name == ""
        await steps(server, session, 5)
        assert (await following(events)).id == "1-5"
        await events.aclose()
        with pytest.raises(problems.InvalidSettingError):
            await server.events.session(session, owner="", options=WatchOptions(), after="yesterday")


async def test_wherever_a_watch_is_cut_the_next_goes_on_exactly(runtime: Any, open_session: Any) -> None:
    """After each event, a history's too, its id gives what follows: all steps and the reset, in order, each once."""
    async with runtime() as server:
        session = await open_session(server)
        await steps(server, session, 1, 2, 3)
        await server.sessions.reset(session, owner="")
        await steps(server, session, 1, 2)
        after, heard = "1-1", []
        while after != "2-3":
            if after == "2-1":
                await steps(server, session, 3)  # while no one watches
            events = await server.events.session(session, owner="", options=WatchOptions(), after=after)
            event = await following(events)
            await events.aclose()
            assert event.id is not None
            heard.append(event)
            after = event.id
        assert [event.name for event in heard] == ["history", "reset", "history", "history", "estimate"]
        seqs = [[entry["seq"] for entry in told(event)[1].get("entries", [])] for event in heard]
        assert seqs == [[2, 3], [], [1], [2], []]


async def test_events_are_bounded_in_number_and_end_with_the_server(runtime: Any, open_session: Any) -> None:
    """One more than allowed is refused; a stopping server says so, and takes no new ones."""
    async with runtime(max_watchers=2) as server:
        session = await open_session(server)
        one = await server.events.session(session, owner="", options=WatchOptions())
        both = await server.events.all(owner="", options=WatchOptions(interval=60.0))
        await anext(one)
        await anext(both)
        for options in (WatchOptions(), WatchOptions(interval=-1.0), WatchOptions(interval=float("nan"))):
            with pytest.raises((problems.OverloadedError, problems.InvalidSettingError)):
                await server.events.all(owner="", options=options)
        ends = [asyncio.ensure_future(following(events)) for events in (one, both)]
        await asyncio.sleep(0)
        server.service.refuse()
        assert [event.name for event in await asyncio.gather(*ends)] == ["goaway", "goaway"]
        with pytest.raises(problems.StoppingError):
            await server.events.all(owner="", options=WatchOptions())
        await one.aclose()
        await both.aclose()
        assert server.events.watching == 0
        assert not server.feed._watches


async def test_all_of_an_owners_sessions_are_told_at_once(runtime: Any, open_session: Any) -> None:
    """What was opened, what moved and by how much, what ended; nothing twice, and nothing of others."""
    async with runtime() as server:
        owner = {"owner": "me"}
        before = (await server.sessions.create(wire.CreateSession(model="tiny"), **owner)).id
        events = await server.events.all(options=WatchOptions(interval=0.05), **owner)
        await anext(events)
        await open_session(server)
        session = (await server.sessions.create(wire.CreateSession(model="tiny"), **owner)).id
        assert told(await following(events))[1]["id"] == session
        for seq in (1, 2, 3):
            await server.service.observe(before, seq=seq, x=ZERO, **owner)
        reply = await server.service.observe(session, seq=1, x=ONE, **owner)
        moves = json.loads((await following(events)).data)["sessions"]
        assert {move["session"]: move["steps"] for move in moves} == {before: 3, session: 1}
        last = next(move["last"] for move in moves if move["session"] == session)
        assert last["free_energy"] == reply.message().free_energy
        await server.sessions.delete(session, **owner)
        assert told(await following(events)) == ("ended", {"session": session})
        await events.aclose()


async def test_what_another_server_does_is_seen(
    runtime: Any, open_session: Callable[..., Any], monkeypatch: Any
) -> None:
    """Steps, sessions that are opened and ended there: by whoever watches here."""
    monkeypatch.setattr(events_module, "POLL_ALL", 0.05)
    async with runtime() as here, runtime() as there:
        session = (await there.sessions.create(wire.CreateSession(model="tiny"), owner="us")).id
        one = await here.events.session(session, owner="us", options=WatchOptions())
        both = await here.events.all(owner="us", options=WatchOptions(interval=0.05))
        await anext(one)
        await anext(both)
        await there.service.observe(session, seq=1, x=ZERO, owner="us")
        assert (await following(one)).id == "1-1"
        moves = json.loads((await following(both)).data)["sessions"]
        assert [(move["session"], move["steps"]) for move in moves] == [(session, 1)]
        other = (await there.sessions.create(wire.CreateSession(model="tiny"), owner="us")).id
        assert told(await following(both))[1]["id"] == other
        await there.sessions.delete(session, owner="us")
        assert told(await following(both)) == ("ended", {"session": session})
        assert (await following(one)).name == "end"
        await one.aclose()
        await both.aclose()


def test_events_are_sent_as_browsers_read_them(http: httpx.Client, eventually: Callable[..., Any]) -> None:
    """Names, ids and data in lines; a sign of life at once; and nothing is left once the client has gone."""
    path = f"/v1/sessions/{http.post('/v1/sessions', json={'model': 'tiny', 'seed': 1}).json()['id']}"
    http.post(f"{path}/steps", json={"seq": 1, "observations": [ZERO]})
    with http.stream("GET", f"{path}/events?with=observation") as page:
        assert page.headers["content-type"].startswith("text/event-stream")
        lines = page.iter_lines()
        assert [next(lines) for _ in range(2)] == ["event: estimate", "id: 1-1"]
        assert json.loads(next(lines).removeprefix("data: "))["observation"] == ZERO
    with http.stream("GET", f"{path}/events", headers={"last-event-id": "1-1"}) as page:
        assert next(page.iter_lines()) == ":"
    with http.stream("GET", "/v1/events?interval=0.05") as page:
        lines = page.iter_lines()
        assert next(lines) == ":"
        opened = http.post("/v1/sessions", json={"model": "tiny"}).json()
        assert next(line for line in lines if line.startswith("event")) == "event: opened"
        assert json.loads(next(lines).removeprefix("data: "))["id"] == opened["id"]
        assert http.get("/v1/status").json()["watchers"] >= 1
    eventually(lambda: http.get("/v1/status").json()["watchers"] == 0, "the watchers to leave")
    for query in ("interval=-1", "interval=nan", "with=all"):
        assert http.get(f"{path}/events?{query}").status_code in (400, 422)


def test_the_status_says_how_the_server_is(http: httpx.Client) -> None:
    """Counts, rates and latencies after a step; whether Redis answers; memory and load."""
    path = f"/v1/sessions/{http.post('/v1/sessions', json={'model': 'tiny'}).json()['id']}"
    http.post(f"{path}/steps", json={"seq": 1, "observations": [ZERO] * 3})
    status = http.get("/v1/status").json()
    assert status["models"] == ["tiny"]
    assert status["store"]["ok"] is True
    assert 0.0 < status["store"]["latency_s"] < 5.0
    assert status["steps_per_s"] > 0.0
    assert 0.0 < status["latency_p50_s"] <= status["latency_p99_s"]
    assert 1.0 <= status["batch_rows"] <= status["max_batch"]
    assert status["memory_bytes"] > 1 << 20
    assert (status["stopping"], status["streams"], status["queue"]) == (False, 0, 0)


@pytest.mark.parametrize(("setting", "stripped"), [("/avf", True), ("/avf", False), ("", True), ("", False)])
async def test_everything_works_behind_a_prefix(tiny: Any, redis_server: Any, setting: str, stripped: bool) -> None:
    """Said by the setting or by the proxy; stripped by the proxy or left: addresses come back with it."""
    from avf_server.serve.app import create_app
    from avf_server.settings import Settings

    settings = Settings(models=(str(tiny),), redis_url=redis_server.url, redis_timeout_s=5.0, root_path=setting)
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        headers = {} if setting else {"x-forwarded-prefix": "/avf/"}
        base = "" if stripped else "/avf"
        opened = await client.post(f"{base}/v1/sessions", json={"model": "tiny"}, headers=headers)
        assert opened.headers["location"] == f"/avf/v1/sessions/{opened.json()['id']}"
        assert (await client.get(f"{base}/docs/start.js", headers=headers)).status_code == 200
        for bad in ('/"x', "avf", "//x.org", "/a" * 200):
            answer = await client.post("/v1/sessions", json={"model": "tiny"}, headers={"x-forwarded-prefix": bad})
            assert answer.headers["location"].startswith(f"{setting}/v1/sessions/")
