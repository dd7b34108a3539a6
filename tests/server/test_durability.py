"""What is safe when: saves that follow their replies, and replies that wait for replicas."""

import asyncio
import os
import signal
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from avf_server import problems
from avf_server.problems import StoreError
from avf_server.stores.base import Commit, Meta, Outcome, Position, Step
from avf_server.stores.behind import BehindStore
from avf_server.stores.memory import MemoryStore

from tests.support import redises

pytestmark = pytest.mark.slow

PATIENCE = 60.0
MOST = 4


def meta(session: str) -> Meta:
    """A session's facts."""
    return Meta(id=session, owner="", model="tiny", seed=1, iterations=2, durability="behind", created_at=0.0)


def commit(session: str, seq: int, *, by: str = "") -> Commit:
    """The step after `seq`, of epoch 1."""
    step = Step(reply=f"reply{seq + 1}{by}".encode(), note=b"note")
    return Commit(session=session, continues=Position(1, seq), belief=b"belief%d" % (seq + 1), steps=(step,))


class Setting:
    """A store of durability `behind` on another one, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lost: list[str] = []
        self.saved = MemoryStore(window=128, ttl=1e6, clock=lambda: self.now, history=100)
        self.behind = BehindStore(
            self.saved,
            window=0.2,
            most=MOST,
            clock=lambda: self.now,
            lost=self.lost.append,
            is_lost=self.lost.__contains__,
        )

    async def opened(self) -> str:
        """A session that is kept."""
        session = uuid.uuid4().hex
        await self.behind.create(meta(session))
        return session

    async def position(self, session: str, *, saved: bool) -> Position:
        """Where a session stands, or how far it is saved."""
        (record,) = await (self.saved if saved else self.behind).load([(session, None)])
        assert record is not None
        return record.position


async def test_steps_are_acknowledged_before_they_are_saved_and_all_see_them() -> None:
    """Loaded with belief, replies and what is left over; saved in one commit, with every note and the newest belief."""
    at = Setting()
    session = await at.opened()
    for seq in range(3):
        assert await at.behind.commit([commit(session, seq)]) == [Outcome.APPLIED]
        assert at.behind.saved(session, Position(1, seq + 1)) == 0
    assert await at.behind.commit([commit(session, 1)]) == [Outcome.MOVED]
    assert await at.behind.keep_rest(session, continues=Position(1, 3), rest=b"rest") is Outcome.APPLIED
    assert await at.behind.keep_rest(session, continues=Position(1, 2), rest=b"old") is Outcome.MOVED
    assert await at.position(session, saved=True) == Position(1, 0)
    before = await at.behind.load([(session, seq) for seq in (1, 3, None, 4)])
    await at.behind.save()
    assert session not in at.behind
    after = await at.saved.load([(session, seq) for seq in (1, 3, None, 4)])
    assert after == before
    assert [record and record.reply for record in after] == [b"reply1", b"reply3", b"reply3", None]
    assert after[0] is not None
    assert (after[0].position, after[0].belief, after[0].rest) == (Position(1, 3), b"belief3", b"rest")
    assert [identifier for identifier, _ in await at.behind.history(session, count=9)] == ["1-1", "1-2", "1-3"]
    assert at.lost == []


async def test_what_a_reset_ended_is_saved_and_what_follows_is_not_yet() -> None:
    """`durable_seq` is of the epoch of its reply: one that is still on its way at the reset was saved with it."""
    at = Setting()
    session = await at.opened()
    for seq in range(3):
        await at.behind.commit([commit(session, seq)])
    assert at.behind.saved(session, Position(1, 3)) == 0
    assert await at.behind.reset(session, epoch=1) is Outcome.APPLIED
    assert at.behind.saved(session, Position(1, 3)) == 3
    assert at.behind.saved(session, Position(2, 0)) == 0
    step = Step(reply=b"reply", note=b"note")
    begun = Commit(session=session, continues=Position(2, 0), belief=b"belief", steps=(step,))
    assert await at.behind.commit([begun]) == [Outcome.APPLIED]
    assert at.behind.saved(session, Position(2, 1)) == 0
    await at.behind.save()
    assert at.behind.saved(session, Position(2, 1)) == 1


@pytest.mark.parametrize("limit", ["steps", "seconds"])
async def test_what_is_not_saved_never_exceeds_the_stated_bound(monkeypatch: Any, limit: str) -> None:
    """At the bound a commit saves first; where that fails it is refused, and nothing is lost."""
    at = Setting()
    session = await at.opened()
    for seq in range(MOST if limit == "steps" else 1):
        await at.behind.commit([commit(session, seq)])
    at.now += 0.0 if limit == "steps" else 0.2
    last = await at.position(session, saved=False)
    assert await at.position(session, saved=True) == Position(1, 0)

    async def fails(commits: Sequence[Commit]) -> list[Outcome]:
        raise StoreError("away")

    with monkeypatch.context() as patch:
        patch.setattr(at.saved, "commit", fails)
        with pytest.raises(StoreError):
            await at.behind.commit([commit(session, last.seq)])
    assert await at.position(session, saved=False) == last
    assert await at.behind.commit([commit(session, last.seq)]) == [Outcome.APPLIED]
    assert await at.position(session, saved=True) == last


async def test_a_step_that_was_under_way_when_its_session_was_lost_is_refused() -> None:
    """It continues what was never saved, and would be told as durable. Once the client knows, steps apply again."""
    at = Setting()
    session = await at.opened()
    await at.behind.commit([commit(session, 0)])
    assert await at.saved.commit([commit(session, 0, by="another server")]) == [Outcome.APPLIED]
    await at.behind.save()
    assert at.lost == [session]
    assert await at.behind.commit([commit(session, 1)]) == [Outcome.MOVED]
    assert session not in at.behind
    at.lost.clear()
    assert await at.behind.commit([commit(session, 1)]) == [Outcome.APPLIED]


async def test_a_save_whose_answer_was_lost_is_recognised(monkeypatch: Any) -> None:
    """It was applied, and more steps came: the next save goes on behind it, and nothing is doubled."""
    at = Setting()
    session = await at.opened()
    await at.behind.commit([commit(session, 0)])
    await at.behind.commit([commit(session, 1)])
    applies = at.saved.commit

    async def loses(commits: Sequence[Commit]) -> list[Outcome]:
        await applies(commits)
        raise StoreError("the answer is lost")

    with monkeypatch.context() as patch:
        patch.setattr(at.saved, "commit", loses)
        with pytest.raises(StoreError):
            await at.behind.save()
    await at.behind.commit([commit(session, 2)])
    assert await at.position(session, saved=False) == Position(1, 3)
    await at.behind.save()
    assert await at.position(session, saved=True) == Position(1, 3)
    assert len(await at.saved.history(session, count=9)) == 3
    assert at.lost == []


@pytest.mark.parametrize("other", ["stepped", "reset", "deleted"])
async def test_where_another_server_has_gone_on_what_is_not_saved_is_dropped_and_told(other: str) -> None:
    """The other's steps stand; ours are gone, and who holds them is told."""
    at = Setting()
    session = await at.opened()
    await at.behind.commit([commit(session, 0)])
    if other == "stepped":
        await at.saved.commit([commit(session, 0, by="another")])
    elif other == "reset":
        await at.saved.reset(session, epoch=1)
    else:
        await at.saved.delete(session)
    await at.behind.save()
    assert at.lost == [session]
    assert session not in at.behind
    (record,) = await at.behind.load([(session, None)])
    replies = {"stepped": b"reply1another", "reset": None}
    assert (record and record.reply) == replies.get(other)


