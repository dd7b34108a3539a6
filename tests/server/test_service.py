"""The tick: batches, neighbours, full queues, and a store that fails at the worst moment."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from avf_server import problems
from avf_server.problems import ProblemError, StoreError
from avf_server.stepping.rows import Row
from avf_server.stores.base import Commit, Outcome

pytestmark = pytest.mark.slow

SIZE = 6
ZERO = [0.0] * SIZE
ONE = [1.0] * SIZE


async def observe(runtime: Any, session: str, seq: int, x: Any = None, epoch: int | None = None) -> dict[str, Any]:
    """One observation, and its estimate."""
    reply = await runtime.service.observe(session, seq=seq, x=x or ZERO, owner="", epoch=epoch)
    estimate: dict[str, Any] = msgspec.to_builtins(reply.message())
    assert (reply.seq, reply.epoch) == (estimate["seq"], estimate["epoch"])
    return estimate


class Spy:
    """In place of a method: notes the first arguments of calls, and passes all on."""

    def __init__(self, method: Any) -> None:
        self.method = method
        self.calls: list[Any] = []

    async def __call__(self, argument: Any, **how: Any) -> Any:
        self.calls.append(argument)
        return await self.method(argument, **how)


async def test_sessions_that_come_together_share_batches_and_get_what_they_get_alone(
    runtime: Any, open_session: Any, same: Any, observations: Any, monkeypatch: Any
) -> None:
    """Eight sessions, of both durabilities and different iterations, each equal to the library alone."""
    options: list[dict[str, Any]] = [
        {"seed": i, "durability": ("group", "none")[i % 2], "iterations": (2, 5)[i // 4]} for i in range(8)
    ]
    async with runtime() as server:
        steps = Spy(server.engine.step)
        monkeypatch.setattr(server.engine, "step", steps)
        sessions = [await open_session(server, **each) for each in options]

        async def follow(session: str, xs: Any) -> list[Any]:
            return [await observe(server, session, seq, x) for seq, x in enumerate(xs, 1)]

        sequences = [observations(6, seed=i) for i in range(8)]
        found = await asyncio.gather(*(follow(*pair) for pair in zip(sessions, sequences, strict=True)))
        for each, xs, estimates in zip(options, sequences, found, strict=True):
            same(estimates, xs, seed=each["seed"], iterations=each["iterations"])
            assert {estimate["durability"] for estimate in estimates} == {each["durability"]}
        assert max(len(rows) for rows in steps.calls) == 8


async def test_a_client_that_leaves_harms_no_neighbour(runtime: Any, open_session: Any) -> None:
    """Cancelled while queued or while filtered: neighbours are answered, and the session goes on."""
    async with runtime() as server:
        sessions = [await open_session(server) for _ in range(6)]
        for hops in (0, 1, 2, 3):
            tasks = [asyncio.create_task(observe(server, session, 1)) for session in sessions]
            for _ in range(hops):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
            assert [result["seq"] for result in results[1::2]] == [1, 1, 1]
        for session in sessions:
            assert (await observe(server, session, 1))["seq"] == 1
            assert (await observe(server, session, 2))["seq"] == 2


async def test_a_row_that_fails_is_answered_by_itself(runtime: Any, open_session: Any, monkeypatch: Any) -> None:
    """The batch fails; its rows are then filtered one by one, and one alone is refused."""
    async with runtime() as server:
        sessions = [await open_session(server) for _ in range(4)]
        filtered = server.engine._filter

        def faulty(setup: Any, beliefs: Any, rows: Sequence[Row]) -> Any:
            if any(row.x[0] == 1.0 for row in rows):
                raise RuntimeError("a fault of the test")
            return filtered(setup, beliefs, rows)

        monkeypatch.setattr(server.engine, "_filter", faulty)
        xs = [ZERO, ONE, ZERO, ZERO]
        tasks = [observe(server, session, 1, x) for session, x in zip(sessions, xs, strict=True)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, problems.InternalError) for result in results] == [
            False,
            True,
            False,
            False,
        ]
        assert (await observe(server, sessions[1], 1, ZERO))["seq"] == 1


async def test_a_tick_that_fails_answers_its_frames_and_the_next_one_works(
    runtime: Any, open_session: Any, monkeypatch: Any
) -> None:
    """A fault outside of the engine is an internal error, not a silence."""
    async with runtime() as server:
        session = await open_session(server)
        with monkeypatch.context() as patch:
            patch.setattr(server.service._stages, "load", None)
            with pytest.raises(problems.InternalError) as caught:
                await observe(server, session, 1)
        assert (caught.value.session, caught.value.seq) == (session, 1)
        assert (await observe(server, session, 1))["seq"] == 1


async def test_full_queues_refuse_at_once(runtime: Any, open_session: Any, monkeypatch: Any) -> None:
    """With the engine held, the queue fills; one more is refused with Retry-After; the others are answered."""
    async with runtime(queue_limit=2) as server:
        sessions = [await open_session(server) for _ in range(4)]
        held, started, stepped = asyncio.Event(), asyncio.Event(), server.engine.step

        async def slow(rows: Any, **how: Any) -> Any:
            started.set()
            await held.wait()
            return await stepped(rows, **how)

        monkeypatch.setattr(server.engine, "step", slow)
        tasks = [asyncio.create_task(observe(server, sessions[0], 1))]
        await started.wait()
        tasks += [asyncio.create_task(observe(server, session, 1)) for session in sessions[1:3]]
        await asyncio.sleep(0)
        with pytest.raises(problems.OverloadedError) as caught:
            await observe(server, sessions[3], 1)
        assert caught.value.retry_after
        held.set()
        assert [estimate["seq"] for estimate in await asyncio.gather(*tasks)] == [1, 1, 1]


class Lossy:
    """A store that commits, and whose answer is lost: what a time-out after the fact looks like."""

    def __init__(self, store: Any, *, applied: bool) -> None:
        self.store = store
        self.applied = applied

    async def __call__(self, commits: Sequence[Commit]) -> list[Outcome]:
        if self.applied:
            await self.store(commits)
        raise StoreError("the answer is lost")


async def test_a_lost_answer_to_a_commit_that_succeeded_is_recognised(
    runtime: Any, open_session: Any, same: Any, observations: Any, monkeypatch: Any
) -> None:
    """The step is answered from the store, once applied; nothing is applied twice."""
    xs = observations(3)
    async with runtime() as server:
        session = await open_session(server)
        estimates = [await observe(server, session, 1, xs[0])]
        with monkeypatch.context() as patch:
            patch.setattr(server.store, "commit", Lossy(server.store.commit, applied=True))
            estimates.append(await observe(server, session, 2, xs[1]))
        estimates.append(await observe(server, session, 3, xs[2]))
        same(estimates, xs, seed=1)


async def test_a_commit_that_failed_is_no_reply(
    runtime: Any, open_session: Any, same: Any, observations: Any, monkeypatch: Any
) -> None:
    """The client is told that nothing was applied, sends the same again, and all is as if nothing had been."""
    xs = observations(2)
    async with runtime() as server:
        session = await open_session(server)
        estimates = [await observe(server, session, 1, xs[0])]
        with monkeypatch.context() as patch:
            patch.setattr(server.store, "commit", Lossy(server.store.commit, applied=False))
            with pytest.raises(problems.StoreUnavailableError) as caught:
                await observe(server, session, 2, xs[1])
        assert caught.value.retry_after
        estimates.append(await observe(server, session, 2, xs[1]))
        same(estimates, xs, seed=1)


async def test_two_servers_race_for_every_step_and_each_is_won_once(
    runtime: Any, open_session: Any, same: Any, observations: Any
) -> None:
    """Both send different observations for each seq: one is applied, and the other's server says so."""
    xs = [observations(8, seed=1), observations(8, seed=2)]
    async with runtime() as first, runtime() as second:
        session = await open_session(first)
        won, estimates = [], []
        for seq in range(1, 9):
            offers = [xs[0][seq - 1], xs[1][seq - 1]]
            results = await asyncio.gather(
                *(observe(s, session, seq, x) for s, x in zip((first, second), offers, strict=True)),
                return_exceptions=True,
            )
            (winner,) = [i for i, result in enumerate(results) if not isinstance(result, Exception)]
            loser = results[1 - winner]
            assert isinstance(loser, problems.SessionMovedError | problems.ObservationConflictError)
            assert loser.expected_seq == seq + 1
            won.append(offers[winner])
            estimates.append(results[winner])
        same(estimates, won, seed=1)


