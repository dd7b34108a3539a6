"""One experiment: a cluster, its clients, what is done to it, and the judgement; from a seed.

    clients -> proxy (resets, slow connections) -> servers -> Redis, and its replica
                                                   ^ killed, stopped, drained, at times of the seed

The law: what is done and asked for follows from the seed; when exactly, the machine decides. So a seed is a plan to try
again, not a recording.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import avf_wire as wire

from .checker import Findings, check
from .cluster import Cluster
from .driver import Assignment, Driver
from .faults import WEIGHTS, Faults
from .history import History
from .http_driver import HttpDriver
from .offline import save_model, truth_of
from .proxy import Mischief
from .report import report
from .sdk_driver import SdkDriver, SyncDriver
from .stream_driver import StreamDriver

KINDS: tuple[type[Driver], ...] = (HttpDriver, HttpDriver, StreamDriver, SdkDriver)
MISCHIEF = Mischief(resets=0.1, slow=0.05)
AUDITED = 60  # last replies of each session that are asked for again at the end
GRACE = 60.0  # seconds for clients to finish once all is whole


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an experiment is. `every` is the mean time between two faults, `think` between two requests of a session."""

    seed: int
    seconds: float
    servers: int = 3
    sessions: int = 24
    durabilities: Sequence[wire.Durability] = ("group",)
    every: float = 1.5
    think: float = 0.1
    kinds: Sequence[type[Driver]] = KINDS
    threads: int = 1  # sessions of the blocking SDK, each in its thread
    weights: dict[str, int] | None = None
    settings: dict[str, str] | None = None
    replica: bool = False
    mischief: Mischief = MISCHIEF


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it."""

    counts: dict[str, Any]
    findings: dict[str, Findings]
    history: History
    faults: Faults
    errors: list[Exception]  # that the SDK let through


async def experiment(
    plan: Plan,
    folder: Path,
    *,
    act: Callable[[Faults], Awaitable[None]] | None = None,
    progress: Callable[[Faults, History], None] | None = None,
) -> Outcome:
    """Carry out a plan; `folder` keeps logs and data. `progress` is called twice a second.

    `act` does what is to be done to the cluster, in place of what is drawn for `plan.seconds`.
    """
    history = History()
    model = save_model(folder)
    async with Cluster(
        folder,
        model=model,
        servers=plan.servers,
        seed=plan.seed,
        mischief=plan.mischief,
        replica=plan.replica,
        settings=plan.settings,
    ) as cluster:
        faults = Faults(cluster, plan.seed, plan.every, plan.weights or dict(WEIGHTS))
        drivers = _drivers(plan, cluster.proxy.url, history)
        telling = asyncio.create_task(_tell(progress, faults, history))
        try:
            await _run(act(faults) if act else faults.run(plan.seconds), cluster, drivers)
        finally:
            telling.cancel()
    findings = await asyncio.to_thread(lambda: check(history, truth_of(history, model)))
    counts = report(history, findings, faults, seed=plan.seed)
    errors = [error for driver in drivers for error in getattr(driver, "errors", [])]
    return Outcome(counts=counts, findings=findings, history=history, faults=faults, errors=errors)


async def _run(acting: Awaitable[None], cluster: Cluster, drivers: Sequence[Driver]) -> None:
    """Clients and faults together, then quiet, then a last look at every session."""
    stop = asyncio.Event()
    running = [asyncio.create_task(driver.run(stop)) for driver in drivers]
    try:
        await acting
        await cluster.heal()
        stop.set()
        async with asyncio.timeout(GRACE):
            await asyncio.gather(*running)
            await asyncio.gather(*(driver.audit(cluster.proxy.url, AUDITED) for driver in drivers if driver.session))
    finally:
        stop.set()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _drivers(plan: Plan, url: str, history: History) -> list[Driver]:
    """The clients: kinds and durabilities in turn."""
    pairs = itertools.cycle([(kind, durability) for kind in plan.kinds for durability in plan.durabilities])
    kinds = [next(pairs) for _ in range(plan.sessions)] + [(SyncDriver, plan.durabilities[0])] * plan.threads
    return [
        kind(Assignment(url=url, history=history, seed=plan.seed * 1000 + i, durability=durability, think=plan.think))
        for i, (kind, durability) in enumerate(kinds)
    ]


async def _tell(progress: Callable[[Faults, History], None] | None, faults: Faults, history: History) -> None:
    while progress is not None:
        progress(faults, history)
        await asyncio.sleep(0.5)
