"""No long-lived task of a server ends on an error that nobody sees: each comes back, is counted, and is shown."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from avf_server import tasks
from avf_server.problems import StoreError
from avf_server.stores import evictions
from avf_server.tasks import Supervisor, end

TASKS = {
    "avf-ticks",
    "avf-sweeps",
    "avf-saves",
    "avf-redis-probe",
    "avf-redis-evictions",
    "avf-replication",
    "avf-warm-up",
}
"""Those of a server; one that has a Redis of its own has `avf-redis-keeper`, too."""


class Unexpected(Exception):  # noqa: N818 - it is what no one listed
    """What no one foresaw."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks begin again at once."""
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(evictions, "INTERVAL", 0.01)


def failing_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, but for the first time."""
    calls = 0

    def faulty(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Unexpected("out of the blue")
        return call(*arguments, **named)

    return faulty


async def until(condition: Callable[[], bool]) -> None:
    """Return once this holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


async def test_every_task_of_a_server_comes_back(
    runtime: Any, open_session: Any, observations: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is made to raise what no one listed, and then does its work; readiness and metrics say how often."""
    x = observations(1)[0]

    async with runtime(wait_replicas=1) as server:
        supervisor, stores = server.supervisor, server.sessions.stores

        def came_back(name: str) -> bool:
            health = supervisor.tasks.get(name)
            return health is not None and health.failures > 0 and health.down is None

        from avf_server.stepping import decisions

        with monkeypatch.context() as patch:
            patch.setattr(decisions, "take", failing_once(decisions.take))
            session = await open_session(server)
            await server.service.observe(session, seq=1, x=x, owner="")
            assert came_back("avf-ticks")
        with monkeypatch.context() as patch:
            patch.setattr(server.sessions, "expire", failing_once(server.sessions.expire))
            await until(lambda: came_back("avf-sweeps"))
        with monkeypatch.context() as patch:
            patch.setattr(stores.behind, "save", failing_once(stores.behind.save))
            behind = await open_session(server, durability="behind")
            await server.service.observe(behind, seq=1, x=x, owner="")
            await until(lambda: came_back("avf-saves") and len(stores.behind) == 0)
        with monkeypatch.context() as patch:
            circuit = server.store._circuit
            patch.setattr(circuit, "_probe", failing_once(circuit._probe))
            circuit.trip(StoreError("as if Redis were away"))
            await until(lambda: came_back("avf-redis-probe") and circuit._reason is None)
        with monkeypatch.context() as patch:
            patch.setattr(server.evictions, "look", failing_once(server.evictions.look))
            await until(lambda: came_back("avf-redis-evictions"))
        with monkeypatch.context() as patch:
            patch.setattr(stores._replication, "_ask", failing_once(stores._replication._ask))
            with pytest.raises(StoreError, match="asking the replicas failed"):
                await stores.is_replicated(session)
            await until(lambda: came_back("avf-replication"))
            assert not await stores.is_replicated(session)
        with monkeypatch.context() as patch:
            patch.setattr(server.thread, "aside", failing_once(server.thread.aside))
            await supervisor.start("avf-warm-up", server.engine.warm)
            assert came_back("avf-warm-up")
        assert set(supervisor.tasks) == TASKS
        counted = server.telemetry.expose().decode()
        assert all(f'avf_task_failures_total{{task="{name}"}} 1.0' in counted for name in TASKS)


async def test_no_task_is_left_to_itself(runtime: Any) -> None:
    """All that runs in a server that nobody uses is supervised."""

    before = asyncio.all_tasks()
    async with runtime() as server:
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        assert {name for name in names if name.startswith("avf")} <= set(server.supervisor.tasks)


def test_a_task_that_is_down_is_shown_and_ends_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits to begin again it is named, with the kind of its error."""
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 3600.0)
    told: list[str] = []

    async def body() -> None:
        raise Unexpected

    async def scenario() -> None:
        supervisor = Supervisor(told.append)
        task = supervisor.start("task", body)
        await until(lambda: supervisor.down() == {"task": "Unexpected"})
        await end(task)
        assert supervisor.down() == {}
        assert told == ["task"]

    asyncio.run(scenario())


def test_pauses_grow_and_begin_small_again() -> None:
    """A task that fails at once is begun again later each time."""
    calls = 0

    async def body() -> None:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise Unexpected

    async def scenario() -> None:
        supervisor = Supervisor()
        await supervisor.start("task", body)
        assert supervisor.tasks["task"].failures == 3

    asyncio.run(scenario())
