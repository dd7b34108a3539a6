"""What a server loses, and what it leaves unsaid: sent again where that can be, told where it cannot, never hidden."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from avf_client import AsyncClient, Client, Retry, errors

from tests.support import redises
from tests.support.estimates import frames, same
from tests.support.servers import Server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow

PATIENT = Retry(attempts=20, first=0.01, most=0.5)
X = np.eye(88)[:6]


@pytest.fixture(scope="module")
def late_saver(start: Callable[..., Server], checkpoint: Path) -> Iterator[Server]:
    """A server that saves sessions of durability `behind` so late that the tests are over before."""
    running = start(checkpoint, AVF_BEHIND_S="60", AVF_BEHIND_STEPS="1000")
    yield running
    running.stop()


def test_what_was_answered_and_not_saved_is_sent_again(server: str, late_saver: Server) -> None:
    """The server is killed in the midst of a stream, and between requests: the estimates are those of a calm run."""
    xs = frames(40)
    with Client(server) as calm, calm.session("tiny", seed=5) as session:
        expected = session.steps(xs)
    with (
        Client(late_saver.url, retry=PATIENT) as client,
        client.session("tiny", seed=5, durability="behind") as session,
    ):
        got = []
        for estimate in session.stream(xs[:20], in_flight=4):
            got.append(estimate)
            if estimate.seq == 10:
                assert (estimate.durability, estimate.durable_seq) == ("behind", 0)
                late_saver.stop(signal.SIGKILL)
                late_saver.start()
        late_saver.stop(signal.SIGKILL)
        late_saver.start()
        session.refresh()
        assert (session.info.next_seq, session.next_seq) == (1, 21)
        got += session.steps(xs[20:])
        same(got, expected)
        session.refresh()
        assert session.info.next_seq == 41


def test_what_cannot_be_sent_again_is_told(late_saver: Server) -> None:
    """Another client of the session has not got what was lost: it is told, and not given other estimates."""
    with Client(late_saver.url, retry=PATIENT) as client, client.session("tiny", durability="behind") as session:
        session.steps(X)
        other = client.attach(session.id)
        assert other.next_seq == 7
        late_saver.stop(signal.SIGKILL)
        late_saver.start()
        with pytest.raises(errors.SequenceGap, match="lost"):
            list(other.stream(X))
        with pytest.raises(errors.SequenceGap):
            other.step(X[0])
        assert session.step(X[0]).seq == 7


def test_a_session_in_memory_is_gone_with_its_server(late_saver: Server) -> None:
    """Durability `none`: the loss is told by UnknownSession, in the midst of a stream."""
    with Client(late_saver.url, retry=PATIENT) as client:
        session = client.session("tiny", durability="none")
        stream = session.stream(frames(40), in_flight=1)
        next(stream)
        late_saver.stop(signal.SIGKILL)
        late_saver.start()
        with pytest.raises(errors.UnknownSession):
            list(stream)


def test_a_step_that_too_few_replicas_have_is_waited_for(
    start: Callable[..., Server], checkpoint: Path, tmp_path: Path
) -> None:
    """Durability `wait`: a step and a stream are answered once the replica is back, with a calm run's estimates."""
    with redises.replicated(redises.binary(redises.WANTED[0]), tmp_path) as (master, replica):
        running = start(checkpoint, AVF_REDIS_URL=master.url, AVF_REDIS_TIMEOUT_S="1")
        with Client(running.url, retry=PATIENT) as client:
            with client.session("tiny", seed=5) as calm:
                expected = calm.steps(X)
            with client.session("tiny", seed=5, durability="wait") as session:
                got = [session.step(X[0])]
                with refused_once(running.url, replica.pid):
                    got.append(session.step(X[1]))
                with refused_once(running.url, replica.pid):
                    got += session.stream(X[2:])
            same(got, expected)
            assert {estimate.durability for estimate in got} == {"wait"}
        assert running.stop(signal.SIGTERM) == 0


@contextlib.contextmanager
def refused_once(url: str, replica: int) -> Iterator[None]:
    """The replica is away until the server has said `not-replicated` once more."""

    def refusals() -> float:
        metrics = httpx.get(f"{url}/metrics").text
        found = re.search(r'^avf_problems_total\{name="not-replicated"\} (\S+)', metrics, re.MULTILINE)
        return 0.0 if found is None else float(found[1])

    def watch(before: float) -> None:
        wait_for(lambda: refusals() > before, "a refusal")
        os.kill(replica, signal.SIGCONT)

    os.kill(replica, signal.SIGSTOP)
    waking = threading.Thread(target=watch, args=(refusals(),))
    waking.start()
    try:
        yield
    finally:
        waking.join()


class Mute:
    """A server that takes connections and bytes and says nothing, or half of an answer, and never ends it."""

    def __init__(self, said: bytes = b"") -> None:
        self._said = said
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(near)
            near.sendall(self._said)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for one in self._open:
            one.close()


@pytest.fixture(params=[b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"])
def mute(request: pytest.FixtureRequest) -> Iterator[Mute]:
    """A server that says nothing, or half of something."""
    made = Mute(request.param)
    yield made
    made.close()


async def test_a_server_that_never_answers_is_given_up(mute: Mute) -> None:
    """After `timeout` for each answer, and `total` for all tries: an error, and no waiting for ever."""
    with (
        Client(mute.url, timeout=0.05, retry=Retry(attempts=100, first=0.01, most=0.01, total=0.3)) as client,
        pytest.raises(errors.ConnectionFailed),
    ):
        client.models()
    async with AsyncClient(mute.url, timeout=0.05, retry=Retry(attempts=2, first=0.01)) as client:
        with pytest.raises(errors.ConnectionFailed):
            await client.models()


def test_an_answer_that_drips_is_given_up() -> None:
    """A byte now and then keeps no call alive: the whole answer has its time."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        near, _ = listener.accept()
        with near, contextlib.suppress(OSError):
            near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n")
            near.settimeout(0.02)
            for _ in range(400):
                near.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    near.recv(4096)

    thread = threading.Thread(target=drip)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with (
        Client(url, timeout=0.3, retry=Retry(attempts=1)) as client,
        pytest.raises(errors.ConnectionFailed, match="no whole answer"),
    ):
        client.models()
    thread.join()
    listener.close()


async def test_cancelled_calls_and_streams_can_be_gone_on_with(server: str) -> None:
    """A step that was cancelled is sent again and applied once; a cancelled stream stands where its estimates end."""
    async with AsyncClient(server) as client, await client.session("tiny", seed=5) as session:
        expected = [e.free_energy for e in await session.steps(X)]
    async with AsyncClient(server) as client, await client.session("tiny", seed=5) as session:
        step = asyncio.create_task(session.step(X[0]))
        await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        got = [(await session.step(X[0])).free_energy]
        streaming = asyncio.create_task(_first(session.stream(_endless(X[1])), got))
        while len(got) < 2:
            await asyncio.sleep(0.001)
        streaming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await streaming
        assert session.next_seq == 3
        got += [e.free_energy for e in await session.steps(X[2:])]
        assert got == expected


async def _endless(x: np.ndarray) -> Any:
    yield x
    await asyncio.Event().wait()


async def _first(stream: Any, got: list[float]) -> None:
    async for estimate in stream:
        got.append(estimate.free_energy)