async def test_a_step_under_way_during_a_reset_is_refused() -> None:
    """It names the old epoch; what was acknowledged before is in the history, and the session is in the next epoch."""
    at = Setting()
    session = await at.opened()
    await at.behind.commit([commit(session, 0)])
    assert await at.behind.reset(session, epoch=1) is Outcome.APPLIED
    assert await at.behind.commit([commit(session, 1)]) == [Outcome.MOVED]
    assert await at.position(session, saved=False) == Position(2, 0)
    assert len(await at.behind.history(session, count=9)) == 1
    await at.behind.stop(seconds=0.0)
    assert session not in at.behind


def post(url: str, session: str, seq: int, xs: list[Any]) -> httpx.Response:
    """One request of steps."""
    return httpx.post(f"{url}/v1/sessions/{session}/steps", json={"seq": seq, "observations": xs}, timeout=PATIENCE)


def create(url: str, **options: Any) -> str:
    """Open a session."""
    reply = httpx.post(f"{url}/v1/sessions", json={"model": "tiny"} | options, timeout=PATIENCE)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def test_after_a_kill_a_session_goes_on_behind_and_replays_to_where_it_was(
    serve: Any, redis_server: Any, observations: Any, same: Any
) -> None:
    """Fifteen steps acknowledged, ten of them saved: the next server wants the eleventh, and gives the same again."""
    xs = observations(16)
    first = serve("--redis-url", redis_server.url, AVF_BEHIND_S="1000", AVF_BEHIND_STEPS="10")
    session = create(first.url, seed=3, durability="behind")
    estimates = [post(first.url, session, seq, [xs[seq - 1]]).json()["estimates"][0] for seq in range(1, 16)]
    assert [estimate["durable_seq"] for estimate in estimates] == [0] * 10 + [10] * 5
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    second = serve("--redis-url", redis_server.url)
    gap = post(second.url, session, 16, [xs[15]])
    assert (gap.status_code, gap.json()["type"], gap.json()["expected_seq"]) == (
        409,
        "urn:avf:problem:sequence-gap",
        11,
    )
    again = post(second.url, session, 11, xs[10:]).json()
    same(estimates[:10] + again["estimates"], xs, seed=3)
    assert second.stop(signal.SIGTERM) == 0  # and what is not saved is saved now
    third = serve("--redis-url", redis_server.url)
    assert httpx.get(f"{third.url}/v1/sessions/{session}").json()["next_seq"] == 17


