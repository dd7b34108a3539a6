"""Stream sound through a session: a file, paced or not, or a microphone; `commands` draws what comes.

The law: what is kept does not grow but by three numbers an estimate, and estimates come without arrays, so that sound
may go on for long.
"""

import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, MutableSequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avf_client.blocking.client import Session
from avf_client.results.estimates import Summary

Samples = NDArray[np.int16]


class Listener(Protocol):
    """Who is told what comes of sound."""

    def add(self, samples: Samples, estimate: Summary) -> None:
        """An estimate, and the samples that it is of."""
        ...


@dataclass(kw_only=True)
class SoundTrace:
    """What came of sound: the scalars of its estimates, in order. Energies in nats per step."""

    name: str
    model: str
    rate: int  # samples a second
    remarks: tuple[str, ...] = ()
    heard: int = 0  # samples
    alarms: int = 0
    numbers: dict[str, MutableSequence[float]] = field(
        default_factory=lambda: {name: array("d") for name in ("free_energy", "reconstruction", "kl")}
    )

    @property
    def steps(self) -> int:
        """How many estimates came."""
        return len(self.numbers["free_energy"])

    @property
    def mean_free_energy(self) -> float | None:
        """Nats per step; None where there were none."""
        return self.mean("free_energy")

    def mean(self, name: str) -> float | None:
        """The mean of a number of the estimates."""
        return float(np.mean(self.numbers[name])) if self.steps else None


class Tap:
    """Sound on its way to a session, kept until its estimate comes."""

    def __init__(self, chunks: Iterable[Samples], *, size: int) -> None:
        self._chunks = chunks
        self._size = size
        self._waiting: deque[Samples] = deque()

    def __iter__(self) -> Iterator[Samples]:
        for chunk in self._chunks:
            self._waiting.append(chunk)
            yield chunk

    def answered(self, observations: int) -> Samples:
        """The samples of the next so many observations."""
        wanted, taken = observations * self._size, []
        while wanted > 0 and self._waiting:
            chunk = self._waiting.popleft()
            if len(chunk) > wanted:
                self._waiting.appendleft(chunk[wanted:])
                chunk = chunk[:wanted]
            taken.append(chunk)
            wanted -= len(chunk)
        return np.concatenate(taken) if taken else np.zeros(0, np.int16)


def hear(
    session: Session,
    chunks: Iterable[Samples],
    *,
    name: str,
    rate: int,
    listener: Listener,
    every: int = 1,
    remarks: tuple[str, ...] = (),
    endless: bool = False,
) -> SoundTrace:
    """Stream chunks of 16-bit samples (T,) through `session`, and tell `listener` what comes.

    Where the sound is `endless`, Ctrl-C ends it, and is no error.
    """
    size = session.info.observation_size
    tap = Tap(chunks, size=size)
    source = tap if session.info.audio is not None else _frames(tap, size)
    trace = SoundTrace(name=name, model=session.info.model, rate=rate, remarks=remarks)
    last = session.next_seq - 1
    ends = suppress(KeyboardInterrupt) if endless else nullcontext()
    with ends:
        for estimate in session.stream(source, every=every, fields="scalars"):
            samples = tap.answered(estimate.seq - last)
            last = estimate.seq
            trace.heard += len(samples)
            trace.alarms += bool(estimate.alarm and estimate.alarm.raised)
            for key, series in trace.numbers.items():
                series.append(getattr(estimate, key))
            listener.add(samples, estimate)
    return trace


def in_time(samples: Samples, *, size: int, rate: int) -> Iterator[Samples]:
    """The samples in chunks of `size`, each given once it would have been recorded."""
    start = time.monotonic()
    for begin in range(0, len(samples), size):
        chunk = samples[begin : begin + size]
        time.sleep(max(0.0, start + (begin + len(chunk)) / rate - time.monotonic()))
        yield chunk


def _frames(chunks: Iterable[Samples], size: int) -> Iterator[NDArray[np.float64]]:
    """Whole observations within [-1, 1), for sessions that take no samples; what fills none is left out."""
    left = np.zeros(0, np.int16)
    for chunk in chunks:
        left = np.concatenate([left, chunk])
        whole = len(left) // size * size
        yield from left[:whole].reshape(-1, size) / 32768.0
        left = left[whole:]
