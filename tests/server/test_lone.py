"""Who filters a step: the event loop where it is short and nobody else has one under way, else the models' thread."""

import asyncio
import threading
from typing import Any

import msgspec
import numpy as np
import pytest
from avf_server.models.thread import ModelThread
from avf_server.stepping import engine
from avf_server.stepping.engine import Engine

ZERO = np.zeros(6)


@pytest.fixture
def filtered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Of every batch how many rows it has, and whether the event loop filtered it; models are not warmed beside."""
    found: list[tuple[int, bool]] = []
    step = Engine._step

    async def warm(_: Engine) -> None:
        pass

    def noted(self: Engine, rows: Any) -> Any:
        found.append((len(rows), threading.current_thread() is threading.main_thread()))
        return step(self, rows)

    monkeypatch.setattr(Engine, "warm", warm)
    monkeypatch.setattr(Engine, "_step", noted)
    return found


def takes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let every batch be expected to take so long."""
    monkeypatch.setattr(Engine, "expected_seconds", lambda self, *what: seconds)


async def test_a_short_step_of_a_lone_session_is_filtered_at_once(
    runtime: Any, open_session: Any, same: Any, observations: Any, filtered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what it is elsewhere; of what nothing is known, or what takes long, the event loop takes nothing."""
    xs = observations(6, seed=3)
    async with runtime() as server:
        session, estimates = await open_session(server, seed=3), []
        for seq, (x, seconds) in enumerate(zip(xs, [0.0, 1e-4, 10 * engine.SHORT] * 2, strict=True), 1):
            takes(monkeypatch, seconds)
            reply = await server.service.observe(session, seq=seq, x=x, owner="")
            estimates.append(reply.message())
        assert filtered == [(1, False), (1, True), (1, False)] * 2
        same([msgspec.to_builtins(each) for each in estimates], xs, seed=3)


async def test_beside_others_the_event_loop_filters_nothing(
    runtime: Any, open_session: Any, filtered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another waits for its commit: its answer is not held up by a step."""
    takes(monkeypatch, 1e-4)
    async with runtime() as server:
        first, second = [await open_session(server) for _ in range(2)]
        commit, came, free = server.store.commit, asyncio.Event(), asyncio.Event()

        async def held(commits: Any) -> Any:
            came.set()
            await free.wait()
            return await commit(commits)

        monkeypatch.setattr(server.store, "commit", held)
        tasks = [asyncio.create_task(server.service.observe(first, seq=1, x=ZERO, owner=""))]
        await came.wait()
        tasks.append(asyncio.create_task(server.service.observe(second, seq=1, x=ZERO, owner="")))
        while len(filtered) < 2:
            await asyncio.sleep(0)
        free.set()
        await asyncio.gather(*tasks)
        assert filtered == [(1, True), (1, False)]


async def test_work_is_done_here_only_where_no_other_is_under_way() -> None:
    """And never beside other work: it waits for its turn on the thread."""
    thread, began, held = ModelThread(threads=1), threading.Event(), threading.Event()
    done: list[str] = []

    def work(name: str) -> str:
        done.append(name)
        return threading.current_thread().name

    def first() -> None:
        began.set()
        held.wait(60.0)
        done.append("first")

    assert await thread.run(lambda: work("alone"), here=True) == threading.current_thread().name
    task = asyncio.create_task(thread.run(first))
    while not began.is_set():
        await asyncio.sleep(0)
    beside = asyncio.create_task(thread.run(lambda: work("beside"), here=True))
    await asyncio.sleep(0)
    held.set()
    assert await beside == "avf-engine"
    await task
    assert await thread.run(lambda: work("after"), here=True) == threading.current_thread().name
    assert done == ["alone", "first", "beside", "after"]
    with pytest.raises(ValueError, match="no such row"):
        await thread.run(_fail, here=True)
    assert await thread.run(lambda: 7, here=True) == 7
    thread.close()


def _fail() -> int:
    raise ValueError("no such row")
