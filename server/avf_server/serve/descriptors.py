"""File descriptors, of which every connection takes one: as many as there may be, and a word where they run out.

The law: the kernel drops connections without a word where there are no descriptors; so that nobody is dropped, no more
connections are taken than there are descriptors for, and who is one too many is told so.
"""

import errno
import logging
import os
import resource
import time

logger = logging.getLogger(__name__)

RESERVED = 128  # descriptors of all that is no connection: Redis, logs, models, libraries
MOST = 1 << 20  # descriptors to ask for where there is no limit
REMINDER = 60.0  # seconds between two words on the same


def raise_limit() -> None:
    """Ask for as many descriptors as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        logger.warning("the limit of open files stays at %d: %s", soft, error)


def room_for(connections: int) -> int:
    """How many connections may be open: these, or as many as there are descriptors for, which the log then says."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    found = fitting(connections, limit=MOST if limit == resource.RLIM_INFINITY else limit)
    if found < connections:
        logger.warning(
            "%d connections are taken, and not AVF_MAX_CONNECTIONS=%d: only %d files may be open (ulimit -n)",
            found,
            connections,
            limit,
        )
    return found


def fitting(connections: int, *, limit: int) -> int:
    """How many of so many connections there are descriptors for, where `limit` may be open in all."""
    return max(1, min(connections, limit - RESERVED))


class Watch:
    """Looks now and then whether there are descriptors left, and says so in the log where there are none."""

    def __init__(self) -> None:
        self._said = -REMINDER

    def look(self) -> bool:
        """Whether one is left."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            if time.monotonic() - self._said >= REMINDER:
                self._said = time.monotonic()
                logger.error("no file descriptors are left, so that connections are dropped: %s", error.strerror)
            return False
        return True
