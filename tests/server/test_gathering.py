"""Who a tick waits for, and how long: pure decisions; and the stages of ticks side by side."""

import asyncio
from typing import Any

import numpy as np
import pytest
from avf_server.problems import ProblemError
from avf_server.stepping.costs import Costs, Work
from avf_server.stepping.gathering import PATIENCE, SLACK, Gathering
from hypothesis import given
from hypothesis import strategies as st

ZERO = [0.0] * 6


def seen(pauses: dict[str, float], *, now: float) -> Gathering:
    """Sessions that each came again after its pause, thrice, and were answered just now."""
    gathering = Gathering()
    for session, pause in pauses.items():
        for turn in (3, 2, 1):
            gathering.answered(session, now=now - turn - pause)
            gathering.came(session, now=now - turn)
    for session in pauses:
        gathering.answered(session, now=now)
    return gathering


def test_sessions_that_come_again_at_once_are_waited_for() -> None:
    """Each for a few times its usual pause; who pauses for longer than the tick takes is not."""
    gathering = seen({"quick": 0.002, "slow": 0.5}, now=10.0)
    assert gathering.expected((), now=10.0, until=10.02) == {"quick": pytest.approx(10.0 + PATIENCE * 0.002 + SLACK)}
    assert gathering.expected(("slow",), now=10.0, until=10.02).keys() == {"quick"}


def test_who_is_under_way_and_quick_is_waited_for_as_long_as_may_be() -> None:
    """Its answer is yet to come: it is expected until the tick may wait no longer."""
    gathering = seen({"one": 0.002}, now=10.0)
    gathering.came("one", now=10.002)
    assert gathering.expected(("one", "new"), now=10.003, until=10.02) == {"one": 10.02}


def test_who_has_come_or_left_is_waited_for_no_longer() -> None:
    """One that is there is not expected; one that is late by much is taken for gone."""
    gathering = seen({"one": 0.002, "two": 0.002}, now=10.0)
    gathering.came("one", now=10.001)
    assert gathering.expected((), now=10.001, until=10.02).keys() == {"two"}
    assert gathering.expected((), now=10.02, until=10.04) == {}


def test_a_session_that_was_never_seen_to_come_again_is_not_waited_for() -> None:
    """One answer says nothing of the next observation."""
    gathering = Gathering()
    gathering.answered("one", now=1.0)
    assert gathering.expected((), now=1.0, until=2.0) == {}


@given(
    st.dictionaries(st.text(max_size=3), st.floats(1e-4, 1.0), max_size=20), st.floats(0.0, 0.5), st.floats(0.0, 0.5)
)
def test_nobody_is_waited_for_beyond_the_time_that_a_tick_takes(
    pauses: dict[str, float], later: float, takes: float
) -> None:
    """Whatever was seen."""
    now = 100.0 + later
    expected = seen(pauses, now=100.0).expected(pauses, now=now, until=now + takes)
    assert all(now <= last <= now + takes for last in expected.values())


def test_costs_find_the_line_that_batches_lie_on() -> None:
    """Of rows, iterations and samples, from batches that differ in each; then of those that were never seen."""
    costs, rng = Costs(), np.random.default_rng(0)

    def seconds(work: Work) -> float:
        per_row = 4e-5 + 3e-5 * work.iterations + 6e-6 * work.samples
        return 1e-3 + 2e-4 * work.iterations + per_row * work.rows

    assert costs.seconds("m", Work(8, 5, 40)) == 0.0
    for _ in range(300):
        work = Work(int(rng.integers(1, 65)), int(rng.integers(1, 6)), int(rng.integers(1, 41)))
        costs.took("m", work, seconds=seconds(work))
    for work in (Work(1, 5, 40), Work(64, 5, 40), Work(64, 2, 16), Work(64, 4, 16)):
        assert costs.seconds("m", work) == pytest.approx(seconds(work), rel=0.05)
    assert costs.seconds("another", Work(1, 1, 1)) == 0.0


def test_costs_follow_a_machine_that_becomes_slower() -> None:
    """Within some batches all are expected to take twice as long, those of other sizes too."""
    costs = Costs()
    for slowness in (1.0, 2.0):
        for turn in range(60):
            rows = 64 if slowness == 2.0 else (1, 16, 64)[turn % 3]
            costs.took("m", Work(rows, 5, 40), seconds=slowness * (1e-3 + 1e-4 * rows))
    assert costs.seconds("m", Work(64, 5, 40)) == pytest.approx(2.0 * 7.4e-3, rel=0.15)
    assert costs.seconds("m", Work(1, 5, 40)) > 1.4 * 1.1e-3


