"""LitServe with its batches: up to 64 requests, or as many as come within five milliseconds.

Beliefs of a batch are read from Redis and written back in one call each.
"""

from collections.abc import Sequence
from typing import Any

import litserve
import redis

from benchmarks.peer.step import Stepper, options

MOST, WAIT = 64, 0.005


class Api(litserve.LitAPI):  # type: ignore[misc]
    """The step, as LitServe wants it."""

    def __init__(self, model: str, socket: str) -> None:
        super().__init__(max_batch_size=MOST, batch_timeout=WAIT)
        self.model, self.socket = model, socket

    def setup(self, device: str) -> None:
        """Once, in the process of the worker."""
        self.stepper = Stepper(self.model)
        self.store = redis.Redis(unix_socket_path=self.socket)

    def decode_request(self, request: dict[str, Any]) -> tuple[str, list[float]]:
        """Session and observation."""
        return request["session"], request["x"]

    def batch(self, inputs: Sequence[tuple[str, list[float]]]) -> Sequence[tuple[str, list[float]]]:
        """As they come."""
        return inputs

    def predict(self, batch: Sequence[tuple[str, list[float]]]) -> list[Any]:
        """One step of all."""
        sessions, xs = zip(*batch, strict=True)
        kept: Any = self.store.mget(sessions)
        after, answers = self.stepper.step(kept, xs)
        self.store.mset(dict(zip(sessions, after, strict=True)))
        return answers

    def unbatch(self, output: list[Any]) -> list[Any]:
        """One a request."""
        return output

    def encode_response(self, output: Any) -> Any:
        """JSON is LitServe's."""
        return output


if __name__ == "__main__":
    told = options()
    server = litserve.LitServer(Api(told.model, told.redis), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=told.port, generate_client_file=False, log_level="warning")
