"""A Redis on this machine: whether it wants to run and is not let, so that it is the machine that is late.

The law: what cannot be told is not said. Redis is found by its unix socket, and what the kernel says of it is read from
/proc: one over the network, in a container of its own, or on another system, is never called kept from running.
"""

import socket
import struct
from pathlib import Path
from urllib.parse import urlsplit

PROC = Path("/proc")
LEAST = 0.25  # of the time between two looks: a process that has run for less of it was kept from running
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Neighbour:
    """The process behind a unix socket; none where there is no path."""

    def __init__(self, path: str | None, *, proc: Path = PROC) -> None:
        self._path = path
        self._proc = proc
        self._pid = 0
        self._seen: tuple[float, float] | None = None  # at which time the last look was, and how long it had run

    @classmethod
    def of_url(cls, url: str) -> "Neighbour":
        """That of a Redis at this address."""
        return cls(urlsplit(url).path if url.startswith("unix://") else None)

    def is_kept(self, now: float) -> bool:
        """Whether it wants to run, and has hardly been let since the last look; `now` is in seconds."""
        if self._path is None:
            return False
        found = self._look()
        before, self._seen = self._seen, None if found is None else (now, found[1])
        if before is None or found is None or now <= before[0]:
            return False
        wants, ran = found
        return wants and ran - before[1] < LEAST * (now - before[0])

    def _look(self) -> tuple[bool, float] | None:
        """Whether it wants a processor, and for how many seconds it has had one; None where that is not to be told."""
        try:
            self._pid = self._pid or self._find()
            of = self._proc / str(self._pid)
            state = (of / "stat").read_text().rpartition(")")[2].split()[0]
            return state == "R", int((of / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            self._pid = 0  # it may have begun anew
            return None

    def _find(self) -> int:
        """The process that listens at the socket. Raises OSError where there is none, or none that can be seen."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.setblocking(False)
            asked.connect(str(self._path))
            said = asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid: int = _CREDENTIALS.unpack(said)[0]
        if pid <= 0:
            raise OSError("the process is not one of those that can be seen from here")
        return pid
