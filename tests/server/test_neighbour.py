"""A Redis on the same machine that is kept from running is not late: by what /proc says of it, here made by hand."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from avf_server.stores._neighbour import Neighbour
from avf_server.stores._patience import Patience
from avf_server.stores.embedded import EmbeddedRedis

from tests.support import loops


class Machine:
    """A kernel that says what it is told to of the process that listens at `path`: this one."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.path = folder / "proc", str(folder / "s")
        (self.proc / str(os.getpid())).mkdir(parents=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.says("S", 0.0)

    def says(self, state: str, ran: float) -> None:
        """The state of the process, and the seconds for which it has run."""
        of = self.proc / str(os.getpid())
        (of / "stat").write_text(f"{os.getpid()} (a name) R) {state} 1 1 1")
        (of / "schedstat").write_text(f"{round(ran * 1e9)} 17 3\n")

    def neighbour(self) -> Neighbour:
        """Who listens there."""
        return Neighbour(self.path, proc=self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own."""
    made = Machine(tmp_path)
    yield made
    made.listener.close()


def test_who_wants_to_run_and_hardly_does_is_kept(machine: Machine) -> None:
    """Who sleeps has answered, or never will; who runs is at work; who is stopped does not want to run."""
    neighbour = machine.neighbour()
    machine.says("R", 1.0)
    assert not neighbour.is_kept(10.0)  # since when is not known
    machine.says("R", 1.001)
    assert neighbour.is_kept(10.01)
    machine.says("R", 1.009)
    assert not neighbour.is_kept(10.02)
    for state in "SDTZ":
        machine.says(state, 1.009)
        assert not neighbour.is_kept(10.03)
    machine.says("R", 1.009)
    assert neighbour.is_kept(10.04)


def test_what_cannot_be_told_is_not_said(machine: Machine, tmp_path: Path) -> None:
    """Nobody at the socket, a network's address, nothing in /proc, and what is no number."""
    for neighbour in (Neighbour(str(tmp_path / "none"), proc=machine.proc), Neighbour.of_url("redis://localhost:1")):
        assert not any(neighbour.is_kept(now) for now in (1.0, 2.0, 3.0))
    elsewhere = Neighbour(machine.path, proc=tmp_path / "elsewhere")
    assert not any(elsewhere.is_kept(now) for now in (1.0, 2.0, 3.0))
    neighbour = machine.neighbour()
    machine.says("R", 1.0)
    neighbour.is_kept(1.0)
    (machine.proc / str(os.getpid()) / "schedstat").write_text("")
    assert not neighbour.is_kept(2.0)


def test_the_process_of_a_real_redis_is_found(redis_server: EmbeddedRedis) -> None:
    """By its socket; what the kernel says of it is read."""
    neighbour = Neighbour.of_url(redis_server.url)
    neighbour.is_kept(1.0)
    assert neighbour._pid == redis_server.pid
    assert neighbour._seen is not None
    assert neighbour._seen[1] > 0.0


def test_time_in_which_redis_is_kept_does_not_pass() -> None:
    """A call outlasts its time for as long as that is so, and no longer; else it has the time that was set."""

    async def waited(kept_until: float) -> float:
        loop = asyncio.get_running_loop()
        patience = Patience(0.1, kept=lambda now: now - began < kept_until)
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with patience.limit():
                await asyncio.Event().wait()
        return loop.time() - began

    assert loops.run(waited(0.0)) == pytest.approx(0.1, abs=0.03)
    assert loops.run(waited(5.0)) == pytest.approx(5.08, abs=0.03)