async def test_what_follows_is_saved_by_itself_and_the_loser_of_a_race_is_told(runtime: Any, open_session: Any) -> None:
    """Two servers hold one session: what one has saved stands, and the other is told once, then goes on."""
    async with runtime(behind_s=0.01) as first, runtime(behind_s=1000.0) as second:
        session = await open_session(first, durability="behind")
        late = await second.service.observe(session, seq=1, x=[0.0] * 6, owner="")
        assert (late.seq, late.durable_seq) == (1, 0)
        await first.service.observe(session, seq=1, x=[1.0] * 6, owner="")
        while first.sessions.stores.behind.saved(session, Position(1, 1)) == 0:
            await asyncio.sleep(0.005)
        await second.sessions.stores.behind.save()
        with pytest.raises(problems.SessionMovedError) as caught:
            await second.service.observe(session, seq=2, x=[0.0] * 6, owner="")
        assert caught.value.expected_seq == 2
        assert (await second.service.observe(session, seq=2, x=[0.0] * 6, owner="")).seq == 2


async def test_a_reply_of_wait_leaves_once_a_replica_has_the_step(
    runtime: Any, open_session: Any, observations: Any, same: Any, tmp_path: Path
) -> None:
    """While the replica is away the step is saved and not answered; sent again once it is back, it is, once applied."""
    xs = observations(3)

    async def scenario(master: Any, replica: Any) -> None:
        async with runtime(redis_url=master.url, redis_timeout_s=1.0) as server:
            session = await open_session(server, durability="wait")

            async def step(seq: int) -> Any:
                reply = await server.service.observe(session, seq=seq, x=xs[seq - 1], owner="")
                assert reply.durable_seq == seq
                return msgspec.to_builtins(reply.message())

            estimates = [await step(1)]
            os.kill(replica.pid, signal.SIGSTOP)
            for _ in range(2):
                with pytest.raises(problems.NotReplicatedError) as caught:
                    await step(2)
                assert caught.value.retry_after
            assert (await server.sessions.session(session, owner="")).next_seq == 3
            assert (await server.sessions.record(session, owner="")).durable_seq == 0
            os.kill(replica.pid, signal.SIGCONT)
            while len(estimates) < 2:
                try:
                    estimates.append(await step(2))
                except problems.NotReplicatedError:
                    await asyncio.sleep(0.01)
            estimates.append(await step(3))
            same(estimates, xs, seed=1)

    with redises.replicated(redises.binary(redises.WANTED[0]), tmp_path) as (master, replica):
        await scenario(master, replica)


async def test_without_any_replica_wait_is_never_a_silent_downgrade(runtime: Any, open_session: Any) -> None:
    """Refused with not-replicated, and no tick waits: a neighbour of another durability is answered."""
    async with runtime(redis_timeout_s=1.0) as server:
        waits, other = await open_session(server, durability="wait"), await open_session(server)
        held = asyncio.create_task(server.service.observe(waits, seq=1, x=[0.0] * 6, owner=""))
        assert (await server.service.observe(other, seq=1, x=[0.0] * 6, owner="")).durable_seq == 1
        with pytest.raises(problems.NotReplicatedError):
            await held


async def test_in_a_cluster_replicas_are_asked_for_by_the_node_that_holds_the_session(
    runtime: Any, open_session: Any, tmp_path: Path
) -> None:
    """Nodes without replicas refuse, all of them; sessions of `group` on any node are answered."""

    async def scenario(url: str) -> None:
        async with runtime(redis_url=url, redis_timeout_s=1.0) as server:
            for durability in ("group", "wait"):
                sessions = [await open_session(server, durability=durability) for _ in range(6)]
                steps = [server.service.observe(session, seq=1, x=[0.0] * 6, owner="") for session in sessions]
                results = await asyncio.gather(*steps, return_exceptions=True)
                refused = [isinstance(result, problems.NotReplicatedError) for result in results]
                assert refused == [durability == "wait"] * 6

    with redises.cluster(redises.binary(redises.WANTED[0]), tmp_path) as (url, _):
        await scenario(url)