async def test_a_session_that_was_reset_elsewhere_and_stands_at_the_same_place_again_has_moved(
    runtime: Any, open_session: Any, same: Any, observations: Any
) -> None:
    """The step that a stale belief was about to make is refused as moved, and applies when it is asked for again."""
    xs = observations(2)
    async with runtime() as first, runtime() as second:
        session = await open_session(first)
        await observe(first, session, 1, xs[1])
        await second.sessions.reset(session, owner="")
        estimates = [await observe(second, session, 1, xs[0])]
        with pytest.raises(problems.SessionMovedError) as caught:
            await observe(first, session, 2, xs[1])
        assert (caught.value.expected_epoch, caught.value.expected_seq) == (2, 2)
        estimates.append(await observe(first, session, 2, xs[1]))
        same(estimates, xs, seed=1)


async def test_servers_that_take_turns_never_use_a_stale_belief(
    runtime: Any, open_session: Any, same: Any, observations: Any
) -> None:
    """Each has the session hot, at a place the other has left: the step is found to be the next one all the same."""
    xs = observations(9)
    async with runtime() as first, runtime() as second:
        session = await open_session(first)
        estimates = [await observe((first, first, second)[i % 3], session, i + 1, x) for i, x in enumerate(xs)]
        same(estimates, xs, seed=1)
        await second.sessions.reset(session, owner="")
        with pytest.raises(ProblemError) as caught:
            await observe(first, session, 10)
        assert (caught.value.expected_epoch, caught.value.expected_seq) == (2, 1)
        again = [await observe(first, session, i + 1, x) for i, x in enumerate(xs)]
        same(again, xs, seed=1)
        await second.sessions.delete(session, owner="")
        with pytest.raises(problems.UnknownSessionError):
            await observe(first, session, 10)


