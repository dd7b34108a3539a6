"""Does anything leak? Sessions are opened, used for a few steps and dropped; then memory and keys are looked at.

    python -m benchmarks.churn --sessions 100000

Prints one JSON object: resident memory of the server and keys and memory of its Redis, after a first tenth of the
sessions (caches are full then) and after all, once the last session has expired.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import redis

from avf_core.checkpoints import available

TTL = 5.0  # seconds
CLIENTS = 16
STEPS = 3


async def churn(url: str, model: str, size: int, count: int) -> None:
    """Open, step, drop, `count` times."""
    left = iter(range(count))

    async def one(client: httpx.AsyncClient) -> None:
        for _ in left:
            opened = await client.post("/v1/sessions", json={"model": model, "durability": "group"})
            if opened.status_code == 503:
                await asyncio.sleep(0.5)
                continue
            body = {"seq": 1, "observations": [[0.0] * size] * STEPS}
            await client.post(f"/v1/sessions/{opened.json()['id']}/steps", json=body)

    async with httpx.AsyncClient(base_url=url, timeout=60.0) as client:
        await asyncio.gather(*(one(client) for _ in range(CLIENTS)))


def look(pid: int, client: Any) -> dict[str, int]:
    """Resident memory of the server in bytes, keys and memory of its Redis."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024
    return {"rss": resident, "keys": client.dbsize(), "redis_memory": client.info("memory")["used_memory"]}


def settle(client: Any) -> None:
    """Wait until the last session has expired and the index is swept."""
    deadline = time.monotonic() + 120
    while client.keys("avf:*") and time.monotonic() < deadline:
        time.sleep(0.5)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--model", default="srnn-jsb")
    options = parser.parse_args()
    assert options.model in available()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from avf_server.command import command; command()", "--json"]
        command += ["--port", "0", "--data-dir", folder, "--model", options.model]
        environment = {
            "AVF_SESSION_TTL_S": str(TTL),
            "AVF_MAX_SESSIONS": "100000",
            "AVF_MAX_SESSIONS_PER_KEY": "100000",
        }
        environment |= {"PATH": "/usr/bin:/bin", "AVF_THREADS": "1", "AVF_REDIS_TIMEOUT_S": "5"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
            try:
                assert server.stdout is not None
                ready = json.loads(server.stdout.readline())
                client = redis.Redis(unix_socket_path=f"{folder}/redis/redis.sock")
                size = httpx.get(f"{ready['server_url']}/v1/models/{options.model}").json()["observation_size"]
                asyncio.run(churn(ready["server_url"], options.model, size, options.sessions // 10))
                settle(client)
                first = look(server.pid, client)
                asyncio.run(churn(ready["server_url"], options.model, size, options.sessions - options.sessions // 10))
                settle(client)
                print(json.dumps({"sessions": options.sessions, "first": first, "last": look(server.pid, client)}))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
