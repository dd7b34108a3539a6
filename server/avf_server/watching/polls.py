"""Clients that wait for an estimate that has not come yet (long poll).

The law: a waiter holds nothing but its place. What it answers with is read from the store, which is the truth: again
whenever this server has moved the session on, and every POLL seconds, because another server may have. Waits are
bounded, in time and in number, and end when the server stops.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from avf_server import problems
from avf_server.sessions.registry import Sessions
from avf_server.stopping import Stopping
from avf_server.stores.base import MAX_SEQ, Record
from avf_server.watching.feed import Feed
from avf_server.watching.places import Places

POLL = 0.5  # seconds, after which the steps of other servers are seen


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    max_wait_s: float
    queue_limit: int
    retry_after_s: int


class Polls:
    """Last estimates, and those to come."""

    def __init__(self, limits: Limits, sessions: Sessions, feed: Feed, stopping: Stopping, *, owners: int) -> None:
        self._limits = limits
        self._sessions = sessions
        self._feed = feed
        self._stopping = stopping
        self._places = Places(limits.queue_limit, owners=owners)

    async def last(self, session: str, *, owner: str) -> Record:
        """A session with its last reply. Raises UnknownSessionError, NoEstimateError."""
        record = await self._sessions.record(session, owner=owner)
        if record.reply is None:
            raise _none(record, "nothing has been observed")
        return record

    async def reached(self, session: str, *, seq: int, timeout: float | None, owner: str) -> Record:
        """A session with its last reply, once observation `seq` of its current epoch has been filtered.

        `timeout` is in seconds; None means the most that is allowed. Raises NoEstimateError where `seq` was not reached
        in that time, InvalidSettingError, OverloadedError, UnknownSessionError where the session ends meanwhile.
        """
        limit = self._limits.max_wait_s
        timeout = limit if timeout is None else timeout
        if not 0.0 <= timeout <= limit:
            raise problems.InvalidSettingError(f"timeout is {timeout}, expected seconds in [0, {limit}]")
        if not 1 <= seq <= MAX_SEQ:
            raise problems.InvalidSettingError(f"wait_seq is no number in [1, {MAX_SEQ}]")
        if not self._places.may_enter(owner):
            raise problems.OverloadedError(
                f"{self._places.taken} clients wait for estimates: that is the limit, or the rest is for other keys",
                retry_after=self._limits.retry_after_s,
            )
        with self._places.one(owner):
            return await self._reached(session, seq, timeout, owner)

    async def _reached(self, session: str, seq: int, timeout: float, owner: str) -> Record:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        while True:
            notice = self._feed.notices.next(session)  # before looking, so that none falls in between
            record = await self._sessions.record(session, owner=owner)
            if record.reply is not None and record.position.seq >= seq:
                return record
            left = deadline - clock()
            if left <= 0.0:
                raise _none(record, f"seq {seq} has not been observed within {timeout:g} seconds")
            self._stopping.check()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, POLL)):
                    await notice.wait()


def _none(record: Record, what: str) -> problems.NoEstimateError:
    at = record.position
    return problems.NoEstimateError(
        f"{what} in epoch {at.epoch}; the next seq is {at.seq + 1}",
        session=record.meta.id,
        expected_seq=at.seq + 1,
        expected_epoch=at.epoch,
    )
