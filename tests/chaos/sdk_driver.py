"""The SDK as its users use it: steps, and streams; in asyncio or in a thread. Errors that it lets through are counted.

After one, the driver does what docs/client.md says: it asks where the session stands, and goes on from there.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from avf_client import AsyncClient, Client, Retry
from avf_client.asynchronous import client as aio
from avf_client.blocking import client as sync
from avf_client.errors import AvfClientError
from avf_client.results.estimates import Estimate

from .driver import TIMEOUT, Assignment, Driver, new_stream
from .history import Opened, Reply, Sent, now
from .offline import MODEL, crowd

RETRY = Retry(attempts=12, first=0.1, most=1.0)
LONGEST = 60


class _SdkDriver(Driver):
    """What both faces share: observations on their way out, estimates on their way in."""

    retry = RETRY
    timeout = TIMEOUT

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(assignment)
        self.errors: list[AvfClientError] = []
        self._times: dict[int, float] = {}
        self._astray = False

    def opened(self, session: aio.AsyncSession | sync.Session) -> None:
        self.session, self.epoch, self.next_seq = session.id, session.epoch, session.next_seq
        self.history.record(Opened(session=self.session, seed=self.seed, durability=self.durability))

    def offer(self, stream: str, seq: int) -> list[float | None]:
        """The observation, noted as sent."""
        self._times[seq] = now()
        self.history.record(Sent(stream=stream, session=self.session, epoch=self.epoch, seq=seq, at=now()))
        return self.observation(self.epoch, seq)

    def take(self, stream: str, estimate: Estimate) -> None:
        """Note an estimate."""
        durable = getattr(estimate, "durable_seq", None)
        self.history.record(
            Reply(
                stream=stream,
                session=self.session,
                epoch=estimate.epoch,
                seq=estimate.seq,
                value=_value(estimate),
                durable=estimate.seq if durable is None else durable,
                asked=self._times.pop(estimate.seq, now()),
                at=now(),
            )
        )
        self.next_seq = estimate.seq + 1

    def source(self, stream: str, first: int, count: int, stop: asyncio.Event) -> Iterator[list[float | None]]:
        """Observations for a stream."""
        for seq in range(first, first + count):
            if stop.is_set():
                return
            yield self.offer(stream, seq)

    def failed(self, error: AvfClientError) -> None:
        """Note an error that a user would have seen."""
        self.errors.append(error)
        self._times.clear()
        self._astray = True


class SdkDriver(_SdkDriver):
    """By `AsyncClient`."""

    async def run(self, stop: asyncio.Event) -> None:
        """Drive the session."""
        async with AsyncClient(self.url, timeout=self.timeout, retry=self.retry) as client:
            while not stop.is_set() and not self.session:
                with contextlib.suppress(AvfClientError):
                    kept = await client.session(MODEL, seed=self.seed, durability=self.durability, **crowd(self.seed))
                    self.opened(kept)
            while not stop.is_set():
                asked = now()
                try:
                    if self._astray:
                        await kept.refresh()
                        self._astray = False
                        self.stand(kept.info, asked=asked)
                    await self._use(kept, stop)
                except AvfClientError as error:
                    self.failed(error)

    async def _use(self, kept: aio.AsyncSession, stop: asyncio.Event) -> None:
        count = self.random.randint(1, LONGEST)
        stream = new_stream("sdk")
        if self.random.random() < 0.5:
            async for estimate in kept.stream(self.source(stream, kept.next_seq, count, stop)):
                self.take(stream, estimate)
                await asyncio.sleep(self._think * self.random.random())
            return
        for _ in range(count):
            if stop.is_set():
                return
            self.take(stream, await kept.step(self.offer(stream, kept.next_seq)))
            await asyncio.sleep(2 * self._think * self.random.random())


class SyncDriver(_SdkDriver):
    """By `Client`, in a thread of its own."""

    async def run(self, stop: asyncio.Event) -> None:
        """Drive the session."""
        self._stop = threading.Event()
        thread = asyncio.create_task(asyncio.to_thread(self._run, stop))
        await stop.wait()
        self._stop.set()
        await thread

    def _run(self, stop: asyncio.Event) -> None:
        with Client(self.url, timeout=self.timeout, retry=self.retry) as client:
            while not self._stop.is_set() and not self.session:
                with contextlib.suppress(AvfClientError):
                    kept = client.session(MODEL, seed=self.seed, durability=self.durability, **crowd(self.seed))
                    self.opened(kept)
            while not self._stop.is_set():
                asked = now()
                try:
                    if self._astray:
                        kept.refresh()
                        self._astray = False
                        self.stand(kept.info, asked=asked)
                    self._use(kept, stop)
                except AvfClientError as error:
                    self.failed(error)

    def _use(self, kept: sync.Session, stop: asyncio.Event) -> None:
        count = self.random.randint(1, LONGEST)
        stream = new_stream("sdk")
        if self.random.random() < 0.5:
            for estimate in kept.stream(self.source(stream, kept.next_seq, count, stop)):
                self.take(stream, estimate)
            return
        for _ in range(count):
            if self._stop.is_set():
                return
            self.take(stream, kept.step(self.offer(stream, kept.next_seq)))
            self._stop.wait(2 * self._think * self.random.random())


def _value(estimate: Estimate) -> tuple[float, ...]:
    """As `offline.value`."""
    posterior_deviation = () if estimate.posterior_deviation is None else estimate.posterior_deviation
    return (
        estimate.free_energy,
        estimate.kl,
        estimate.evidence_bound or 0.0,
        estimate.effective_sample_size or 0.0,
        *map(float, estimate.free_energies),
        *map(float, estimate.posterior_mean),
        *map(float, posterior_deviation),
        *map(float, estimate.prediction),
        *map(float, estimate.likelihood),
    )
