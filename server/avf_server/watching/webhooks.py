"""Alarms, posted to an address of the operator's: signed, in order, and again where nobody took them.

    POST  {"type": "alarm", "session": ..., "step": HistoryEntry}
    Avf-Delivery   SESSION-EPOCH-SEQ, the same of every try
    Avf-Timestamp  seconds since 1970, of this try
    Avf-Signature  v1=HMAC-SHA256(secret, TIMESTAMP "." BODY), in hexadecimal digits

The laws: telling never waits, so that no step is held up by who is told; what waits is bounded, and where it is too
much the oldest is dropped, counted and logged. An alarm is posted at least once while the server lives, or given up
after `ATTEMPTS` tries, or at once where the other side says that it will never take it. Redirects are not followed.
Neither address nor secret becomes text.
"""

import asyncio
import hashlib
import hmac
import logging
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import avf_wire as wire
import httpx
import msgspec

from avf_server.metrics.telemetry import Telemetry
from avf_server.watching.feed import RAISED

logger = logging.getLogger(__name__)

ATTEMPTS = 8  # of one alarm
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between two tries: doubled each time, and half of it by chance
TRY = 5.0  # seconds that one may take
LATER = frozenset({408, 425, 429})
"""Answers that ask for another try, beside all of 500 and above."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    webhook_url: str | None
    webhook_secret: str | None
    webhook_queue: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An alarm on its way."""

    id: str
    body: bytes


def signature(secret: str, *, timestamp: int, body: bytes) -> str:
    """What a receiver compares `Avf-Signature` with."""
    signed = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256)
    return f"v1={signed.hexdigest()}"


def pause(attempt: int, *, chance: float, asked: str | None = None) -> float:
    """Seconds before the next try, after so many; as long as the other side `asked` for, where that is more."""
    own = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (attempt - 1))
    wanted = float(asked) if asked is not None and asked.isascii() and asked.isdecimal() else 0.0
    return max(own * (0.5 + 0.5 * chance), min(wanted, LONGEST_PAUSE))


class Webhooks:
    """What is posted, and its task's body, `run`. Without an address nothing is."""

    def __init__(
        self, limits: Limits, telemetry: Telemetry, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._limits = limits
        self._outcomes = telemetry.webhooks
        self._transport = transport
        self._waiting: deque[Delivery] = deque()
        self._wanted = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Alarms that nobody has taken yet."""
        return len(self._waiting)

    def stepped(self, session: str, note: bytes) -> None:
        """A session went on by the step of this note, which may have raised an alarm."""
        if self._limits.webhook_url is None or RAISED not in note:
            return
        step = msgspec.json.decode(note, type=wire.HistoryEntry)
        body = _encode({"type": "alarm", "session": session, "step": msgspec.Raw(note)})
        if len(self._waiting) >= self._limits.webhook_queue:
            self._waiting.popleft()
            self._ended("dropped", "more than %d alarms wait to be posted: the oldest is dropped", self.waiting)
        self._waiting.append(Delivery(id=f"{session}-{step.epoch}-{step.seq}", body=body))
        self._wanted.set()

    async def run(self) -> None:
        """Post what waits, one after the other, until cancelled."""
        async with httpx.AsyncClient(timeout=TRY, follow_redirects=False, transport=self._transport) as client:
            while True:
                if not self._waiting:
                    self._wanted.clear()
                    await self._wanted.wait()
                delivery = self._waiting[0]
                await self._deliver(client, delivery)
                if self._waiting and self._waiting[0] is delivery:  # it may have been dropped meanwhile
                    self._waiting.popleft()

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        """Post one alarm until it is taken, or given up."""
        for attempt in range(1, ATTEMPTS + 1):
            asked = None
            try:
                answer = await client.post(
                    str(self._limits.webhook_url), content=delivery.body, headers=self._headers(delivery)
                )
            except httpx.HTTPError as error:
                why = type(error).__name__
            else:
                if answer.is_success:
                    self._outcomes.labels("delivered").inc()
                    return None
                why, asked = str(answer.status_code), answer.headers.get("Retry-After")
                if answer.status_code < 500 and answer.status_code not in LATER:
                    return self._ended("refused", "an alarm was refused by the webhook: %s", why)
            if attempt < ATTEMPTS:
                await asyncio.sleep(pause(attempt, chance=random.random(), asked=asked))
        return self._ended("failed", "an alarm was not posted in %d tries: %s", ATTEMPTS, why)

    def _headers(self, delivery: Delivery) -> Mapping[str, str]:
        timestamp = int(time.time())
        signed = signature(self._limits.webhook_secret or "", timestamp=timestamp, body=delivery.body)
        return {
            "Content-Type": "application/json",
            "User-Agent": "avf-webhook/1",
            "Avf-Delivery": delivery.id,
            "Avf-Timestamp": str(timestamp),
            "Avf-Signature": signed,
        }

    def _ended(self, outcome: str, text: str, *values: object) -> None:
        """An alarm that did not arrive."""
        self._outcomes.labels(outcome).inc()
        logger.warning(text, *values)
