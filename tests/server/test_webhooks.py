"""Alarms reach those who are to be told: events, thinned streams, and webhooks, signed, in order, and again."""

import asyncio
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import avf_wire as wire
import httpx
import msgspec
import numpy as np
import pytest
from avf_client import Client
from avf_server.metrics.telemetry import Telemetry
from avf_server.problems import StartError
from avf_server.settings import read
from avf_server.watching import webhooks
from avf_server.watching.webhooks import Webhooks, pause

from tests.support import models
from tests.support.servers import Server
from tests.support.waiting import wait_for

SECRET = "a secret of some length"
XS = np.random.default_rng(8).normal(size=(160, 3))
XS[90:] += 30.0
XS[130:] -= 90.0


class Receiver(ThreadingHTTPServer):
    """Takes posts, after it has answered the first of each with 503."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.refused: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}/alarms"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        delivery = self.headers["Avf-Delivery"]
        first = delivery not in self.server.refused
        if first:
            self.server.refused.append(delivery)
        else:
            self.server.taken.append((dict(self.headers.items()), body))
        self.send_response(503 if first else 204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Nothing to standard error."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks on this machine."""
    with Receiver() as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def telling(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Server:
    """A server that posts its alarms there."""
    folder = models.save(tmp_path_factory.mktemp("models") / "linear", models.GAUSSIAN, name="linear")
    data = str(tmp_path_factory.mktemp("data"))
    settings = {"AVF_WEBHOOK_URL": receiver.url, "AVF_WEBHOOK_SECRET": SECRET}
    return serve("--model", str(folder), "--data-dir", data, **settings)


def raised(client: Client) -> tuple[str, list[int]]:
    """A session of which some steps raised alarms, and their seqs."""
    with client.session("linear", seed=1, alarm_every=100.0, alarm_by="novelty") as session:
        found = [e.seq for e in session.steps(XS) if e.alarm is not None and e.alarm.raised]
        return session.id, found


def delivered(server: Server) -> float:
    """How many alarms the server says were taken."""
    counted = re.search(r'avf_webhooks_total{outcome="delivered"} (.+)', httpx.get(f"{server.url}/metrics").text)
    return float(counted[1]) if counted else 0.0


def test_alarms_are_posted_signed_in_order_and_again(telling: Server, receiver: Receiver) -> None:
    """Each comes, with the signature that openssl would make, after its first try was answered by 503."""
    with Client(telling.url, timeout=60) as client:
        session, seqs = raised(client)
    assert seqs
    wait_for(lambda: delivered(telling) >= len(seqs), "alarms that were posted")
    mine = [(headers, body) for headers, body in receiver.taken if session in headers["Avf-Delivery"]]
    assert [headers["Avf-Delivery"] for headers, _ in mine] == [f"{session}-1-{seq}" for seq in seqs]
    for headers, body in mine:
        signed = hmac.new(SECRET.encode(), headers["Avf-Timestamp"].encode() + b"." + body, hashlib.sha256)
        assert headers["Avf-Signature"] == f"v1={signed.hexdigest()}"
        said = json.loads(body)
        step = msgspec.convert(said["step"], wire.HistoryEntry)
        assert (said["type"], said["session"], step.alarm) == ("alarm", session, True)
    assert delivered(telling) == len(receiver.taken)


def test_alarms_are_events_and_come_on_thinned_streams(telling: Server) -> None:
    """The SDK tells them as events of a session; a stream of each thousandth estimate has those that raised one."""
    with Client(telling.url, timeout=60) as client:
        _, seqs = raised(client)
        with client.session("linear", seed=1, alarm_every=100.0, alarm_by="novelty") as session:
            session.step(XS[0])
            watched = session.events()
            first = next(watched)
            assert first.kind == "estimate"
            told = [each.seq for each in session.stream(XS[1:], every=1000, fields="scalars")]
            assert told == seqs
            heard: list[int] = []
            while len(heard) < len(seqs):
                event = next(watched)
                if event.kind == "alarm":
                    assert event.history is not None
                    heard += event.history.seq.tolist()
            assert heard == seqs
            watched.close()


def test_all_alarms_of_an_owner_are_told(telling: Server) -> None:
    """Over /v1/events, as they lie in histories."""
    with httpx.stream("GET", f"{telling.url}/v1/events", params={"interval": 0.05}, timeout=60) as answer:
        lines = answer.iter_lines()
        next(lines)  # the first sign of life: it watches
        with Client(telling.url, timeout=60) as client:
            session, seqs = raised(client)
        heard: list[int] = []
        for line in lines:
            if line == "event: alarm":
                said = msgspec.json.decode(next(lines).removeprefix("data: "), type=wire.AlarmRaised)
                heard += [said.step.seq] if said.session == session else []
            if len(heard) == len(seqs):
                break
        assert heard == seqs


def note(seq: int, *, alarm: bool = True) -> bytes:
    """The note of a step."""
    numbers = {"at": 0.0, "free_energy": 0.0, "reconstruction": 0.0, "kl": 0.0, "prior_free_energy": None}
    return msgspec.json.encode(wire.HistoryEntry(epoch=1, seq=seq, iterations=0, alarm=alarm, **numbers))


async def test_what_nobody_takes_is_bounded() -> None:
    """While one is tried, ten more come: the two newest wait, the others are dropped and counted."""
    began, telemetry = asyncio.Event(), Telemetry()

    async def never(request: httpx.Request) -> httpx.Response:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    limits = webhooks.Limits(webhook_url="http://127.0.0.1/", webhook_secret=SECRET, webhook_queue=2)
    posts = Webhooks(limits, telemetry, transport=httpx.MockTransport(never))
    task = asyncio.create_task(posts.run())
    posts.stepped("a", note(1))
    posts.stepped("a", note(2, alarm=False))
    await began.wait()
    for seq in range(3, 13):
        posts.stepped("a", note(seq))
    assert posts.waiting == 2
    assert telemetry.webhooks.labels("dropped")._value.get() == 9
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_refused_is_given_up_at_once() -> None:
    """A redirect and 410 refuse for good; the next is then posted."""
    answers, bodies, done = [410, 302, 200], [], asyncio.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.headers["Avf-Delivery"])
        if len(bodies) == len(answers):
            done.set()
        return httpx.Response(answers[len(bodies) - 1], headers={"Location": "http://elsewhere/"})

    telemetry = Telemetry()
    limits = webhooks.Limits(webhook_url="http://127.0.0.1/", webhook_secret=SECRET, webhook_queue=9)
    posts = Webhooks(limits, telemetry, transport=httpx.MockTransport(answer))
    for seq in (1, 2, 3):
        posts.stepped("a", note(seq))
    task = asyncio.create_task(posts.run())
    await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bodies == ["a-1-1", "a-1-2", "a-1-3"]
    assert telemetry.webhooks.labels("refused")._value.get() == 2


