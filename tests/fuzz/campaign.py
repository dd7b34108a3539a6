"""Many messages at one server, while another client goes about its business; and what came of both."""

import math
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import numpy as np

from tests.fuzz.requests import Requests
from tests.fuzz.streams import Streams

SIZE = 6
PAUSE = 0.1  # seconds between the bystander's steps
PAGE = 4096  # bytes


@dataclass
class Report:
    """What came of a campaign: messages, answers by status, streams by close code, memory in bytes."""

    seed: int
    messages: int
    requests: dict[int, int]
    streams: dict[int, int]
    bystander_steps: int
    bystander_difference: float
    memory_before: int
    memory_after: int
    seconds: float


@dataclass
class Bystander(threading.Thread):
    """A client that steps one session, again and again, and notes what it is told."""

    url: str
    told: list[list[float]] = field(default_factory=list)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Step until told to stop."""
        try:
            with httpx.Client(base_url=self.url, timeout=60) as client:
                path = _open(client)
                while not self._over.wait(PAUSE):
                    self.told.append(_step(client, path, len(self.told) + 1))
        except BaseException as error:
            self.failure = error

    def stop(self) -> None:
        """Stop, and fail where it failed."""
        self._over.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def difference(self) -> float:
        """How far what it was told is, at most, from what the same session is told alone: the largest difference."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            path = _open(client)
            alone = [_step(client, path, seq) for seq in range(1, len(self.told) + 1)]
        return float(np.abs(np.array(self.told) - np.array(alone)).max())


def run(url: str, *, pid: int, count: int, seed: int, seconds: float = math.inf) -> Report:
    """Send `count` messages to the server at `url`, whose process is `pid`; fewer where that takes longer than allowed.

    Raises AssertionError for any fault.
    """
    random, began = Random(seed), time.monotonic()
    requests, streams, bystander = Requests(url, random), Streams(url, random), Bystander(url)
    bystander.start()
    before = sent = 0
    try:
        while (sent := requests.answers.total() + streams.sent) < count and time.monotonic() - began < seconds:
            if not before and sent >= count // 10:
                before = memory(pid)  # by now caches are warm
            kind = random.random()
            if kind < 0.85:
                requests.ask()
            elif kind < 0.98:
                streams.talk()
            else:
                streams.scribble()
    finally:
        requests.close()
        streams.close()
        bystander.stop()
    return Report(
        seed=seed,
        messages=sent,
        requests=dict(sorted(requests.answers.items())),
        streams=dict(sorted(streams.answers.items())),
        bystander_steps=len(bystander.told),
        bystander_difference=bystander.difference(),
        memory_before=before,
        memory_after=memory(pid),
        seconds=round(time.monotonic() - began, 1),
    )


def memory(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def _open(client: httpx.Client) -> str:
    return f"/v1/sessions/{client.post('/v1/sessions', json={'model': 'tiny', 'seed': 7}).json()['id']}"


def _step(client: httpx.Client, path: str, seq: int) -> list[float]:
    """Step, and give the numbers of the estimate in one row."""
    x = np.random.default_rng(seq).integers(0, 2, SIZE).astype(float).tolist()
    answer = client.post(f"{path}/steps", json={"seq": seq, "observations": [x]})
    assert answer.status_code == 200, answer.text
    (estimate,) = answer.json()["estimates"]
    return [estimate["free_energy"], *estimate["posterior"]["mean"], *estimate["prediction"]["mean"]]
