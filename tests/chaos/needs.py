"""What a Redis may come to beside being killed: all of a Cluster away, no program to start, a full memory, a full disk.

    findings = await NEEDS[name](folder, rounds)

The law: each is brought about for real, `rounds` times, while writers race on its sessions, and the same judge says
what became of what was acknowledged. What cannot be brought about on this machine raises Impossible, with the reason.
"""

import asyncio
import math
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from avf_server.stores import embedded, keeper
from avf_server.stores._calls import key
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.stores.keeper import Keeper

from tests.support import redises

from .checker import Findings, check, merge
from .history import History, Reply, Stood, Unknown
from .writers import PATIENCE, progress, race, truth

STEPS = 20  # acknowledged between two faults, and after the last one
DISK = 16 * 2**20  # bytes


class Impossible(Exception):  # noqa: N818 - it is said, and no error
    """This machine does not allow it."""


async def cluster_away(folder: Path, rounds: int) -> Findings:
    """All nodes of a Cluster are killed, and started again with what they had."""
    history = History()
    options = {"appendonly": "yes", "appendfsync": "always"}
    with redises.cluster(redises.binary(redises.WANTED[0]), folder, **options) as (url, nodes):

        async def act(sessions: Sequence[str]) -> None:
            for _ in range(rounds):
                await progress(history, STEPS)
                for node in nodes:
                    node.kill()
                for node in nodes:
                    node.start()
            await progress(history, STEPS)

        await race(url, history, act)
    return merge(check(history, truth).values())


async def no_start(folder: Path, rounds: int) -> Findings:
    """The embedded Redis is killed while its program is away, and comes back once that is there again."""
    program = folder / "redis-server"
    shutil.copyfile(embedded.binary(), program)
    program.chmod(0o755)

    def away() -> Callable[[], object]:
        moved = program.rename(program.with_name("away"))
        return lambda: moved.rename(program)

    with patch.object(embedded, "binary", lambda: str(program)):
        return await _embedded(folder / "data", rounds, away, dies=False)


async def full_disk(folder: Path, rounds: int) -> Findings:
    """The disk of the embedded Redis is filled, and emptied again."""
    disk = folder / "disk"
    with _disk(disk):

        def fill() -> Callable[[], object]:
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))
            return filler.unlink

        return await _embedded(disk / "data", rounds, fill, dies=True)


async def evicting(folder: Path, rounds: int) -> Findings:
    """A Redis drops keys until a session of ours has gone: it is unknown from then on, and all else is as it was."""
    history = History()
    node = redises.Node(redises.binary(redises.WANTED[0]), folder, maxmemory="6mb", maxmemory_policy="allkeys-random")
    with redises.running(node):

        async def act(sessions: Sequence[str]) -> None:
            await progress(history, STEPS)
            for session in sessions[: min(rounds, len(sessions) - 1)]:
                while node.ask("EXISTS", key(session)):
                    await asyncio.to_thread(_crowd, node)

        await race(node.url, history, act)
    return merge(check(_until_gone(history), truth).values())


NEEDS: dict[str, Callable[[Path, int], Awaitable[Findings]]] = {
    "cluster_away": cluster_away,
    "no_start": no_start,
    "evicting": evicting,
    "full_disk": full_disk,
}


async def _embedded(data: Path, rounds: int, fault: Callable[[], Callable[[], object]], *, dies: bool) -> Findings:
    """An embedded Redis under a fault that keeps it from starting; `dies` says whether it dies of that itself."""
    history = History()
    with EmbeddedRedis(data) as redis, patch.object(keeper, "FIRST_PAUSE", 0.1):
        kept = Keeper(redis)
        keeping = asyncio.create_task(kept.run())

        async def act(sessions: Sequence[str]) -> None:
            for _ in range(rounds):
                await progress(history, STEPS)
                undo = fault()
                if not dies and redis.pid is not None:
                    os.kill(redis.pid, signal.SIGKILL)
                async with asyncio.timeout(PATIENCE):
                    while kept.reason is None:
                        await asyncio.sleep(0.02)
                undo()
                await progress(history, STEPS)
                kept.reason = None

        try:
            await race(redis.url, history, act)
        finally:
            keeping.cancel()
    return merge(check(history, truth).values())


def _crowd(node: redises.Node) -> None:
    """Give Redis more than it can keep."""
    for _ in range(20):
        node.ask("SET", os.urandom(8).hex(), bytes(50_000))


def _until_gone(history: History) -> History:
    """The history without what a drop of a session must be told as: that it is unknown, from then on for good.

    One that stood, or was answered, on being asked after it had been unknown keeps that, and is judged as lost.
    """
    gone: dict[str, float] = {}
    for event in history.events:
        if isinstance(event, Unknown):
            gone.setdefault(event.session, event.at)
    back = {
        event.session
        for event in history.events
        if isinstance(event, Reply | Stood) and event.asked > gone.get(event.session, math.inf)
    }
    kept = [event for event in history.events if not isinstance(event, Unknown) or event.session in back]
    return History(events=kept)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """A small disk of its own."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "avf-chaos", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        raise Impossible(f"no disk may be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