def test_pauses_grow_to_a_minute_and_heed_what_is_asked() -> None:
    """Half a second, doubled, half of it by chance; a Retry-After of more is kept to, within a minute."""
    assert [pause(n, chance=1.0) for n in (1, 2, 3, 8, 30)] == [0.5, 1.0, 2.0, 60.0, 60.0]
    assert pause(1, chance=0.0) == 0.25
    assert pause(1, chance=1.0, asked="7") == 7.0
    assert pause(1, chance=1.0, asked="3600") == 60.0
    assert pause(1, chance=1.0, asked="soon") == 0.5


@pytest.mark.parametrize(
    ("url", "secret", "why"),
    [
        ("ftp://example.org/", SECRET, "https://host/path"),
        ("https://", SECRET, "https://host/path"),
        ("https://[::1/", SECRET, "https://host/path"),
        ("https://me:sesame@example.org/", SECRET, "leave it out"),
        ("http://example.org/", SECRET, "readable on their way"),
        ("https://example.org/", "short", "16 characters"),
        ("https://example.org/", "", "16 characters"),
    ],
)
def test_addresses_that_would_not_do_are_refused(url: str, secret: str, why: str) -> None:
    """At the start, by the setting's name, and without a word of the secret."""
    environment = {"AVF_WEBHOOK_URL": url, "AVF_WEBHOOK_SECRET": secret}
    with pytest.raises(StartError, match="AVF_WEBHOOK") as caught:
        read(environment=environment)
    assert why in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert not secret or secret not in str(caught.value)


def test_addresses_that_will_do() -> None:
    """https anywhere, http on this machine; neither address nor secret is in what settings say of themselves."""
    for url in ("https://example.org/a?b=c", "http://127.0.0.1:9/", "http://localhost/x"):
        settings = read(environment={"AVF_WEBHOOK_URL": url, "AVF_WEBHOOK_SECRET": SECRET})
        assert settings.webhook_url == url
        assert SECRET not in repr(settings)
        assert url not in repr(settings)
