"""A page of another site, in a real browser on this machine, gets nothing from a server without keys."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.support.servers import Server

TRY = """async (url) => {
  const body = JSON.stringify({model: "numbers"});
  const told = {};
  for (const [name, type] of [["simple", "text/plain"], ["json", "application/json"]]) {
    try {
      const answer = await fetch(url + "/v1/sessions", {method: "POST", headers: {"Content-Type": type}, body});
      told[name] = answer.status;
    } catch (error) { told[name] = "kept away"; }
  }
  try { await fetch(url + "/v1/sessions", {method: "POST", mode: "no-cors", body}); } catch (error) {}
  try { told.list = (await fetch(url + "/v1/sessions")).status; } catch (error) { told.list = "kept away"; }
  const socket = new WebSocket(url.replace("http", "ws") + "/v1/sessions/0123456789abcdef01234567/stream");
  told.socket = await new Promise((done) => {
    socket.onopen = () => done("open");
    socket.onerror = () => done("kept away");
  });
  return told;
}"""


class Blank(BaseHTTPRequestHandler):
    """A site with one empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The address of another site."""
    site = ThreadingHTTPServer(("127.0.0.1", 0), Blank)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{site.server_port}"
    site.shutdown()
    thread.join()
    site.server_close()


def attempt(browser: Browser, site: str, url: str) -> dict[str, Any]:
    """What a page of this site gets from the server."""
    page = browser.new_page()
    try:
        page.goto(site)
        told: dict[str, Any] = page.evaluate(TRY, url)
        return told
    finally:
        page.close()


def test_a_page_of_another_site_opens_no_session(server: Server, browser: Browser, elsewhere: str) -> None:
    """Neither by a form's request, nor by JSON, nor blindly; it reads nothing, and gets no WebSocket."""
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        before = {each["session"]["id"] for each in client.get("/v1/sessions").json()["sessions"]}
        told = attempt(browser, elsewhere, server.url)
        assert set(told.values()) == {"kept away"}
        assert {each["session"]["id"] for each in client.get("/v1/sessions").json()["sessions"]} == before


def test_a_site_that_is_listed_is_welcome(
    start: Callable[..., Server], folders: list[Path], browser: Browser, elsewhere: str
) -> None:
    """It opens sessions and reads answers."""
    running = start(*folders, AVF_ALLOWED_ORIGINS=elsewhere)
    try:
        told = attempt(browser, elsewhere, running.url)
    finally:
        running.stop()
    assert told == {"simple": 415, "json": 201, "list": 200, "socket": "open"}
