"""What no one foresaw comes out as a problem, too."""

from typing import Any

import httpx
from avf_server.app import create_app
from avf_server.embedded import EmbeddedRedis
from avf_server.settings import Settings


def test_a_fault_is_an_internal_error_that_tells_nothing(
    tiny: Any, redis_server: EmbeddedRedis, patiently: Any, monkeypatch: Any
) -> None:
    """The client sees a problem and no more; the next request is served."""

    async def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("a secret of the server")

    async def scenario() -> None:
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

    patiently(scenario())
