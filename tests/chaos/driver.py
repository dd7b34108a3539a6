"""What all drivers of sessions share: where a session stands as its client knows it, and what is recorded.

A driver is a client written for this purpose: it goes on whatever happens, and records all that it sees. The law: a
driver never hides anything from the judge, and never sends what an honest client would not, but where it says so.
"""

import asyncio
import contextlib
import itertools
import random
from dataclasses import dataclass

import avf_wire as wire
import httpx
import msgspec

from .history import History, Opened, Reply, Sent, Stood, Unknown, now
from .offline import MODEL, crowd, observation, value

TIMEOUT = 1.0  # seconds that one answer may take; a server that hangs is given up then
CHUNK = 10  # observations that are asked for again in one request
PAUSE = 0.03  # seconds between attempts, at most
_streams = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a driver is to do: `think` is the mean time between two requests, in seconds."""

    url: str
    history: History
    seed: int
    durability: wire.Durability
    think: float


class Driver:
    """One client with one session. `run` is called once; it goes on until `stop` is set."""

    def __init__(self, assignment: Assignment) -> None:
        self.history = assignment.history
        self.url = assignment.url
        self.seed = assignment.seed
        self.durability = assignment.durability
        self.random = random.Random(assignment.seed)
        self.session = ""
        self.epoch = 1
        self.next_seq = 1
        self._think = assignment.think

    async def run(self, stop: asyncio.Event) -> None:
        """Drive the session."""
        limits = httpx.Limits(max_keepalive_connections=2)
        async with httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT, limits=limits, verify=False) as self.http:
            await self._open()
            while not stop.is_set():
                await self._move(stop)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2 * self._think * self.random.random()):
                        await stop.wait()

    async def audit(self, url: str, last: int) -> None:
        """When all is whole again: where does the session stand, and are the last replies what they were?"""
        async with httpx.AsyncClient(base_url=url, timeout=10 * TIMEOUT, verify=False) as self.http:
            while not await self.look():
                await self.pause()
            end = self.next_seq
            for seq in range(max(1, end - last), end, CHUNK):
                while await self.attempt(seq, min(CHUNK, end - seq)) is None:
                    await self.pause()

    async def _move(self, stop: asyncio.Event) -> None:
        """One thing that this kind of client does."""
        raise NotImplementedError

    async def _open(self) -> None:
        """Open the session, as often as it takes: one of which the answer was lost is left to expire."""
        body = {"model": MODEL, "seed": self.seed, "durability": self.durability, **crowd(self.seed)}
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self.http.post("/v1/sessions", json=body)
                if answer.status_code == 201:
                    session = msgspec.json.decode(answer.content, type=wire.Session)
                    self.session, self.epoch, self.next_seq = session.id, session.epoch, session.next_seq
                    opened = Opened(session=self.session, seed=self.seed, durability=self.durability)
                    return self.history.record(opened)
                self.refused(answer, asked=now())
            await self.pause()

    async def pause(self) -> None:
        """Before another attempt."""
        await asyncio.sleep(PAUSE * (0.5 + 0.5 * self.random.random()))

    async def look(self) -> bool:
        """Ask where the session stands, and stand there; False where no answer came."""
        asked = now()
        try:
            answer = await self.http.get(f"/v1/sessions/{self.session}")
        except httpx.TransportError as error:
            return self.cut(error)
        if answer.status_code != 200:
            self.refused(answer, asked=asked)
            return False
        self.stand(msgspec.json.decode(answer.content, type=wire.Session), asked=asked)
        return True

    async def attempt(self, seq: int, count: int, *, other: bool = False) -> httpx.Response | None:
        """Send observations once, and record what comes of it; None where no answer came, or `ask again`.

        `other` sends observations that this session never had, for which no reply is due.
        """
        epoch, stream, asked = self.epoch, new_stream("request"), now()
        seqs = range(seq, seq + count)
        for at in seqs if not other else ():
            self.history.record(Sent(stream=stream, session=self.session, epoch=epoch, seq=at, at=asked))
        xs = [self.observation(epoch, at) if not other else [0.5] * 6 for at in seqs]
        body = {"seq": seq, "epoch": epoch, "observations": xs}
        try:
            answer = await self.http.post(f"/v1/sessions/{self.session}/steps", json=body)
        except httpx.TransportError as error:
            self.cut(error)
            return None
        if answer.status_code != 200:
            return self.refused(answer, asked=asked)
        if not other:
            for estimate in msgspec.json.decode(answer.content, type=wire.StepsReply).estimates:
                self.acknowledged(stream, estimate, asked=asked)
        return answer

    def observation(self, epoch: int, seq: int) -> list[float | None]:
        """The session's observation of this seq."""
        return observation(self.seed, epoch, seq)

    def stand(self, session: wire.Session, *, asked: float) -> None:
        """Stand where the server says."""
        self.epoch, self.next_seq = session.epoch, session.next_seq
        self.stood(session.epoch, session.next_seq, asked=asked)

    def stood(self, epoch: int, next_seq: int, *, asked: float) -> None:
        """Record where the server said that the session stands."""
        self.history.record(
            Stood(session=self.session, epoch=epoch, next_seq=next_seq, asked=asked, at=now()),
        )

    def acknowledged(self, stream: str, estimate: wire.Estimate, *, asked: float) -> None:
        """Record an estimate."""
        durable = estimate.durable_seq
        self.history.record(
            Reply(
                stream=stream,
                session=self.session,
                epoch=estimate.epoch,
                seq=estimate.seq,
                value=value(estimate),
                durable=estimate.seq if durable is None else durable,
                asked=asked,
                at=now(),
            )
        )

    def refused(self, answer: httpx.Response, *, asked: float) -> httpx.Response | None:
        """Record a problem; None where it says to ask again."""
        problem = msgspec.json.decode(answer.content, type=wire.Problem)
        return None if self.problem(problem, asked=asked) else answer

    def cut(self, error: Exception) -> bool:
        """Count an error of the network; False, as nothing is known."""
        self.history.answers[type(error).__name__] += 1
        return False

    def problem(self, problem: wire.Problem, *, asked: float) -> bool:
        """Record a problem; True where it says to ask again."""
        name = problem.type.removeprefix(wire.PROBLEM_PREFIX)
        self.history.answers[name] += 1
        if name == "unknown-session":
            self.history.record(Unknown(session=self.session, asked=asked, at=now()))
        if problem.status == 500:
            self.history.faults[name] += 1
        if problem.expected_seq is not None and problem.expected_epoch is not None:
            self.stood(problem.expected_epoch, problem.expected_seq, asked=asked)
        return problem.status == 503 or name == "session-moved"


def new_stream(kind: str) -> str:
    """A name that no other request or connection has."""
    return f"{kind}-{next(_streams)}"