async def test_another_model_under_the_name_cannot_read_the_belief(
    runtime: Any, open_session: Any, tmp_path: Any, tiny: Any
) -> None:
    """The saved belief names its model's digest; a reset makes the session usable with the new model."""
    from avf_core import checkpoints

    other = tmp_path / "tiny"
    loaded = checkpoints.load(tiny)
    for parameter in loaded.filter.parameters():
        parameter.data += 0.01
    checkpoints.save(other, filter=loaded.filter, settings=loaded.settings, card={})
    async with runtime() as first, runtime(models=(str(other),)) as second:
        session = await open_session(first)
        await observe(first, session, 1)
        with pytest.raises(problems.BeliefUnreadableError):
            await observe(second, session, 2)
        assert (await observe(first, session, 2))["seq"] == 2
        await second.sessions.reset(session, owner="")
        assert (await observe(second, session, 1, epoch=2))["seq"] == 1


async def test_stopping_finishes_what_is_queued_and_refuses_what_is_new(runtime: Any, open_session: Any) -> None:
    """What was taken in is answered; what comes later is told to go elsewhere."""
    async with runtime() as server:
        sessions = [await open_session(server) for _ in range(20)]
        tasks = [asyncio.create_task(observe(server, session, 1)) for session in sessions]
        await asyncio.sleep(0)
        await server.service.stop()
        assert [estimate["seq"] for estimate in await asyncio.gather(*tasks)] == [1] * 20
        with pytest.raises(problems.StoppingError):
            await observe(server, sessions[0], 2)


