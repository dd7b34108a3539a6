"""Many sessions at once, whose clients cancel, reset, fork and change servers at random, equal their solo runs."""

import asyncio
from typing import Any

import avf_wire as wire
import numpy as np
import pytest

from tests.support.interleaving import Client, check

pytestmark = pytest.mark.slow

SESSIONS, ACTS = 64, 8


@pytest.mark.parametrize("seed", range(1))
async def test_interleaved_sessions_equal_their_solo_runs(
    runtime: Any, open_session: Any, observations: Any, offline_all: Any, seed: int
) -> None:
    """Two servers, 64 sessions, cancels, resets and forks: every epoch and every fork is checked."""
    random = np.random.default_rng(seed)
    ended: list[Client] = []

    async def act(servers: Any, client: Client, x: Any) -> Client:
        """One thing that a client does."""
        chance = random.random()
        server = servers[random.integers(2)]
        if chance < 0.1:
            await server.sessions.reset(client.session, owner="")
            ended.append(client)
            return Client(client.session, client.seed, [])
        if chance < 0.2:
            forked = await server.branches.fork(client.session, wire.Branch(), owner="")
            ended.append(client)
            return Client(forked.id, client.seed, client.before + client.xs)
        await client.step(servers, x, random)
        return client

    async def follow(servers: Any, client: Client, xs: Any) -> None:
        for x in xs:
            client = await act(servers, client, x)
        ended.append(client)

    async with runtime(hot_sessions=16, max_batch=64) as first, runtime() as second:
        clients = [Client(await open_session(first, seed=i), i, []) for i in range(SESSIONS)]
        runs = [follow((first, second), each, observations(ACTS, seed=each.seed)) for each in clients]
        await asyncio.gather(*runs)
    assert len(ended) > SESSIONS
    check(ended, offline_all)
