"""Pages of other sites, and names that others' DNS points here, get nothing from a server without keys."""

import asyncio
from typing import Any

import httpx
import pytest
from avf_server.serve.app import create_app
from avf_server.settings import Settings
from fastapi import FastAPI

OPEN = Settings()


def ask(settings: Settings, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """What the application answers, without a runtime: refusals come before it is asked for."""
    app: FastAPI = create_app(settings)

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(request())


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9000", "null", "http://localhost:8000"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_a_page_of_another_site_changes_nothing(origin: str, method: str) -> None:
    """Other hosts, ports and schemes are other sites, and so is a page that does not say whose it is."""
    answer = ask(OPEN, method, "/v1/sessions", {"Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:avf:problem:forbidden"
    assert "AVF_ALLOWED_ORIGINS" in answer.json()["detail"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_name_that_others_may_point_here_is_refused(host: str, method: str) -> None:
    """A page that was loaded from it would be of the same site, in the browser's eyes."""
    answer = ask(OPEN, method, "/health/live", {"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code == 403
    assert "AVF_ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:8000"},
        {"Host": "localhost:8000", "Origin": "http://localhost:8000"},
        {"Host": "[::1]:8000", "Origin": "http://[::1]:8000"},
        {"Host": "avf.localhost"},
        {"Host": "workstation"},
        {"Host": "192.0.2.7:8000"},
    ],
)
def test_our_own_pages_and_programs_are_served(headers: dict[str, str]) -> None:
    """Programs send no Origin; names without a dot, and addresses, are nobody else's."""
    assert ask(OPEN, "GET", "/health/live", headers).status_code == 200
    assert ask(OPEN, "POST", "/v1/sessions", headers).status_code != 403


def test_lists_say_who_else_is_welcome() -> None:
    """Origins may then read answers, too; hosts are checked where there are keys, as well."""
    settings = Settings(allowed_origins=("https://lab.example",), allowed_hosts=("avf.example",), api_keys=("key",))
    welcome = {"Host": "avf.example", "Origin": "https://lab.example"}
    answer = ask(settings, "GET", "/health/live", welcome)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://lab.example"
    assert "access-control-allow-origin" not in ask(settings, "GET", "/health/live", {"Origin": "http://x"}).headers
    assert ask(settings, "GET", "/health/live", {"Host": "other.example"}).status_code == 403
    preflight = {**welcome, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert ask(settings, "OPTIONS", "/v1/sessions", preflight).status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/docs", "/"])
def test_probes_may_ask_by_other_methods(path: str) -> None:
    """HEAD has the headers of GET and no body; OPTIONS says what there is."""
    whole, head = ask(OPEN, "GET", path, {}), ask(OPEN, "HEAD", path, {})
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    options = ask(OPEN, "OPTIONS", path, {})
    assert options.status_code == 204
    assert "GET" in options.headers["allow"]


def test_a_websocket_of_another_site_is_not_accepted() -> None:
    """Browsers open them for any page, and ask nobody."""
    sent: list[Any] = []

    async def nothing() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/v1/sessions/x/stream",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"origin", b"http://evil.example")],
        "subprotocols": [],
        "query_string": b"",
    }
    asyncio.run(create_app(OPEN)(scope, nothing, send))
    assert [message["type"] for message in sent] == ["websocket.close"]
