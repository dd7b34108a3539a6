"""Ray Serve with its batches: up to 64 requests, or as many as come within five milliseconds; one replica.

Beliefs of a batch are read from Redis and written back in one call each.
"""

import time
from typing import Any

import redis
from ray import serve
from starlette.requests import Request

from benchmarks.peer.step import Stepper, options

MOST, WAIT = 64, 0.005


@serve.deployment(max_ongoing_requests=2 * MOST, ray_actor_options={"num_cpus": 1})
class Filtering:
    """The step, as Ray Serve wants it."""

    def __init__(self, model: str, socket: str) -> None:
        self.stepper = Stepper(model)
        self.store = redis.Redis(unix_socket_path=socket)

    @serve.batch(max_batch_size=MOST, batch_wait_timeout_s=WAIT)  # type: ignore[untyped-decorator]
    async def together(self, requests: list[dict[str, Any]]) -> list[Any]:
        """One step of all."""
        sessions = [request["session"] for request in requests]
        kept: Any = self.store.mget(sessions)
        after, answers = self.stepper.step(kept, [request["x"] for request in requests])
        self.store.mset(dict(zip(sessions, after, strict=True)))
        return answers

    async def __call__(self, request: Request) -> Any:
        """One request."""
        return await self.together(await request.json())


if __name__ == "__main__":
    told = options()
    serve.start(http_options={"host": "127.0.0.1", "port": told.port})
    serve.run(Filtering.bind(told.model, told.redis), route_prefix="/predict")
    while True:
        time.sleep(60.0)
