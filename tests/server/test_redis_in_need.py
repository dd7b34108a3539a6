"""What a server says of a Redis in need: an embedded one that cannot be started, and one that drops keys."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from avf_server.stores import embedded
from avf_server.stores._calls import key

from tests.support import redises
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

ZERO = [0.0] * 6


def opened(url: str) -> str:
    found: str = httpx.post(f"{url}/v1/sessions", json={"model": "tiny"}, timeout=PATIENCE).json()["id"]
    return found


def step(url: str, session: str, seq: int) -> httpx.Response:
    body = {"seq": seq, "observations": [ZERO]}
    return httpx.post(f"{url}/v1/sessions/{session}/steps", json=body, timeout=PATIENCE)


def ready(url: str) -> httpx.Response:
    return httpx.get(f"{url}/health/ready", timeout=PATIENCE)


def test_readiness_says_why_the_embedded_redis_does_not_run(
    serve: Callable[..., Any], tmp_path: Path, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its program is gone; steps are refused by name, and go on at the same seq once it is back."""
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    shutil.copyfile(embedded.binary(), program)
    program.chmod(0o755)
    served = serve("--data-dir", str(tmp_path / "data"), PATH=str(program.parent))
    session = opened(served.url)
    assert step(served.url, session, 1).status_code == 200
    away = program.rename(program.with_name("away"))
    with redis.Redis(unix_socket_path=str(embedded.socket_path(tmp_path / "data" / "redis"))) as client:
        client.shutdown(nosave=True)
    eventually(lambda: "is gone or cannot be run" in ready(served.url).text, "the reason")
    assert ready(served.url).status_code == 503
    refused = step(served.url, session, 2)
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (503, "store-unavailable")
    away.rename(program)
    eventually(lambda: ready(served.url).status_code == 200, "its return")
    assert step(served.url, session, 2).status_code == 200
    assert "is gone or cannot be run" in served.log.read_text()


def test_a_server_says_that_its_redis_drops_keys_and_of_whom(
    serve: Callable[..., Any], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """A warning at the start; then an error, a count, and a warning of readiness; the session that went is unknown."""
    options = {"maxmemory": "6mb", "maxmemory_policy": "allkeys-random"}
    with redises.running(redises.Node(redises.binary(redises.WANTED[0]), tmp_path, **options)) as (node,):
        hurry = "from avf_server.stores import evictions; evictions.INTERVAL = 0.05"
        served = serve("--redis-url", node.url, before=hurry)
        assert "maxmemory-policy allkeys-random" in served.log.read_text()
        assert "allkeys-random" in "".join(ready(served.url).json()["warnings"])
        session, seq = opened(served.url), 0
        while node.ask("EXISTS", key(session)):
            for number in range(20):
                node.ask("SET", f"{seq} {number}", bytes(50_000))
            seq += 1
        eventually(lambda: "has dropped" in ready(served.url).text, "the count")
        gone = step(served.url, session, 1)
        assert (gone.status_code, gone.json()["type"].rpartition(":")[2]) == (404, "unknown-session")
        (counted,) = [
            float(line.split()[1])
            for line in httpx.get(f"{served.url}/metrics", timeout=PATIENCE).text.splitlines()
            if line.startswith("avf_store_evicted_keys_total ")
        ]
        assert counted >= 1
        assert "Redis has dropped" in served.log.read_text()
