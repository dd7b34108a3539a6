"""Who is cancelled ends, whatever it was doing just then."""

import asyncio

import pytest
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.stores.redis import RedisStore
from avf_server.tasks import cancellable, end

MOMENTS = 150


async def test_a_task_that_calls_redis_ends_whenever_it_is_cancelled(redis_server: EmbeddedRedis) -> None:
    """Cancelled at each of many turns of the event loop: no further call begins, and nothing is left behind."""
    store = RedisStore(redis_server.url, timeout=5.0, window=3, ttl=60.0, history=10)
    await store.ping()
    tasks, calls = len(asyncio.all_tasks()), 0

    async def ask() -> None:
        nonlocal calls
        while True:
            calls += 1
            await store.load([("nobody", 1)])

    for moment in range(MOMENTS):
        calls = 0
        asking = asyncio.create_task(ask())
        for _ in range(moment):
            await asyncio.sleep(0)
        before = calls
        asking.cancel()
        for _ in range(1000):
            await asyncio.wait([asking], timeout=0.01)
            if asking.done() or calls > before:
                break
        assert asking.cancelled()
        assert calls == before
    assert len(asyncio.all_tasks()) == tasks
    await store.close()


@pytest.mark.parametrize("failing", [False, True])
async def test_a_cancellation_that_was_swallowed_comes_back(failing: bool) -> None:
    """Also where what swallowed it failed; a time-out around it all is then still a time-out."""

    async def swallow() -> None:
        with cancellable():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if failing:
                    raise OSError("broken") from None
        await asyncio.sleep(60)

    task = asyncio.create_task(swallow())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await swallow()


async def test_an_error_passes_as_it_is() -> None:
    """Where nobody cancelled, and where a time-out inside did, an error is that error."""
    with pytest.raises(OSError, match="broken"), cancellable():
        raise OSError("broken")
    with pytest.raises(TimeoutError), cancellable():
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
