"""Places and turns are shared by owners, however many sessions and connections each of them has."""

import asyncio
from collections import Counter
from collections.abc import Hashable, Mapping
from contextlib import ExitStack
from typing import Any

import avf_wire as wire
import pytest
from avf_server import problems
from avf_server.stepping.decisions import gives_way, take
from avf_server.watching.places import Places, may_enter
from hypothesis import given
from hypothesis import strategies as st

ZERO = [0.0] * 6
Item = tuple[int, int, int]
"""A number in the order of coming, a session, and its owner: session k is of owner k % 3."""

QUEUES = st.lists(st.integers(0, 11), max_size=40).map(lambda found: [(i, k, k % 3) for i, k in enumerate(found)])


def tick(
    queue: list[Item], max_batch: int, ahead: Mapping[Hashable, int]
) -> tuple[list[Item], list[Item], Mapping[Hashable, int]]:
    """One tick."""
    return take(
        queue, session=lambda x: x[1], owner=lambda x: x[2], weight=lambda x: 1, ahead=ahead, max_batch=max_batch
    )


@given(QUEUES, st.integers(1, 8), st.dictionaries(st.integers(0, 2), st.integers(0, 5)))
def test_a_tick_is_as_full_as_it_can_be_and_loses_none(
    queue: list[Item], max_batch: int, ahead: dict[int, int]
) -> None:
    """Whoever had how many turns: it takes the oldest of as many sessions as there are, or as it may take."""
    taken, left, _ = tick(queue, max_batch, ahead)
    assert sorted(taken + left) == queue
    assert (taken, left) == (sorted(taken), sorted(left))
    assert len(taken) == len({x[1] for x in taken}) == min(max_batch, len({x[1] for x in queue}))
    for item in taken:
        assert item == next(x for x in queue if x[1] == item[1])


@given(QUEUES, st.integers(1, 8), st.dictionaries(st.integers(0, 2), st.integers(0, 5)))
def test_within_an_owner_the_oldest_go_first(queue: list[Item], max_batch: int, ahead: dict[int, int]) -> None:
    """Of the oldest of its sessions, those taken are the ones that came first."""
    taken, _, _ = tick(queue, max_batch, ahead)
    for owner in range(3):
        heads = [x for i, x in enumerate(queue) if x[2] == owner and x[1] not in {y[1] for y in queue[:i]}]
        mine = [x for x in taken if x[2] == owner]
        assert mine == heads[: len(mine)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 8))
def test_owners_who_wait_all_the_time_are_served_alike(sizes: list[int], max_batch: int) -> None:
    """One with thirty sessions gets no more than one with as many as the turns that there are; no two differ by two."""
    sessions = [(owner, k) for owner, size in enumerate(sizes) for k in range(max_batch + size)]
    queue = [(i, session, session[0]) for i, session in enumerate(sessions)]
    served: Counter[int] = Counter()
    ahead: Mapping[Hashable, int] = {}
    for _ in range(20):
        taken, left, ahead = take(
            queue,
            session=lambda x: x[1],
            owner=lambda x: x[2],
            weight=lambda x: 1,
            ahead=ahead,
            max_batch=max_batch,
        )
        served.update(x[2] for x in taken)
        assert max(served.values()) - min(served[owner] for owner in range(len(sizes))) <= 1
        queue = [*left, *((len(queue) + x[0], x[1], x[2]) for x in taken)]  # they come back at once, as the newest


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.integers(1, 64))
def test_turns_are_shared_by_rows_and_a_tick_has_so_many_of_them(weights: list[int], max_batch: int) -> None:
    """Sessions of many particles count as so many: no owner gets more rows than another, but for one step's."""
    sessions = [(owner, k) for owner in range(len(weights)) for k in range(4)]
    queue = [(i, session, session[0]) for i, session in enumerate(sessions)]
    served: Counter[int] = Counter()
    ahead: Mapping[Hashable, int] = {}
    for _ in range(40):
        taken, left, ahead = take(
            queue,
            session=lambda x: x[1],
            owner=lambda x: x[2],
            weight=lambda x: weights[x[2]],
            ahead=ahead,
            max_batch=max_batch,
        )
        rows = [weights[x[2]] for x in taken]
        assert taken
        assert len(rows) == 1 or sum(rows) <= max_batch
        served.update({x[2]: 0 for x in taken})
        for item in taken:
            served[item[2]] += weights[item[2]]
        queue = [*left, *((len(queue) + x[0], x[1], x[2]) for x in taken)]
    rows_had = [served[owner] for owner in range(len(weights))]
    if max_batch < min(weights):  # one step a tick: whoever had the fewest rows
        assert max(rows_had) - min(rows_had) <= max(weights)