class Held:
    """In place of a method: its calls are counted, and wait until they are let go."""

    def __init__(self, method: Any) -> None:
        self.method = method
        self.calls: list[Any] = []
        self.came, self.free = asyncio.Event(), asyncio.Event()

    async def __call__(self, argument: Any, **how: Any) -> Any:
        self.calls.append(argument)
        self.came.set()
        await self.free.wait()
        return await self.method(argument, **how)


async def test_the_next_tick_is_filtered_while_one_commits(
    runtime: Any, open_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of other sessions; what follows in the same one waits for its commit, and is then filtered from it."""
    async with runtime() as server:
        first, second = [await open_session(server) for _ in range(2)]
        commit, filtered = Held(server.store.commit), Held(server.engine.step)
        filtered.free.set()
        monkeypatch.setattr(server.store, "commit", commit)
        monkeypatch.setattr(server.engine, "step", filtered)

        def observe(session: str, seq: int) -> Any:
            return asyncio.create_task(server.service.observe(session, seq=seq, x=ZERO, owner=""))

        one = observe(first, 1)
        await commit.came.wait()
        filtered.came.clear()
        follows, other = observe(first, 2), observe(second, 1)
        await filtered.came.wait()
        assert len(commit.calls) == 1
        assert [[row.seed for row in rows] for rows in filtered.calls] == [[1], [1]]
        commit.free.set()
        replies = await asyncio.gather(one, other, follows)
        assert [reply.seq for reply in replies] == [1, 1, 2]
        assert [len(rows) for rows in filtered.calls] == [1, 1, 1]
        assert [c.session for commits in commit.calls for c in commits] == [first, second, first]


async def test_sessions_in_closed_loops_share_every_batch(
    runtime: Any, open_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all are expected again, each tick holds all of them, whoever comes first."""
    async with runtime() as server:
        sessions = [await open_session(server) for _ in range(8)]
        service, loop = server.service, asyncio.get_running_loop()
        sizes: list[int] = []
        stepped = server.engine.step

        async def step(rows: Any, **how: Any) -> Any:
            sizes.append(len(rows))
            return await stepped(rows, **how)

        def everyone(under_way: Any, *, now: float, until: float) -> dict[str, float]:
            there = {frame.meta.id for frame in service._queue._frames}
            return {each: loop.time() + 60.0 for each in sessions if each not in there}

        async with asyncio.TaskGroup() as group:
            for session in sessions:
                group.create_task(service.observe(session, seq=1, x=ZERO, owner=""))
        monkeypatch.setattr(server.engine, "step", step)
        monkeypatch.setattr(service._gathering, "expected", everyone)

        async def follow(number: int, session: str) -> None:
            for seq in range(2, 6):
                for _ in range(number):
                    await asyncio.sleep(0)
                await service.observe(session, seq=seq, x=ZERO, owner="")

        async with asyncio.TaskGroup() as group:
            for number, session in enumerate(sessions):
                group.create_task(follow(number, session))
        assert sizes == [8] * 4


async def test_sessions_that_ended_are_forgotten(runtime: Any, open_session: Any) -> None:
    """Nothing is remembered of when they came."""
    async with runtime() as server:
        session = await open_session(server)
        for seq in (1, 2):
            await server.service.observe(session, seq=seq, x=ZERO, owner="")
        assert len(server.service._gathering) == 1
        await server.sessions.delete(session, owner="")
        assert len(server.service._gathering) == 0


async def test_a_commit_that_breaks_is_told_to_its_frames_and_no_session_is_held(
    runtime: Any, open_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no one foresaw of a commit is an internal error; the next step finds out what became of it."""
    async with runtime() as server:
        session = await open_session(server)
        with monkeypatch.context() as patch:
            patch.setattr(server.store, "commit", None)
            with pytest.raises(ProblemError, match="fault"):
                await server.service.observe(session, seq=1, x=ZERO, owner="")
        assert (await server.service.observe(session, seq=1, x=ZERO, owner="")).seq == 1
        assert not server.service._under_way
