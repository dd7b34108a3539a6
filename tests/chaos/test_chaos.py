"""The short forms of `make chaos`: real processes, a real Redis, faults in turn or from a seed, and the judge."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from avf_client import Retry

from .experiment import Outcome, Plan, experiment
from .faults import Faults
from .proxy import Mischief
from .report import ZEROS
from .sdk_driver import SdkDriver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("shapes_unchecked"),
    pytest.mark.xdist_group("chaos"),
    pytest.mark.timeout(300),
    # asyncio leaves the writer of a connection that is cancelled while it opens to be collected
    pytest.mark.filterwarnings("ignore:.*StreamWriter.__del__:pytest.PytestUnraisableExceptionWarning"),
]

KILLS = {"kill": 6, "redis_kill": 1, "reset": 1}
EACH = ("kill", "reset", "redis_kill", "stop", "kill", "black_hole", "redis_stop", "drain", "kill")


def clean(outcome: Outcome) -> None:
    """Assert that every zero is one, that every client got on, and that no server failed."""
    violations = [line for found in outcome.findings.values() for line in found.violations]
    assert violations == []
    assert {name: outcome.counts[name] for name in ZEROS} == dict.fromkeys(ZEROS, 0), outcome.history.faults
    assert all(found.acknowledged > 0 for found in outcome.findings.values())


def in_turn(*kinds: str) -> Callable[[Faults], Awaitable[None]]:
    """Do these things to a cluster, each once the one before is over."""

    async def act(faults: Faults) -> None:
        for kind in kinds:
            await getattr(faults, kind)()

    return act


async def test_nothing_acknowledged_is_lost_or_applied_twice(tmp_path: Path) -> None:
    """Servers and Redis are killed and stopped, connections reset and swallowed, clients crash and say things twice."""
    outcome = await experiment(Plan(seed=1, seconds=0.0, sessions=16), tmp_path, act=in_turn(*EACH))
    clean(outcome)
    assert [outcome.faults.count(kind) for kind in ("kill", "redis_kill", "drain")] == [3, 1, 1]
    assert min(outcome.counts[name] for name in ("resets", "client_crashes")) > 0


@pytest.mark.long
async def test_nothing_is_lost_whatever_happens_at_the_same_time(tmp_path: Path) -> None:
    """The same for twenty seconds, with faults that overlap."""
    outcome = await experiment(Plan(seed=1, seconds=20.0, sessions=16, every=1.0), tmp_path)
    clean(outcome)
    counts = outcome.counts
    assert min(counts[name] for name in ("kills", "redis_kills", "resets", "client_crashes")) > 0
    assert counts["recoveries"] > 0


class DefaultDriver(SdkDriver):
    """The SDK as it comes."""

    retry = Retry()
    timeout = 10.0


@pytest.mark.long
async def test_a_rolling_restart_is_seen_by_no_client(tmp_path: Path) -> None:
    """Each server in turn is told to stop, ends with 0 within five seconds, and is replaced: the SDK raises nothing."""

    async def act(faults: Faults) -> None:
        for server in faults.cluster.servers:
            await faults.restart(server)

    plan = Plan(seed=2, seconds=0.0, servers=2, sessions=8, kinds=(DefaultDriver,), threads=0, mischief=Mischief())
    outcome = await experiment(plan, tmp_path, act=act)
    clean(outcome)
    assert outcome.errors == []
    assert outcome.counts["drains"] == 2


async def test_behind_loses_its_window_at_most(tmp_path: Path) -> None:
    """What was told to be durable is there after every kill; the rest is sent again, and the estimates are the same."""
    plan = Plan(seed=3, seconds=0.0, sessions=8, threads=0, durabilities=("behind",))
    outcome = await experiment(plan, tmp_path, act=in_turn("kill", "reset", "kill", "redis_kill", "kill"))
    clean(outcome)
    assert outcome.faults.count("kill") == 3


@pytest.mark.long
async def test_behind_loses_its_window_at_most_under_many_kills(tmp_path: Path) -> None:
    """The same for ten seconds, with kills that overlap."""
    plan = Plan(seed=3, seconds=10.0, sessions=8, threads=0, every=0.8, durabilities=("behind",), weights=KILLS)
    outcome = await experiment(plan, tmp_path)
    clean(outcome)
    assert outcome.counts["kills"] > 0
