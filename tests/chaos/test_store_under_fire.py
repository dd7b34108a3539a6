"""The store alone, before the same judge: racing writers on a real Redis that is killed and stopped under them."""

import asyncio
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.processes import Nursery
from tests.support.waiting import free_port

from .checker import check
from .cluster import Redis
from .history import History
from .writers import progress, race, truth

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos"), pytest.mark.timeout(300)]

KILLS, STOPS = 6, 3
BETWEEN = 0.5  # seconds between two faults, on average


async def fire(redis: Redis, seed: int) -> None:
    """Kill it and stop it, so many times, in an order drawn from the seed."""
    choices = random.Random(seed)
    for number in choices.sample([signal.SIGKILL] * KILLS + [signal.SIGSTOP] * STOPS, KILLS + STOPS):
        await asyncio.sleep(2 * BETWEEN * choices.random())
        await redis.ready()
        redis.kill(number)
        if number is signal.SIGSTOP:
            await asyncio.sleep(BETWEEN)
            redis.kill(signal.SIGCONT)
        while redis.dying:
            await asyncio.sleep(0.01)


async def scenario(folder: Path, history: History) -> None:
    """Writers and faults, then a last look."""
    with Nursery() as nursery:
        redis = Redis("redis", nursery, folder=folder / "redis", port=free_port())
        await redis.start()

        async def act(sessions: Sequence[str]) -> None:
            await fire(redis, seed=1)
            await redis.ready()
            await progress(history, 20 * len(sessions))

        await race(redis.url, history, act)
        await redis.give_up()


async def test_the_store_keeps_what_it_confirmed_whatever_is_killed(tmp_path: Path) -> None:
    """Two writers race on six sessions while Redis is killed six times and stopped three times."""
    history = History()
    await scenario(tmp_path, history)
    (found,) = check(history, truth).values()
    assert found.violations == []
    assert found.acknowledged > 100
