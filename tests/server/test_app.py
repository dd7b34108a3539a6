"""What no one foresaw comes out as a problem, too."""

from typing import Any

import httpx
import msgspec
import numpy as np
from avf_server.serve.app import create_app
from avf_server.settings import Settings
from avf_server.stores.embedded import EmbeddedRedis

JSON = "application/json"


async def test_a_fault_is_an_internal_error_that_tells_nothing(
    tiny: Any, redis_server: EmbeddedRedis, monkeypatch: Any
) -> None:
    """The client sees a problem and no more; the next request is served."""

    async def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("a secret of the server")

    app = create_app(Settings(models=(str(tiny),), redis_url=redis_server.url, redis_timeout_s=5.0))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            with monkeypatch.context() as patch:
                patch.setattr(app.state.runtime.sessions, "create", fail)
                reply = await client.post("/v1/sessions", json={"model": "tiny"})
            assert reply.status_code == 500
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json()["type"] == "urn:avf:problem:internal-error"
            assert "secret" not in reply.text
            assert (await client.post("/v1/sessions", json={"model": "tiny"})).status_code == 201
            app.state.runtime.service.refuse()
            for answer in (
                await client.post("/v1/sessions", json={"model": "tiny"}),
                await client.get("/health/ready"),
            ):
                assert (answer.status_code, answer.json()["type"]) == (503, "urn:avf:problem:stopping")
            assert (await client.get("/health/live")).status_code == 200


async def test_no_bytes_that_clients_send_are_a_fault_of_the_server(tiny: Any, redis_server: EmbeddedRedis) -> None:
    """Valid bodies with random bytes changed, cut or doubled: an answer or a problem each time, and never a 5xx."""
    random = np.random.default_rng(0)
    steps = b'{"seq": 1, "epoch": 1, "observations": [[0, 1, 0.5, null, 1e0, 0], null]}'
    ahead = b'{"horizon": 2, "paths": 3, "quantiles": [0.5, 1e0], "with_paths": true}'
    packed, raw = "application/msgpack", "application/vnd.avf.float32"
    bodies = [
        (b'{"model": "tiny", "seed": 17, "iterations": 3, "durability": "none"}', "/v1/sessions", JSON),
        (steps, "/v1/sessions/{}/steps", JSON),
        (msgspec.msgpack.encode(msgspec.json.decode(steps)), "/v1/sessions/{}/steps", packed),
        (np.ones((2, 6), dtype="<f4").tobytes(), "/v1/sessions/{}/steps?seq=1", raw),
        (ahead, "/v1/sessions/{}/forecast", JSON),
        (msgspec.msgpack.encode(msgspec.json.decode(ahead)), "/v1/sessions/{}/forecast", packed),
        (b'{"seed": 3, "iterations": 2, "durability": "none"}', "/v1/sessions/{}/fork", JSON),
    ]

    def spoiled(body: bytes) -> bytes:
        data = bytearray(body)
        for _ in range(random.integers(1, 4)):
            at = int(random.integers(len(data)))
            kind = random.integers(4)
            if kind == 0:
                data[at] = int(random.integers(256))
            elif kind == 1:
                data[at:at] = data[at : at + int(random.integers(1, 9))]
            elif kind == 2:
                del data[at : at + int(random.integers(1, 9))]
            else:
                data[at : at + 1] = random.choice([b"NaN", b"-1", b"1e999", b"[[", b"null", b"9" * 30])
            data = data or bytearray(b"{")
        return bytes(data)

    app = create_app(Settings(models=(str(tiny),), redis_url=redis_server.url, redis_timeout_s=5.0))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        session = (await client.post("/v1/sessions", json={"model": "tiny"})).json()["id"]
        snapshot = (await client.get(f"/v1/sessions/{session}/snapshot")).content
        bodies.append((snapshot, "/v1/sessions/restore", "application/vnd.avf.belief"))
        for body, path, media_type in bodies * 100:
            reply = await client.post(path.format(session), content=spoiled(body), headers={"content-type": media_type})
            assert reply.status_code < 500, reply.text
            kind = "application/problem+json" if reply.status_code >= 400 else JSON
            assert reply.headers["content-type"] == kind
        following = (await client.get(f"/v1/sessions/{session}")).json()["next_seq"]
        one = {"seq": following, "observations": [[0.0] * 6]}
        assert (await client.post(f"/v1/sessions/{session}/steps", json=one)).status_code == 200
