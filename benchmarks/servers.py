"""A server for a benchmark: a process of its own with its own Redis, on loopback."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

PATIENCE = 30.0  # seconds in which a server ends


class Server(NamedTuple):
    """Where a server answers, and its process."""

    url: str
    pid: int


@contextmanager
def served(*models: str, cores: Collection[int] = (), **settings: str) -> Iterator[Server]:
    """A server of these models, which waits for Redis on a busy machine; on these cores only, with these settings."""
    with tempfile.TemporaryDirectory(prefix="avf-bench-") as folder:
        arguments = ["serve", "--port", "0", "--json", "--data-dir", folder]
        arguments += [part for name in models for part in ("--model", name)]
        process = subprocess.Popen(
            [sys.executable, "-m", "avf_client", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"AVF_REDIS_TIMEOUT_S": "5"} | settings,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        try:
            assert process.stdout is not None
            yield Server(json.loads(process.stdout.readline())["server_url"], process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
