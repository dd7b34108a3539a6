"""A client over plain HTTP that does what networks and careless programs do: it sends things twice, late, out of
order, and other things under an old seq; it crashes, forgets all, and asks where it stands.
"""

import asyncio
import contextlib

import avf_wire as wire
import httpx
import msgspec

from .driver import Driver
from .history import Accepted, Reset, now

WINDOW = 100  # seqs back that are asked for again; the server keeps 128 replies
MOST = 4  # observations in one request


class HttpDriver(Driver):
    """What it does next is drawn from its seed."""

    async def _move(self, stop: asyncio.Event) -> None:
        moves = {
            self._step: 60,
            self._twice: 10,
            self._out_of_order: 6,
            self._late: 8,
            self._impostor: 4,
            self._crash: 4,
            self._look: 6,
            self._reset: 1,
        }
        (move,) = self.random.choices(list(moves), list(moves.values()))
        await move(stop)

    async def _step(self, stop: asyncio.Event) -> None:
        """One to four observations, sent again until they are acknowledged, or the server says where it stands."""
        count = self.random.randint(1, MOST)
        while not stop.is_set():
            answer = await self.attempt(self.next_seq, count)
            if answer is not None:
                self._follow(answer, count)
                return
            await self.pause()

    async def _twice(self, stop: asyncio.Event) -> None:
        """The same request by two connections at once."""
        await asyncio.gather(self.attempt(self.next_seq, 2), self.attempt(self.next_seq, 2))
        await self._step(stop)

    async def _out_of_order(self, stop: asyncio.Event) -> None:
        """The request after the next one overtakes it."""
        await asyncio.gather(self.attempt(self.next_seq + 2, 2), self.attempt(self.next_seq, 2))
        await self._step(stop)

    async def _late(self, stop: asyncio.Event) -> None:
        """A request that was answered long ago is delivered once more."""
        if self.next_seq > 1:
            await self.attempt(self.random.randint(max(1, self.next_seq - WINDOW), self.next_seq - 1), 1)

    async def _impostor(self, stop: asyncio.Event) -> None:
        """Another observation under a seq that is taken. It may be free again where steps were rolled back."""
        if self.next_seq == 1 or self.durability == "behind":
            return
        seq = self.random.randint(max(1, self.next_seq - WINDOW), self.next_seq - 1)
        answer = await self.attempt(seq, 1, other=True)
        if answer is not None and answer.status_code == 200:
            self.history.record(Accepted(session=self.session, epoch=self.epoch, seq=seq, at=now()))

    async def _crash(self, stop: asyncio.Event) -> None:
        """Die with a request under way, and begin again with nothing but the session's name."""
        self.history.crashes += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02 * self.random.random()):
                await self.attempt(self.next_seq, MOST)
        await self._look(stop)

    async def _look(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and not await self.look():
            await self.pause()

    async def _reset(self, stop: asyncio.Event) -> None:
        """Begin another epoch; where the answer is lost, find out."""
        asked = now()
        self.history.record(Reset(session=self.session, at=asked))
        try:
            answer = await self.http.post(f"/v1/sessions/{self.session}/reset")
        except httpx.TransportError as error:
            self.cut(error)
            return await self._look(stop)
        if answer.status_code == 200:
            return self.stand(msgspec.json.decode(answer.content, type=wire.Session), asked=asked)
        self.refused(answer, asked=asked)
        return await self._look(stop)

    def _follow(self, answer: httpx.Response, count: int) -> None:
        """Go on behind what was acknowledged, or where the server stands."""
        if answer.status_code == 200:
            self.next_seq += count
            return
        problem = msgspec.json.decode(answer.content, type=wire.Problem)
        if problem.expected_seq is not None and problem.expected_epoch is not None:
            self.epoch, self.next_seq = problem.expected_epoch, problem.expected_seq
