"""A Redis that may drop keys is warned of, wherever it is; what it drops is counted, and told as what it is."""

import logging
from pathlib import Path
from typing import Any

import pytest
from avf_server.problems import StoreError
from avf_server.stores.evictions import Evictions, Memory
from avf_server.stores.redis import RedisStore

from tests.support import redises

pytestmark = pytest.mark.slow

LIMITS: dict[str, Any] = {"timeout": 5.0, "window": 3, "ttl": 60.0, "history": 1000}


@pytest.mark.parametrize(
    ("info", "policy", "evicted"),
    [
        ({"maxmemory": 100, "maxmemory_policy": "allkeys-lru", "evicted_keys": 3}, "allkeys-lru", 3),
        ({"maxmemory": 100, "maxmemory_policy": "volatile-ttl", "evicted_keys": 0}, "volatile-ttl", 0),
        ({"maxmemory": 0, "maxmemory_policy": "allkeys-lru", "evicted_keys": 0}, None, 0),
        ({"maxmemory": 100, "maxmemory_policy": "noeviction", "evicted_keys": 0}, None, 0),
        ({}, None, 0),
    ],
)
def test_a_policy_counts_where_there_is_a_limit(info: dict[str, object], policy: str | None, evicted: int) -> None:
    """Without maxmemory nothing is ever dropped; what a node does not say is taken for the best."""
    assert Memory.of(info) == Memory(policy=policy, evicted=evicted)
    assert Memory.of_nodes(info or {"": {}}) == {"": Memory(policy=policy, evicted=evicted)}


async def test_keys_that_go_are_counted_whatever_becomes_of_the_nodes(caplog: pytest.LogCaptureFixture) -> None:
    """Only those that went since the first look; also where a node is started again, comes, or cannot be asked."""
    answers: list[dict[str, int] | StoreError] = [
        {"a": 5}, {"a": 7, "b": 4}, StoreError("away"), {"a": 2, "b": 4}, {"b": 5},
    ]  # fmt: skip
    counted: list[int] = []

    async def ask() -> dict[str, Memory]:
        answer = answers.pop(0)
        if isinstance(answer, StoreError):
            raise answer
        return {name: Memory(policy="allkeys-lru", evicted=evicted) for name, evicted in answer.items()}

    evictions = Evictions(ask, counted.append)
    while answers:
        await evictions.look()
    assert counted == [2, 2, 1]
    assert evictions.keys == 5
    levels = [record.levelno for record in caplog.records if record.levelno >= logging.WARNING]
    assert levels == [logging.WARNING, logging.ERROR, logging.ERROR, logging.ERROR]
    assert [word in " ".join(evictions.warnings()) for word in ("allkeys-lru", "5 keys")] == [True, True]


@pytest.mark.parametrize("kind", redises.KINDS)
async def test_every_kind_of_redis_says_how_it_is(kind: str, tmp_path: Path) -> None:
    """One, Sentinel's, each primary of a Cluster, over TLS; the policy is what it says it is."""
    with redises.address(kind, redises.binary(redises.WANTED[0]), tmp_path) as url:
        store = RedisStore(url, **LIMITS)
        try:
            found = await store.memory()
            assert set(found.values()) == {Memory(policy=None, evicted=0)}
            assert len(found) == (3 if kind == "cluster" else 1)
            await store._redis.config_set("maxmemory", 10**9, **store._each)
            await store._redis.config_set("maxmemory-policy", "allkeys-lru", **store._each)
            assert {memory.policy for memory in (await store.memory()).values()} == {"allkeys-lru"}
        finally:
            await store.close()
