"""Many sessions at once, whose clients cancel, reset, fork and change servers at random, equal their solo runs."""

import asyncio
import json
from typing import Any

import avf_wire as wire
import numpy as np
import pytest
from avf_server import problems

pytestmark = pytest.mark.slow

SESSIONS, ACTS = 64, 8


class Client:
    """One session, and what it was told since it began: observations of its belief, and estimates of its own."""

    def __init__(self, session: str, seed: int, before: list[Any]) -> None:
        self.session = session
        self.seed = seed
        self.before = before  # what the belief had seen, where the session is a fork
        self.xs: list[Any] = []
        self.estimates: list[Any] = []

    async def step(self, servers: Any, x: Any, random: np.random.Generator) -> None:
        """One observation, sent until it is answered, to any server, sometimes leaving at once."""
        seq = len(self.xs) + 1
        while True:
            service = servers[random.integers(len(servers))].service
            task = asyncio.create_task(service.observe(self.session, seq=seq, x=x, owner=""))
            if random.random() < 0.2:
                for _ in range(random.integers(6)):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                reply = await task
            except (asyncio.CancelledError, problems.SessionMovedError):
                continue
            self.xs.append(x)
            self.estimates.append(json.loads(reply.estimate))
            return


def check(clients: list[Client], offline_all: Any) -> None:
    """All estimates of all clients are those of the library alone."""
    truths = offline_all([each.before + each.xs for each in clients], seeds=[each.seed for each in clients])
    for client, truth in zip(clients, truths, strict=True):
        assert [estimate["seq"] for estimate in client.estimates] == list(range(1, len(client.xs) + 1))
        found = [estimate["free_energy"] for estimate in client.estimates]
        np.testing.assert_allclose(found, truth[len(client.before) :], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(1))
def test_interleaved_sessions_equal_their_solo_runs(
    runtime: Any, open_session: Any, observations: Any, offline_all: Any, patiently: Any, seed: int
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

    async def scenario() -> None:
        async with runtime(hot_sessions=16, max_batch=64) as first, runtime() as second:
            clients = [Client(await open_session(first, seed=i), i, []) for i in range(SESSIONS)]
            runs = [follow((first, second), each, observations(ACTS, seed=each.seed)) for each in clients]
            await asyncio.gather(*runs)
        assert len(ended) > SESSIONS
        check(ended, offline_all)

    patiently(scenario())
