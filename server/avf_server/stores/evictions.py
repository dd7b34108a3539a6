"""A Redis that may drop what it was given, when its memory is full: said at the start, watched, and counted.

The laws: it is asked by INFO of every primary, which managed Redis answers too; what it drops is the sessions' beliefs,
and so is never passed over in silence. A Redis that is away, or that tells nothing of itself, is no reason to fail.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from avf_server.problems import StoreError

logger = logging.getLogger(__name__)

INTERVAL = 10.0  # seconds between two looks
KEEPS = "noeviction"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a node says of its memory: how many keys it has dropped since its start, and by which policy it drops more.

    `policy` is None where it drops none: it says `noeviction`, or has no limit (maxmemory 0).
    """

    policy: str | None
    evicted: int

    @classmethod
    def of(cls, info: Mapping[str, object]) -> "Memory":
        """From the answer to INFO."""
        policy = str(info.get("maxmemory_policy", KEEPS))
        limited = int(str(info.get("maxmemory", 0))) > 0
        return cls(
            policy=policy if limited and policy != KEEPS else None, evicted=int(str(info.get("evicted_keys", 0)))
        )

    @classmethod
    def of_nodes(cls, said: Mapping[str, Any]) -> "dict[str, Memory]":
        """From the answers of several nodes by their names, or of one."""
        several = all(isinstance(info, dict) for info in said.values())
        return {name: cls.of(info) for name, info in (said if several else {"": said}).items()}


@runtime_checkable
class Tells(Protocol):
    """A store that says how its nodes are."""

    async def memory(self) -> Mapping[str, Memory]:
        """How each node is, by its name. Raises StoreError."""
        ...


@dataclass
class Evictions:
    """Looks after the nodes of a Redis. `ask` says how each is; `evicted` is told how many more keys have gone."""

    ask: Callable[[], Awaitable[Mapping[str, Memory]]]
    evicted: Callable[[int], object]
    keys: int = 0
    """Keys that were dropped since this server began to look."""
    policies: frozenset[str] = frozenset()
    _known: dict[str, int] = field(default_factory=dict)

    async def look(self) -> None:
        """Ask once; warn of a policy that is new, and of keys that have gone."""
        try:
            nodes = await self.ask()
        except StoreError as error:
            logger.debug("Redis does not say whether it drops keys: %s", error)
            return
        self._judge({node.policy for node in nodes.values() if node.policy is not None})
        more = 0
        for name, node in nodes.items():
            known = self._known.get(name, node.evicted)  # what had gone before is of no session here
            more += node.evicted - known if node.evicted >= known else node.evicted  # it was started again
            self._known[name] = node.evicted
        if more:
            self.keys += more
            self.evicted(more)
            logger.error(
                "Redis has dropped %d keys, as its memory is full (%s): sessions are lost, or their histories; "
                "clients are told unknown-session. Give it more memory, and set maxmemory-policy noeviction",
                more,
                ", ".join(sorted(self.policies)),
            )

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.look()

    def warnings(self) -> list[str]:
        """What whoever asks for the server's health is to know."""
        found = [
            f"Redis may drop sessions when its memory is full: maxmemory-policy {p}" for p in sorted(self.policies)
        ]
        return found + ([f"Redis has dropped {self.keys} keys since this server started"] if self.keys else [])

    def _judge(self, policies: set[str]) -> None:
        for policy in sorted(policies - self.policies):
            logger.warning(
                "Redis may evict keys when its memory is full (maxmemory-policy %s), and with them sessions that were "
                "acknowledged: set maxmemory-policy noeviction, so that it refuses what it cannot keep",
                policy,
            )
        self.policies = frozenset(policies)
