"""Sessions in Redis: one hash a session, one Lua compare-and-set a commit, all commits of a tick in one pipelined call.

The laws: commands of Redis 6.2 only; a time-out on every call and no retries, so that an answer is late by no
more than the time-out; a commit whose fate is unknown is a StoreError, never a guess. The key `avf:{id}` has
a hash tag, so that a script touches one slot.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from avf_server.batching import Position
from avf_server.problems import StoreError
from avf_server.stores.base import Commit, Meta, Outcome, Record

COMMIT = """
local at = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if not at[1] then return 'gone' end
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] then return 'moved' end
local seq = tonumber(ARGV[2]) + 1
redis.call('HSET', KEYS[1], 'seq', seq, 'belief', ARGV[3], 'r' .. seq, ARGV[4])
redis.call('HDEL', KEYS[1], 'r' .. (seq - tonumber(ARGV[5])))
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 'applied'
"""

RESET = """
local at = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if not at[1] then return 'gone' end
if at[1] ~= ARGV[1] then return 'moved' end
local last = tonumber(at[2])
for seq = math.max(1, last - tonumber(ARGV[2]) + 1), last do redis.call('HDEL', KEYS[1], 'r' .. seq) end
redis.call('HDEL', KEYS[1], 'belief')
redis.call('HSET', KEYS[1], 'epoch', tonumber(ARGV[1]) + 1, 'seq', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'applied'
"""

LAST = """
return redis.call('HGET', KEYS[1], 'r' .. (redis.call('HGET', KEYS[1], 'seq') or ''))
"""

OUTCOMES = {b"applied": Outcome.APPLIED, b"moved": Outcome.MOVED, b"gone": Outcome.GONE}


def key(session: str) -> str:
    """The key of a session's hash."""
    return f"avf:{{{session}}}"


class RedisStore:
    """Sessions in the Redis at `url`. `timeout` and `ttl` are in seconds, `window` counts stored replies."""

    def __init__(self, url: str, *, timeout: float, window: int, ttl: float) -> None:
        self._window = window
        self._ttl_ms = max(1, round(ttl * 1000))
        self._scripts: dict[str, str] = {}
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
        )

    async def ping(self) -> None:
        """Ask Redis whether it is there."""
        async with _translated():
            await self._redis.ping()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def create(self, meta: Meta, *, belief: bytes | None = None) -> None:
        """Keep a new session, in epoch 1 with nothing observed."""
        fields: dict[Any, Any] = {"meta": msgspec.json.encode(meta), "epoch": 1, "seq": 0}
        if belief is not None:
            fields["belief"] = belief
        async with _translated(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(key(meta.id), mapping=fields)
            pipeline.pexpire(key(meta.id), self._ttl_ms)
            await pipeline.execute()

    async def load(self, wanted: Sequence[tuple[str, int | None]]) -> list[Record | None]:
        """The sessions of these ids, each with the reply of that seq (None: of its last)."""
        async with _translated(), self._redis.pipeline(transaction=False) as pipeline:
            for session, seq in wanted:
                fields = ["meta", "epoch", "seq", "belief", *([] if seq is None else [f"r{seq}"])]
                pipeline.hmget(key(session), fields)
                pipeline.pttl(key(session))
                if seq is None:
                    pipeline.eval(LAST, 1, key(session))
            answers = iter(await pipeline.execute())
        records = []
        for _, seq in wanted:
            values, ttl = next(answers), next(answers)
            records.append(_record(values, ttl, next(answers) if seq is None else values[4]))
        return records

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Move sessions on, all in one pipelined call."""
        arguments = [
            (c.session, [c.continues.epoch, c.continues.seq, c.belief, c.reply, self._window, self._ttl_ms])
            for c in commits
        ]
        return await self._run(COMMIT, arguments)

    async def reset(self, session: str, *, epoch: int) -> Outcome:
        """End `epoch` and begin the next one."""
        return (await self._run(RESET, [(session, [epoch, self._window, self._ttl_ms])]))[0]

    async def delete(self, session: str) -> bool:
        """Forget a session; False where there was none."""
        async with _translated():
            return bool(await self._redis.delete(key(session)))

    async def _run(self, script: str, calls: Sequence[tuple[str, list[Any]]]) -> list[Outcome]:
        """Call a script once a session; where Redis has lost the script, nothing was applied, and it is sent again."""
        answers = await self._evaluate(script, calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            self._scripts.clear()
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            again = await self._evaluate(script, [calls[i] for i in missing])
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise StoreError(f"Redis refuses to save: {answer}") from answer
        return [OUTCOMES[answer] for answer in answers]

    async def _evaluate(self, script: str, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Call a script once a session, in one transaction: Redis then writes and syncs its file once, not for each."""
        sha = await self._script(script)
        async with _translated(), self._redis.pipeline(transaction=True) as pipeline:
            for session, arguments in calls:
                pipeline.evalsha(sha, 1, key(session), *arguments)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def _script(self, script: str) -> str:
        """The name under which Redis holds the script."""
        if script not in self._scripts:
            async with _translated():
                self._scripts[script] = str(await self._redis.script_load(script))
        return self._scripts[script]


def _record(values: list[bytes | None], ttl_ms: int, reply: bytes | None) -> Record | None:
    meta, epoch, seq, belief = values[:4]
    if meta is None or epoch is None or seq is None:
        return None
    return Record(
        meta=msgspec.json.decode(meta, type=Meta),
        position=Position(int(epoch), int(seq)),
        belief=belief,
        reply=reply,
        expires_in=max(0, ttl_ms) / 1000,
    )


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Errors of redis-py, and of the sockets under it, as StoreError."""
    try:
        yield
    except ResponseError as error:
        raise StoreError(f"Redis refuses: {error}") from error
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreError(f"Redis does not answer: {error or type(error).__name__}") from error
