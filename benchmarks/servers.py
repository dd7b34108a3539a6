"""A server for a benchmark: a process of its own with its own Redis, on loopback."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PATIENCE = 30.0  # seconds in which a server ends


PATIENT = {"AVF_REDIS_TIMEOUT_S": "5"}  # of a server on a busy machine, where that is not the question


class Server(NamedTuple):
    """Where a server answers, and its process."""

    url: str
    pid: int


@contextmanager
def served(*models: str, settings: Mapping[str, str] | None = None, cores: Collection[int] = ()) -> Iterator[Server]:
    """A server of these models; on these cores only, with these settings beside the defaults."""
    with tempfile.TemporaryDirectory(prefix="avf-bench-") as folder:
        arguments = ["serve", "--port", "0", "--json", "--data-dir", folder]
        arguments += [part for name in models for part in ("--model", name)]
        process = subprocess.Popen(
            [sys.executable, "-m", "avf_client", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | dict(settings or {}),
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        try:
            assert process.stdout is not None
            yield Server(json.loads(process.stdout.readline())["server_url"], process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in listed for each in family(int(child)))]
