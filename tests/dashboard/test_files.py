"""What the page is made of, without a browser: files, headers, weight."""

import asyncio
import gzip
import re
from collections.abc import Callable

import avf_dashboard
import pytest
from avf_server.serve.app import create_app
from avf_server.settings import Settings
from avf_server.transports import dashboard
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response

Get = Callable[..., Response]

FILES = avf_dashboard.files()
PACKED = 2_000_000  # bytes that the whole page may weigh, compressed


@pytest.fixture
def application() -> FastAPI:
    """The page alone."""
    made = FastAPI()
    made.include_router(dashboard.router(login=False))
    return made


async def _get(application: FastAPI, path: str, **headers: str) -> Response:
    async with AsyncClient(transport=ASGITransport(application), base_url="http://test") as client:
        return await client.get(path, headers=headers)


@pytest.fixture
def get(application: FastAPI) -> Get:
    """Ask for an address of the application."""
    return lambda path, **headers: asyncio.run(_get(application, path, **headers))


async def test_the_page_is_at_the_root() -> None:
    """The server has it there: HTML, in English, that names the modules of its first view, and no others."""
    reply = await _get(create_app(Settings()), "/")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert '<html lang="en">' in reply.text
    named = set(re.findall(r'modulepreload" href="dashboard/([^"]+)"', reply.text))
    assert {"app.js", "api.js", "views/overview.js", "charts/sparkline.js"} <= named <= set(FILES)
    assert not named & {"views/session.js", "views/try.js", "charts/audio.js", "sound/worklet.js"}


async def test_a_server_with_keys_says_so_in_the_page() -> None:
    """So that the page asks for a key before it asks for anything else."""
    reply = await _get(create_app(Settings(api_keys=("secret",))), "/")
    assert 'data-login="required"' in reply.text
    assert "secret" not in reply.text


@pytest.mark.parametrize("name", sorted(set(FILES) - {"index.html"}))
def test_every_file_is_served_as_it_is(get: Get, name: str) -> None:
    """With its type, under the policy of the page, and by gzip where the browser takes that."""
    reply = get(f"/dashboard/{name}", **{"accept-encoding": "gzip"})
    assert reply.status_code == 200
    assert reply.content == FILES[name].read_bytes()
    assert reply.headers["content-encoding"] == "gzip"
    assert "'unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_a_file_that_the_browser_has_is_not_sent_again(get: Get) -> None:
    """Its tag gets 304 and no body; the tag of another encoding does not."""
    tag = get("/dashboard/app.js", **{"accept-encoding": "gzip"}).headers["etag"]
    again = get("/dashboard/app.js", **{"accept-encoding": "gzip", "if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert get("/dashboard/app.js", **{"accept-encoding": "identity", "if-none-match": tag}).status_code == 200


@pytest.mark.parametrize("name", ["index.html", "%2e%2e/__init__.py", "nothing.js", ""])
def test_nothing_else_is_served(get: Get, name: str) -> None:
    """Neither what lies beside the page, nor what is not there, has an address."""
    assert get(f"/dashboard/{name}").status_code == 404


def test_the_page_is_light() -> None:
    """All of it, compressed, is far below two megabytes."""
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in FILES.values()) < PACKED


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_in_the_page_names_another_origin(name: str) -> None:
    """No file holds an address with a host, but for XML's vocabularies; nothing inline is run or styled."""
    text = FILES[name].read_text()
    assert not re.search(r"""https?://(?!www\.w3\.org/)|["'(]//\w""", text)
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=\"", text)
    assert "innerHTML" not in text


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".js")))
def test_every_module_says_why_it_exists_and_is_short(name: str) -> None:
    """It begins with a comment, and has fewer than 300 lines."""
    lines = FILES[name].read_text().splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) < 300
