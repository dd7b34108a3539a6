"""Load on a server, bounded, and what it came to: the measurement under `avf bench`.

The law: latency is counted from when an observation was due, not from when it could at last be sent, so that a server
that stalls looks as slow as it is. Observations are drawn within the model's range, by a seed.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import avf_wire as wire
import numpy as np
from numpy.typing import NDArray

from avf_client.asynchronous.client import AsyncClient, AsyncSession
from avf_client.errors import AvfClientError

Via: TypeAlias = Literal["stream", "http"]
MOST_SESSIONS, MOST_STEPS = 1024, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is offered to a server.

    sessions  at once
    steps     observations of each
    rate      observations per second of each; as fast as answers come where absent
    via       "stream" (WebSocket) or "http"; one observation at a time in both
    """

    model: wire.ModelInfo
    sessions: int
    steps: int
    rate: float | None
    via: Via
    durability: wire.Durability


@dataclass(kw_only=True)
class Measured:
    """What came of it: latencies in seconds, and the errors of sessions that failed."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Steps per second over all sessions."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def quantile(self, level: float) -> float | None:
        """A quantile of the latencies, in milliseconds; None where there are none."""
        return 1e3 * float(np.quantile(self.latencies, level)) if self.latencies else None


def observations(model: wire.ModelInfo, count: int, *, seed: int) -> NDArray[np.float64]:
    """(count, D) random observations that the model takes: sparse notes, soft noise, or normal numbers."""
    rng = np.random.default_rng(seed)
    shape = (count, model.observation_size)
    if model.modality == "music":
        return (rng.random(shape) < 0.05).astype(np.float64)
    scale = 0.1 if model.modality == "audio" else 1.0
    low = -np.inf if model.low is None else model.low
    high = np.inf if model.high is None else np.nextafter(model.high, -np.inf)
    return np.clip(scale * rng.standard_normal(shape), low, high)


async def offer(client: AsyncClient, load: Load) -> Measured:
    """Offer the load; sessions that fail are told in `errors`, and the others go on."""
    measured = Measured()
    start = time.perf_counter()
    await asyncio.gather(*(_one(client, load, measured, number) for number in range(load.sessions)))
    measured.seconds = time.perf_counter() - start
    return measured


async def _one(client: AsyncClient, load: Load, measured: Measured, number: int) -> None:
    xs = observations(load.model, load.steps, seed=number)
    try:
        async with await client.session(load.model.name, seed=number, durability=load.durability) as session:
            await _steps(session, xs, load, measured)
    except AvfClientError as error:
        measured.errors.append(str(error))


async def _steps(session: AsyncSession, xs: NDArray[np.float64], load: Load, measured: Measured) -> None:
    due = _Due(load.rate)
    if load.via == "http":
        for x in xs:
            await due.wait()
            await session.step(x)
            measured.latencies.append(due.late())
        return

    async def source() -> AsyncIterator[NDArray[np.float64]]:
        for x in xs:
            await due.wait()
            yield x

    async for _ in session.stream(source(), in_flight=1, fields="scalars"):
        measured.latencies.append(due.late())


class _Due:
    """When the observations of one session are due."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._start = time.perf_counter()
        self._count = 0
        self._due = self._start

    async def wait(self) -> None:
        """Until the next observation is due."""
        now = time.perf_counter()
        self._due = now if self._rate is None else self._start + self._count / self._rate
        self._count += 1
        if self._due > now:
            await asyncio.sleep(self._due - now)

    def late(self) -> float:
        """Seconds since the last observation was due."""
        return time.perf_counter() - self._due
