"""Plain FastAPI with Redis for each request: read the session's belief, step, write it, answer. No batches.

The step runs where the request is: a thread for it would cost more than it frees on one core.
"""

from typing import Any

import fastapi
import msgspec
import redis.asyncio
import uvicorn

from benchmarks.peer.step import Stepper, options


class Request(msgspec.Struct):
    """An observation of a session."""

    session: str
    x: list[float]


def app(model: str, socket: str) -> fastapi.FastAPI:
    """The whole service."""
    stepper, store, service = Stepper(model), redis.asyncio.Redis(unix_socket_path=socket), fastapi.FastAPI()

    @service.post("/predict")
    async def predict(request: fastapi.Request) -> fastapi.Response:
        asked = msgspec.json.decode(await request.body(), type=Request)
        kept: Any = await store.get(asked.session)
        (after,), (answer,) = stepper.step([kept], [asked.x])
        await store.set(asked.session, after)
        return fastapi.Response(msgspec.json.encode(answer), media_type="application/json")

    @service.get("/health")
    async def health() -> dict[str, Any]:
        return {}

    return service


if __name__ == "__main__":
    told = options()
    uvicorn.run(app(told.model, told.redis), port=told.port, log_level="warning", loop="uvloop", http="httptools")