async def test_the_cache_is_bounded_and_what_fell_out_is_loaded_again(
    runtime: Any, open_session: Any, same: Any, observations: Any
) -> None:
    """Two places for five sessions: every estimate is as if all had been hot."""
    async with runtime(hot_sessions=2) as server:
        sessions = [await open_session(server, seed=i) for i in range(5)]
        sequences = [observations(4, seed=i) for i in range(5)]
        found: list[list[Any]] = [[] for _ in sessions]
        for seq in range(1, 5):
            steps = [observe(server, s, seq, xs[seq - 1]) for s, xs in zip(sessions, sequences, strict=True)]
            for estimates, estimate in zip(found, await asyncio.gather(*steps), strict=True):
                estimates.append(estimate)
            assert len(server.cached) <= 2
        for i, (estimates, xs) in enumerate(zip(found, sequences, strict=True)):
            same(estimates, xs, seed=i)


async def test_missing_dimensions_are_filtered_and_finite(runtime: Any, open_session: Any) -> None:
    """Null for some dimensions, or for all: the estimate is finite, and JSON has no NaN."""
    async with runtime() as server:
        session = await open_session(server)
        reply = await server.service.observe(session, seq=1, x=[1.0, None, 0.0, None, None, 1.0], owner="")
        assert b"null" not in msgspec.json.encode(reply.message().posterior)
        nothing = await server.service.observe(session, seq=2, x=[None] * SIZE, owner="")
        estimate = msgspec.to_builtins(nothing.message())
        assert estimate["posterior"] == estimate["prior"]
        assert estimate["free_energy"] == 0.0


class Faulty:
    """In place of a store's commit: at random it fails before, or after, it did what it was asked."""

    def __init__(self, commit: Any, random: np.random.Generator) -> None:
        self.commit = commit
        self.random = random

    async def __call__(self, commits: Sequence[Commit]) -> list[Outcome]:
        fate = self.random.random()
        if fate < 0.2:
            raise StoreError("lost on the way there")
        outcomes: list[Outcome] = await self.commit(commits)
        if fate > 0.8:
            raise StoreError("lost on the way back")
        return outcomes


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_fails_nothing_is_lost_and_nothing_is_applied_twice(
    runtime: Any, open_session: Any, same: Any, observations: Any, monkeypatch: Any, seed: int
) -> None:
    """Two servers whose commits fail at random before and after the fact, and clients that send again, or leave."""
    random = np.random.default_rng(seed)
    sequences = [observations(25, seed=10 + i) for i in range(3)]

    async def insist(servers: Any, session: str, seq: int, x: Any) -> dict[str, Any]:
        """Send until there is an estimate, to one server or the other, sometimes leaving at once."""
        while True:
            server = servers[random.integers(2)]
            task = asyncio.create_task(observe(server, session, seq, x, epoch=1))
            if random.random() < 0.2:
                for _ in range(random.integers(4)):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                return await task
            except (problems.StoreUnavailableError, problems.SessionMovedError, asyncio.CancelledError):
                continue

    async with runtime(hot_sessions=2) as first, runtime() as second:
        for server in (first, second):
            monkeypatch.setattr(server.store, "commit", Faulty(server.store.commit, random))
        sessions = [await open_session(first, seed=i) for i in range(3)]

        async def follow(session: str, xs: Any) -> list[Any]:
            return [await insist((first, second), session, seq, x) for seq, x in enumerate(xs, 1)]

        found = await asyncio.gather(*(follow(*pair) for pair in zip(sessions, sequences, strict=True)))
        for i, (estimates, xs) in enumerate(zip(found, sequences, strict=True)):
            same(estimates, xs, seed=i)
            assert (await first.sessions.session(sessions[i], owner="")).next_seq == len(xs) + 1


async def test_the_id_of_a_session_is_a_word(runtime: Any, open_session: Any) -> None:
    """Letters and digits: it stands as it is in addresses, in shells, and after any command."""
    async with runtime() as server:
        ids = {await open_session(server) for _ in range(20)}
        assert len(ids) == 20
        assert all(re.fullmatch("[0-9a-f]{24}", each) for each in ids)
