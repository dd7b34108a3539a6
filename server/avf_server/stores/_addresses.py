"""Addresses of Redis: one file knows what they mean, and which of redis-py's clients speaks to them.

    redis://host:port/db    rediss://...                     one Redis; with TLS
    unix:///path                                             one Redis on a socket
    redis+sentinel://host:port,host:port/service/db          the master that these Sentinels name
    redis+cluster://host:port,host:port                      a Cluster, found from these nodes

USER:PASSWORD@ before the hosts is a user of Redis' access control lists; `rediss+sentinel` and `rediss+cluster` use
TLS; redis-py's options follow a question mark (`?ssl_ca_certs=/path`).

The law: no client tries again by itself, nor has a time-out of its own for what it asks: a call is over when its caller
says so. What it takes to connect is bounded, generously: see CONNECTING.
"""

from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

CONNECTING = 10.0  # times a call's time
SENTINEL_PORT, REDIS_PORT = 26379, 6379
OF_SENTINELS = "sentinel_"  # options that are for the Sentinels themselves begin so: sentinel_username, _password


def connect(url: str, *, timeout: float) -> "Redis | RedisCluster":
    """A client of the Redis at `url`; `timeout` is in seconds, of every call. Raises ValueError for no such address."""
    options: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECTING * timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    scheme = url.partition("://")[0]
    if scheme in ("redis+sentinel", "rediss+sentinel"):
        return _sentinel(url, options, timeout)
    if scheme in ("redis+cluster", "rediss+cluster"):
        return _cluster(url, options)
    client: Redis = Redis.from_url(url, **options)
    return client


async def close(client: "Redis | RedisCluster") -> None:
    """Close a client's connections, and those to the Sentinels that it asks."""
    await client.aclose()
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _sentinel(url: str, options: dict[str, Any], timeout: float) -> Redis:
    service, _, db = urlsplit(url).path.strip("/").partition("/")
    if not service:
        raise ValueError("the name of the service is missing: redis+sentinel://host:port,host:port/service")
    hosts = _hosts(url, SENTINEL_PORT)
    given = _given(url, db)
    own = {name.removeprefix(OF_SENTINELS): given.pop(name) for name in list(given) if name.startswith(OF_SENTINELS)}
    if given.get("ssl"):
        own |= {name: value for name, value in given.items() if name.startswith("ssl")}
    each = timeout / (len(hosts) + 1)  # so that one that is away leaves time for the others, and for the master
    asking = options | own | {"socket_timeout": each, "socket_connect_timeout": each}
    sentinels: Any = Sentinel  # redis-py gives it no types
    client: Redis = sentinels(hosts, sentinel_kwargs=asking).master_for(service, **(options | given))
    return client


def _cluster(url: str, options: dict[str, Any]) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in _hosts(url, REDIS_PORT)]
    return RedisCluster(startup_nodes=nodes, **(options | _given(url, "")))


def _hosts(url: str, default: int) -> list[tuple[str, int]]:
    """Hosts and ports of an address that has several."""
    found = []
    for part in urlsplit(url).netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{part}")
        if not one.hostname:
            raise ValueError(f"{part!r} is no host:port")
        found.append((one.hostname, one.port or default))
    return found


def _given(url: str, db: str) -> dict[str, Any]:
    """User, password, TLS and options of an address, as keyword arguments of redis-py."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    scheme = parts.scheme.partition("+")[0]
    given: dict[str, Any] = dict(parse_url(f"{scheme}://{user}{at}host/{db}?{parts.query}"))
    if given.pop("connection_class", None) is SSLConnection:
        given["ssl"] = True
    return {name: value for name, value in given.items() if name not in ("host", "port")}
