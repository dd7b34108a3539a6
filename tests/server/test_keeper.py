"""An embedded Redis that dies and cannot be started at once: why is said, and it goes on with all that it confirmed."""

import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from avf_server.problems import StartError
from avf_server.stores import embedded as module
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.stores.keeper import FIRST_PAUSE, LONGEST_PAUSE, STEADY, Keeper

pytestmark = pytest.mark.slow

Undo = Callable[[], object]
Eventually = Callable[..., Any]


def the_program_is_away(of: EmbeddedRedis, program: Path) -> Undo:
    away = program.rename(program.with_name("away"))
    return lambda: away.rename(program)


def the_folder_is_away(of: EmbeddedRedis, program: Path) -> Undo:
    away = of.directory.rename(of.directory.with_name("away"))
    return lambda: away.rename(of.directory)


def the_socket_is_taken(of: EmbeddedRedis, program: Path) -> Undo:
    of.socket.unlink()
    of.socket.mkdir()
    return of.socket.rmdir


def the_file_is_damaged(of: EmbeddedRedis, program: Path) -> Undo:
    path = append_only_file(of.directory)
    whole = path.read_bytes()
    path.write_bytes(whole[:30] + b"?" * 30 + whole[60:])
    return lambda: path.write_bytes(whole)


FAULTS = {
    "program": (the_program_is_away, "is gone or cannot be run"),
    "folder": (the_folder_is_away, "No such file"),
    "socket": (the_socket_is_taken, "(?i)is a directory"),
    "file": (the_file_is_damaged, "(?i)bad file format"),
}


def append_only_file(folder: Path) -> Path:
    """Where Redis appends to: a file of a folder since Redis 7."""
    (found,) = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]
    return found


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Redis that a test may take away."""
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_bytes(Path(module.binary()).read_bytes())
    program.chmod(0o755)
    monkeypatch.setattr(module, "binary", lambda: str(program))
    return program


@pytest.fixture
def running(tmp_path: Path, program: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "data") as found:
        yield found


def ask(of: EmbeddedRedis, *command: str) -> Any:
    client: Any = redis.Redis(unix_socket_path=str(of.socket))
    try:
        return client.execute_command(*command)
    finally:
        client.close()


def answers(of: EmbeddedRedis) -> bool:
    try:
        return bool(ask(of, "PING"))
    except (redis.RedisError, OSError):
        return False


def kill(running: EmbeddedRedis, eventually: Eventually) -> None:
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: running.pid is None, "its death")


@pytest.mark.parametrize("name", FAULTS)
def test_a_redis_that_cannot_be_started_is_tried_until_it_can(
    name: str, running: EmbeddedRedis, program: Path, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """Less often each time, with the reason once in the log; afterwards it has all that it had confirmed."""
    (fault, reason), keeper, now, pauses = FAULTS[name], Keeper(running), 100.0, []
    for number in range(20):
        ask(running, "SET", f"key{number}", "value" * 10)
    kill(running, eventually)
    undo = fault(running, program)
    for _ in range(7):
        keeper.look(now)
        eventually(lambda: running.pid is None, "its end")
        pauses.append(keeper.pause)
        now += keeper.pause
    assert re.search(reason, keeper.reason or "")
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert sum(bool(re.search(reason, line)) for line in said) == 1
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    undo()
    keeper.look(now)
    eventually(lambda: answers(running), "its return")
    assert ask(running, "DBSIZE") == 20
    keeper.look(now + STEADY)
    assert keeper.reason is None
    assert keeper.pause == FIRST_PAUSE


def test_a_redis_that_only_died_is_there_again_at_the_next_look(running: EmbeddedRedis, eventually: Eventually) -> None:
    """Nothing waits that need not."""
    kill(running, eventually)
    keeper = Keeper(running)
    keeper.look(100.0)
    assert running.pid is not None
    assert keeper.pause == FIRST_PAUSE


def test_a_file_that_ends_within_a_write_is_read_up_to_there(running: EmbeddedRedis, eventually: Eventually) -> None:
    """As after the power was cut: that write was never answered, and all others are there."""
    for number in range(20):
        ask(running, "SET", f"key{number}", "value")
    kill(running, eventually)
    path = append_only_file(running.directory)
    path.write_bytes(path.read_bytes()[:-5])
    assert running.revive()
    eventually(lambda: answers(running), "its return")
    assert ask(running, "DBSIZE") == 19


def test_a_damaged_file_at_the_start_is_an_error_with_what_redis_says(tmp_path: Path, program: Path) -> None:
    """Not one that only names a log."""
    with EmbeddedRedis(tmp_path / "data") as found:
        for number in range(20):
            ask(found, "SET", f"key{number}", "value" * 10)
        the_file_is_damaged(found, program)
    with pytest.raises(StartError, match=r"(?i)bad file format"):
        EmbeddedRedis(tmp_path / "data").start()
