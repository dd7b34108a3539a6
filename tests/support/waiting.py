"""How tests wait: for a condition, to a deadline that only what will never come misses."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

PATIENCE = 60.0  # seconds after which a wait has failed, on a machine with other work
CLUSTER = 10_000  # what a Redis Cluster adds to a port for a second one

Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], what: str) -> Found:
    """Poll until the condition holds, and return what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def free_port() -> int:
    """A port of the loopback that is free, and the one that a Cluster adds to it, too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            with suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", port + CLUSTER))
                return port
