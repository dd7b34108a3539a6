"""Clients whose observations arrive in any order, and the offline run that each is held to."""

import asyncio
from typing import Any

import msgspec
import numpy as np
from avf_server import problems


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
            self.estimates.append(msgspec.to_builtins(reply.message()))
            return


def check(clients: list[Client], offline_all: Any) -> None:
    """All estimates of all clients are those of the library alone."""
    truths = offline_all([each.before + each.xs for each in clients], seeds=[each.seed for each in clients])
    for client, truth in zip(clients, truths, strict=True):
        assert [estimate["seq"] for estimate in client.estimates] == list(range(1, len(client.xs) + 1))
        found = [estimate["free_energy"] for estimate in client.estimates]
        np.testing.assert_allclose(found, truth[len(client.before) :], atol=1e-4, rtol=1e-4)