def test_a_newcomer_waits_for_no_backlog() -> None:
    """With one place in a tick and a hundred waiting, another owner's first one is taken within two ticks."""
    queue: list[Item] = [(i, 3 * i, 0) for i in range(100)]
    _, queue, ahead = tick(queue, 1, {})
    queue.append((100, 1, 1))
    first, queue, ahead = tick(queue, 1, ahead)
    second, _, _ = tick(queue, 1, ahead)
    assert (100, 1, 1) in first + second


@given(st.lists(st.integers(0, 4), max_size=80), st.integers(1, 12))
def test_nobody_within_a_share_is_refused_or_gives_way(arrivals: list[int], limit: int) -> None:
    """Whoever comes in whatever order, the queue is within its limit, and only those beyond their share lose places."""
    queue: list[int] = []
    for owner in arrivals:
        held = Counter(queue)
        if len(queue) < limit:
            queue.append(owner)
            continue
        share = limit // len({*queue, owner})
        other = gives_way(held, owner, limit=limit)
        if other is None:
            assert held[owner] >= share
        else:
            assert held[other] > max(1, share)
            assert held[owner] < held[other]
            del queue[len(queue) - 1 - queue[::-1].index(other)]
            queue.append(owner)
        assert len(queue) <= limit


def test_shares_by_hand() -> None:
    """Of ten places one owner alone holds all; a second one gets five of them, a third three."""
    assert gives_way({"a": 10}, "a", limit=10) is None
    assert gives_way({"a": 10}, "b", limit=10) == "a"
    assert gives_way({"a": 6, "b": 4}, "b", limit=10) == "a"
    assert gives_way({"a": 5, "b": 5}, "b", limit=10) is None
    assert gives_way({"a": 5, "b": 5}, "c", limit=10) == "a"
    assert gives_way({"a": 1, "b": 1}, "c", limit=2) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=80), st.integers(1, 20), st.integers(4, 6))
def test_places_are_kept_for_every_owner(moves: list[tuple[int, bool]], limit: int, owners: int) -> None:
    """Whoever comes and leaves in whatever order, all fit, and each may always have what is kept for it."""
    held: Counter[str] = Counter()
    for number, comes in moves:
        owner = str(number)
        if comes and may_enter(held, owner, limit=limit, owners=owners):
            held[owner] += 1
        elif not comes and held[owner]:
            held[owner] -= 1
        assert held.total() <= limit
        for each in map(str, range(owners)):
            if held[each] < limit // (2 * owners):
                assert may_enter(held, each, limit=limit, owners=owners)


def test_one_owner_alone_has_every_place() -> None:
    """And of two, one has three quarters."""
    for owners, most in ((1, 8), (2, 6)):
        places, count = Places(8, owners=owners), 0
        with ExitStack() as stack:
            while places.may_enter("a"):
                stack.enter_context(places.one("a"))
                count += 1
            assert (count, places.taken) == (most, most)
        assert places.taken == 0


@pytest.mark.slow
async def test_a_neighbour_with_many_sessions_takes_no_place_of_another(runtime: Any, monkeypatch: Any) -> None:
    """With the queue full of one owner's, another's is let in, answered, and the newest of the first is told why."""
    async with runtime(queue_limit=4) as server:

        async def opened(owner: str) -> str:
            session = await server.sessions.create(wire.CreateSession(model="tiny", seed=1), owner=owner)
            return str(session.id)

        def observe(session: str, owner: str) -> asyncio.Task[Any]:
            return asyncio.create_task(server.service.observe(session, seq=1, x=ZERO, owner=owner))

        busy, calm = [await opened("busy") for _ in range(6)], [await opened("calm") for _ in range(3)]
        held, started, stepped = asyncio.Event(), asyncio.Event(), server.engine.step

        async def slow(rows: Any, **how: Any) -> Any:
            started.set()
            await held.wait()
            return await stepped(rows, **how)

        monkeypatch.setattr(server.engine, "step", slow)
        first = observe(busy[0], "busy")
        await started.wait()
        waiting = [observe(session, "busy") for session in busy[1:5]]
        await asyncio.sleep(0)
        assert server.service.waiting == 4
        neighbours = [observe(session, "calm") for session in calm[:2]]
        with pytest.raises(problems.OverloadedError, match="more than its share"):
            await waiting[3]
        with pytest.raises(problems.OverloadedError, match="more than its share"):
            await waiting[2]
        for session, owner in ((calm[2], "calm"), (busy[5], "busy")):
            with pytest.raises(problems.OverloadedError, match="which is the limit"):
                await observe(session, owner)
        held.set()
        replies = await asyncio.gather(first, *waiting[:2], *neighbours)
        assert [reply.seq for reply in replies] == [1] * 5
