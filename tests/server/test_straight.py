"""Steps that go straight to their route are answered as those that the framework takes there."""

from typing import Any

import httpx
import pytest
from avf_server.serve.app import create_app
from avf_server.settings import Settings
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.transports import straight

pytestmark = pytest.mark.slow

ROW = [0.0, 1.0, 0.5, None, 1.0, 0.0]
KEY = {"Authorization": "Bearer a-key-for-tests"}
ASKED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"json": {"seq": 1, "observations": [ROW]}}, KEY),
    ({"json": {"seq": 1, "observations": [ROW]}}, KEY),
    ({"json": {"seq": 2, "epoch": 1, "observations": [ROW, None]}}, KEY | {"Accept": "application/msgpack"}),
    ({"json": {"seq": 9, "observations": [ROW]}}, KEY),
    ({"json": {"seq": 3, "observations": [ROW[:2]]}}, KEY),
    ({"json": {"seq": 3, "epoch": 7, "observations": [ROW]}}, KEY),
    ({"content": b'{"seq": 3, "observations"', "headers": {"Content-Type": "application/json"}}, KEY),
    ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, KEY),
    ({"content": bytes(24), "headers": {"Content-Type": "application/vnd.avf.float32"}}, KEY),
    ({"content": b" " * 5000, "headers": {"Content-Type": "application/json"}}, KEY),
    ({"json": {"seq": 3, "observations": [ROW]}}, KEY | {"Accept": "image/png"}),
    ({"json": {"seq": 3, "observations": [ROW]}}, {}),
    ({"json": {"seq": 3, "observations": [ROW]}}, {"Authorization": "Bearer of another"}),
]


async def answers(client: httpx.AsyncClient) -> list[tuple[int, dict[str, str], bytes]]:
    """What a new session and one that is not there answer to each of these: statuses, headers, bodies."""
    opened = await client.post("/v1/sessions", json={"model": "tiny", "seed": 1, "durability": "none"}, headers=KEY)
    found = []
    for session in (opened.json()["id"], "f" * 24):
        for request, headers in ASKED:
            sent = request | {"headers": request.get("headers", {}) | headers}
            answer = await client.post(f"/v1/sessions/{session}/steps", **sent)
            body = answer.content.replace(session.encode(), b"SESSION")
            found.append((answer.status_code, dict(answer.headers), body))
    return found


async def test_both_ways_answer_alike(tiny: Any, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates and problems, byte for byte and header for header; and each way is taken when it is to be."""
    settings = Settings(
        models=(str(tiny),),
        redis_url=redis_server.url,
        redis_timeout_s=5.0,
        api_keys=("a-key-for-tests",),
        max_body_bytes=4096,
    )
    app = create_app(settings)
    gone: list[str] = []
    session_of, answer = straight._session, straight._answer

    async def counted(request: Any, session: str) -> Any:
        gone.append(session)
        return await answer(request, session)

    monkeypatch.setattr(straight, "_answer", counted)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            directly = await answers(client)
            assert len(gone) >= 2 * len(ASKED) - 2  # bodies that are announced as too large do not come so far
            gone.clear()
            monkeypatch.setattr(straight, "_session", lambda scope: None)
            found = await answers(client)
            assert gone == []
            assert {status for status, _, _ in found} >= {200, 400, 401, 404, 406, 409, 413, 415, 422}
            assert directly == found
            monkeypatch.setattr(straight, "_session", session_of)


def test_only_steps_go_straight() -> None:
    """Nothing else that an address or a method can be."""

    def scope(**other: Any) -> dict[str, Any]:
        plain = {"type": "http", "method": "POST", "path": "/v1/sessions/s/steps", "query_string": b"", "root_path": ""}
        return plain | other

    assert straight._session(scope()) == "s"
    for other in (
        {"method": "GET"},
        {"type": "websocket"},
        {"query_string": b"seq=1"},
        {"root_path": "/avf"},
        {"path": "/v1/sessions/s/t/steps"},
        {"path": "/v1/sessions//steps"},
        {"path": "/v1/sessions/s/samples"},
    ):
        assert straight._session(scope(**other)) is None
