"""What a command's output meets: terminals that are not UTF-8, disks that are full, readers that leave.

The law: what a terminal cannot show is replaced; what cannot be written ends the command by one line and exit code 1;
a reader that has left (`avf ... | head`) ends it without a word and by 0. What is left in a buffer is written, or given
up, before the command ends, so that the interpreter has nothing to say about it.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def prepare() -> None:
    """Let stdout and stderr replace the characters that they have not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def flush() -> None:
    """Write what waits. Raises OSError where that is not possible."""
    if sys.stdout is not None:
        sys.stdout.flush()


def give_up() -> None:
    """Write what waits where that is possible, and else throw it away."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with suppress(OSError, ValueError):  # a stream of a test, say, that is no file of the system
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


class ReaderLeftError(Exception):
    """Nobody reads what a command writes."""


@contextmanager
def noticing() -> Iterator[None]:
    """Tell that the reader has left by one exception, of which click and rich make no exit code of their own."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderLeftError from error
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # so rich tells it
            raise ReaderLeftError from error
        raise
