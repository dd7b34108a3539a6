"""Sessions in Redis, and its commands: a hash a session, a Lua compare-and-set a commit, one pipelined call a tick.

The laws: commands of Redis 6.2 only; a time-out on every call, in Redis' own time (see `_patience`), and no retries, so
that an answer is late by no more than the time-out; a commit whose fate is unknown is a StoreError, never a guess. The
key `avf:{id}` has a hash tag, so that a script touches one slot.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio.cluster import PipelineCommand, RedisCluster
from redis.exceptions import NoScriptError

from avf_server.problems import StoreError
from avf_server.stores import _scripts as scripts
from avf_server.stores._addresses import close, connect
from avf_server.stores._calls import Call, Committed, Told, history_key, key
from avf_server.stores._circuit import Circuit
from avf_server.stores._index import OwnerIndex
from avf_server.stores._neighbour import Neighbour
from avf_server.stores._patience import Patience
from avf_server.stores._pipeline import transaction
from avf_server.stores._records import checked, record, summary
from avf_server.stores.base import (
    Commit,
    DurableStore,
    Limits,
    Meta,
    Outcome,
    Position,
    Record,
    Summary,
    meta_of,
    note_id,
    place,
    position_of,
)
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.stores.evictions import Memory
from avf_server.tasks import Supervisor, cancellable

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    *(f"{scheme}+{kind}" for scheme in ("redis", "rediss") for kind in ("sentinel", "cluster")),
)
CALLS = 64  # at a time, and so connections, of each node where Redis is a Cluster; more wait for their turn
WAIT_SHARE = 0.5  # of a call's time, for which Redis may wait for its replicas
CHECKED, WAITED = "avf:checked", "avf:waited"
OUTCOMES = {b"applied": Outcome.APPLIED, b"moved": Outcome.MOVED, b"gone": Outcome.GONE}


def open_store(url: str, limits: Limits) -> DurableStore:
    """The store at this address; nothing is asked of it yet. Raises whatever redis-py makes of no such address."""
    return RedisStore(
        url,
        timeout=limits.timeout,
        window=limits.window,
        ttl=limits.ttl,
        history=limits.history,
        supervisor=limits.supervisor,
    )


@contextmanager
def example(folder: Path) -> Iterator[str]:
    """A Redis of its own."""
    with EmbeddedRedis(folder) as redis:
        yield redis.url


class RedisStore:
    """Sessions in the Redis at `url`; the rest is as in `base.Limits`."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        window: int,
        ttl: float,
        history: int,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._window = window
        self._ttl_ms = max(1, round(ttl * 1000))
        self._keeps = (window, self._ttl_ms, history)
        self._timeout = timeout
        self._scripts: dict[str, str] = {}
        self._redis: Any = connect(url, timeout=timeout)  # redis-py types its clients apart; all have what is used here
        self._cluster = isinstance(self._redis, RedisCluster)
        self._each = {"target_nodes": RedisCluster.PRIMARIES} if self._cluster else {}
        self._calls = asyncio.Semaphore(CALLS)
        self._patience = Patience(timeout, kept=Neighbour.of_url(url).is_kept)
        self._circuit = Circuit(self._probe, supervisor or Supervisor())
        self.index = OwnerIndex(self._redis, self._call, exists=key)

    async def ping(self) -> None:
        """Ask Redis whether it is there; a Cluster all of it, and for a key, as nodes answer pings while it is down."""
        async with self._call(known_away=True):
            await self._redis.ping(**self._each)
            if self._cluster:
                await self._redis.exists(CHECKED)

    async def check(self) -> None:
        """Write, to see whether Redis takes what it is given: a replica, or one that is full, answers pings."""
        async with self._call():
            await self._redis.set(CHECKED, 1, px=60_000)

    async def memory(self) -> dict[str, Memory]:
        """How each primary is about its memory, by its name."""
        async with self._call():
            return Memory.of_nodes(await self._redis.info(**self._each))

    async def close(self) -> None:
        """Close the connections."""
        await self._circuit.close()
        await close(self._redis)

    async def create(self, meta: Meta, *, belief: bytes | None = None) -> None:
        """Keep a new session, by one write: a second one would be held back while Redis syncs the first."""
        arguments = [msgspec.json.encode(meta), self._ttl_ms, *([] if belief is None else [belief])]
        async with self._call(), self._redis.pipeline(transaction=False) as pipeline:
            self.index.add(pipeline, meta)
            pipeline.eval(scripts.CREATE, 2, key(meta.id), history_key(meta.id), *arguments)
            await pipeline.execute()

    async def load(self, wanted: Sequence[tuple[str, int | None]]) -> list[Record | None]:
        """The sessions of these ids, each with the reply of that seq (None: of its last)."""
        async with self._call(), self._redis.pipeline(transaction=False) as pipeline:
            for session, seq in wanted:
                fields = ["meta", "epoch", "seq", "belief", "rest", *([] if seq is None else [f"r{seq}"])]
                pipeline.hmget(key(session), fields)
                pipeline.pttl(key(session))
                if seq is None:
                    pipeline.eval(scripts.LAST, 1, key(session))
            answers = iter(await pipeline.execute())
        records = []
        for session, seq in wanted:
            values, ttl = next(answers), next(answers)
            records.append(record(session, values, ttl, next(answers) if seq is None else values[5]))
        return records

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Move sessions on, all in one pipelined call."""
        return await self._moves(scripts.COMMIT, [Committed(commit, self._keeps) for commit in commits])

    async def keep_rest(self, session: str, *, continues: Position, rest: bytes) -> Outcome:
        """Keep what is left over after the step at which the session stands."""
        told = Told(session, [continues.epoch, continues.seq, rest, self._ttl_ms])
        return (await self._moves(scripts.KEEP_REST, [told]))[0]

    async def history(
        self, session: str, *, after: str | None = None, count: int, newest: bool = False
    ) -> list[tuple[str, bytes]]:
        """At most `count` notes after the id `after`, oldest first; with `newest`, the last of these."""
        start = "-" if after is None else f"({note_id(position_of(after))}"
        entries: Any
        async with self._call():
            if newest:
                entries = await self._redis.xrevrange(history_key(session), min=start, count=count)
                entries.reverse()
            else:
                entries = await self._redis.xrange(history_key(session), min=start, count=count)
        return [(identifier.decode(), fields[b"n"]) for identifier, fields in entries]

    async def owned(self, owner: str, *, cursor: str | None = None, count: int) -> tuple[list[Summary], str | None]:
        """The sessions of an owner, newest first, with their notes: two calls, more where some have gone meanwhile."""
        while True:
            places = await self.index.page(owner, cursor=cursor, count=count)
            summaries = await self._summaries(places)
            await self.index.drop_gone(owner, [at for at, found in zip(places, summaries, strict=True) if not found])
            cursor = places[-1] if len(places) == count else None
            if cursor is None or any(summaries):
                return [summary for summary in summaries if summary is not None], cursor

    async def reset(self, session: str, *, epoch: int) -> Outcome:
        """End `epoch` and begin the next one."""
        return (await self._moves(scripts.RESET, [Told(session, [epoch, self._window, self._ttl_ms])]))[0]

    async def delete(self, session: str) -> bool:
        """Forget a session."""
        (meta,) = await self._run(scripts.DELETE, [Told(session, [])])
        if meta is None:
            return False
        found = meta_of(meta, session)
        await self.index.remove(found.owner, [place(found)])
        return True

    async def replicas(self, sessions: Sequence[str], *, replicas: int) -> list[int]:
        """How many replicas, up to about `replicas`, have what was saved of these sessions until now."""
        if not self._cluster:
            return [await self._wait(None, WAITED, replicas)] * len(sessions)
        nodes = {session: self._redis.get_node_from_key(key(session)) for session in sessions}
        one_of = {node.name: (node, session) for session, node in nodes.items()}
        waits = [self._wait(node, f"{key(session)}:waited", replicas) for node, session in one_of.values()]
        counts = dict(zip(one_of, await asyncio.gather(*waits), strict=True))
        return [counts[nodes[session].name] for session in sessions]

    async def _wait(self, node: Any, written: str, replicas: int) -> int:
        """Write, and wait until this, and so all that was written before, has reached replicas; how many."""
        limit = max(1, round(self._timeout * WAIT_SHARE * 1000))
        commands = [("SET", written, 1, "PX", 60_000), ("WAIT", replicas, limit)]
        async with self._call():
            if node is not None:
                queued = [PipelineCommand(i, *command) for i, command in enumerate(commands)]
                await node.execute_pipeline(queued)
                answers = [checked(each.result) for each in queued]
            else:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for command in commands:
                        pipeline.execute_command(*command)
                    answers = await pipeline.execute()
        return int(answers[1])

    async def _summaries(self, places: Sequence[str]) -> list[Summary | None]:
        """The sessions of these places in an index; None where a session has gone."""
        async with self._call(), self._redis.pipeline(transaction=False) as pipeline:
            for at in places:
                session = at.partition(".")[2]
                pipeline.hmget(key(session), ["meta", "epoch", "seq"])
                pipeline.pttl(key(session))
                pipeline.xrevrange(history_key(session), count=1)
            answers = await pipeline.execute() if places else []
        sessions = [at.partition(".")[2] for at in places]
        return [summary(s, *answers[3 * i : 3 * i + 3]) for i, s in enumerate(sessions)]

    async def _moves(self, script: str, calls: Sequence[Call]) -> list[Outcome]:
        return [OUTCOMES[answer] for answer in await self._run(script, calls)]

    async def _run(self, script: str, calls: Sequence[Call]) -> list[Any]:
        """Call a script once a session; where Redis has lost the script, nothing was applied, and it is sent again."""
        answers = await self._evaluate(script, calls)
        if NoScriptError in set(map(type, answers)):
            self._scripts.clear()
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            again = await self._evaluate(script, [calls[i] for i in missing])
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        return answers

    async def _evaluate(self, script: str, calls: Sequence[Call]) -> list[Any]:
        """Call a script once a session, in one transaction: Redis then writes and syncs its file once, not for each.

        A Cluster has no transactions over slots, and its nodes do not share scripts: it is sent the script itself.
        """
        if not self._cluster:
            name = (await self._script(script)).encode()
            commands = [call.packed(name) for call in calls]
            async with self._call():
                answers = await transaction(self._redis, commands)
                return answers if set(map(type, answers)) == {bytes} else list(map(_found, answers))
        async with self._call(), self._redis.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.eval(script, 2, key(call.session), history_key(call.session), *call.arguments)
            return [_found(answer) for answer in await pipeline.execute(raise_on_error=False)]

    async def _script(self, script: str) -> str:
        """The name under which Redis holds the script."""
        if script not in self._scripts:
            async with self._call():
                self._scripts[script] = str(await self._redis.script_load(script))
        return self._scripts[script]

    async def _probe(self) -> None:
        """Ask on new connections: those that there are may lead to where Redis no longer is."""
        with suppress(Exception):
            if self._cluster:
                await self._redis.aclose()  # to be opened again with what the Cluster then is
            else:
                await self._redis.connection_pool.disconnect(inuse_connections=False)
        await self.ping()

    @asynccontextmanager
    async def _call(self, *, known_away: bool = False) -> AsyncIterator[None]:
        """One call: bounded in time and number, not made while Redis is away, its errors as StoreError."""
        try:
            async with self._calls:
                if not known_away:
                    await self._circuit.check()
                with cancellable():
                    async with self._patience.limit():
                        yield
        except StoreError:
            raise
        except Exception as error:
            raise self._circuit.judged(error) from error


def _found(answer: Any) -> Any:
    """The answer to a script; that Redis has lost the script is one."""
    return answer if isinstance(answer, NoScriptError) else checked(answer)
