"""Which sessions an owner has: a sorted set for each owner, beside the sessions and never their truth.

The laws: an entry is written before its session, so that no session is missing here; entries of sessions that have
gone are dropped when met, and a sweep meets all of them in time. What has just been written is left alone: its session
may be about to come.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from avf_server.stores.base import Meta, place

PAGE = 256
GRACE = 10.0  # seconds from an entry to its session, at most


class OwnerIndex:
    """The index in `redis`; every call is made inside of `call()`. `exists` names the key of a session."""

    def __init__(
        self, redis: Any, call: Callable[[], AbstractAsyncContextManager[None]], *, exists: Callable[[str], str]
    ) -> None:
        self._redis = redis
        self._call = call
        self._exists = exists
        self._swept: dict[str, str] = {}  # of every owner, the last place that a sweep has looked at

    @property
    def owners(self) -> list[str]:
        """The owners that this server has opened sessions for."""
        return list(self._swept)

    def add(self, pipeline: Any, meta: Meta) -> None:
        """Enter a session, by the call that opens it."""
        self._swept.setdefault(meta.owner, "")
        pipeline.zadd(_key(meta.owner), {place(meta): 0})

    async def remove(self, owner: str, places: Sequence[str]) -> None:
        """Drop entries."""
        if places:
            async with self._call():
                await self._redis.zrem(_key(owner), *places)

    async def drop_gone(self, owner: str, places: Sequence[str]) -> None:
        """Drop entries whose sessions were not found; those that are new are left."""
        new = _new()
        await self.remove(owner, [at for at in places if at < new])

    async def page(self, owner: str, *, cursor: str | None, count: int) -> list[str]:
        """At most `count` places, newest first, after `cursor`."""
        last = "+" if cursor is None else f"({cursor}"
        async with self._call():
            found = await self._redis.zrevrangebylex(_key(owner), last, "-", start=0, num=count)
        return [at.decode() for at in found]

    async def count(self, owner: str) -> int:
        """How many entries an owner has: its sessions, and some that have gone."""
        async with self._call():
            return int(await self._redis.zcard(_key(owner)))

    async def sweep(self, owner: str) -> float:
        """Look at the next page of an owner's entries that are not new, and drop what has gone; the share that had."""
        first = self._swept.get(owner, "")
        after = f"({first}" if first else "-"
        async with self._call():
            found = await self._redis.zrangebylex(_key(owner), after, f"({_new()}", start=0, num=PAGE)
        places = [at.decode() for at in found]
        async with self._call(), self._redis.pipeline(transaction=False) as pipeline:
            for at in places:
                pipeline.exists(self._exists(at.partition(".")[2]))
            there = await pipeline.execute() if places else []
        gone = [at for at, exists in zip(places, there, strict=True) if not exists]
        await self.drop_gone(owner, gone)
        self._swept[owner] = places[-1] if len(places) == PAGE else ""
        return len(gone) / max(1, len(places))


def _new() -> str:
    """The place before which an entry is not new."""
    return f"{round((time.time() - GRACE) * 1e6):016x}"


def _key(owner: str) -> str:
    return f"avf:owner:{owner}"
