"""The interface's own page: Swagger UI from the server's origin, and nothing from others."""

import asyncio
import re

import pytest
from avf_server.serve.app import create_app
from avf_server.settings import Settings
from httpx import ASGITransport, AsyncClient, Client, Response


def get(path: str, **headers: str) -> Response:
    """What a server says at this address."""

    async def ask() -> Response:
        transport = ASGITransport(create_app(Settings()))
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def test_the_page_names_no_foreign_origin() -> None:
    """All that it loads is relative, is there, and is of the right kind; other origins are forbidden to it."""
    page = get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert {"docs/swagger-ui-bundle.js", "docs/start.js", "docs/swagger-ui.css"} <= set(named)
    for address in named:
        assert "//" not in address
        found = get(f"/{address}")
        assert found.status_code == 200
        assert found.headers["content-type"].startswith(("text/javascript", "text/css", "image/svg+xml"))
    start = get("/docs/start.js").text
    assert re.findall(r'url: "(.*)"', start) == ["openapi.json"]
    assert "validatorUrl: null" in start
    for text in (page.text, start):
        assert "http" not in text.replace("https://www.w3.org", "")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'" in policy
    assert "connect-src 'self'" in policy


@pytest.mark.parametrize("path", ["/docs/page.html", "/docs/other.js", "/docs/..%2Fcore.py", "/redoc"])
def test_there_is_nothing_else(http: Client, path: str) -> None:
    """Only the page's own files are served, and no second page of the framework, which would load from elsewhere."""
    assert http.get(path).json()["type"] == "urn:avf:problem:unknown-route"


def test_the_text_names_the_description_of_streams() -> None:
    """Those who look at the interface find the streams, too."""
    assert "[asyncapi.json](asyncapi.json)" in get("/openapi.json").json()["info"]["description"]
    assert get("/asyncapi.json").json()["asyncapi"] == "3.0.0"


def test_what_a_browser_has_is_not_sent_again() -> None:
    """The scripts are large: compressed, and by tag."""
    first = get("/docs/swagger-ui-bundle.js", **{"accept-encoding": "gzip"})
    assert first.headers["content-encoding"] == "gzip"
    again = get("/docs/swagger-ui-bundle.js", **{"accept-encoding": "gzip", "if-none-match": first.headers["etag"]})
    assert again.status_code == 304
