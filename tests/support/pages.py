"""What tests of the dashboard share: where its checkers lie, and what a page shows of a session."""

import sys
from pathlib import Path
from typing import Any, Protocol

import httpx
from playwright.sync_api import Page

LINT = Path(__file__).parents[1] / "dashboard" / "lint"
NODE = Path(sys.executable).with_name("node")
TSC = LINT / "node_modules" / "typescript" / "bin" / "tsc"
INK = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 40) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  }
  return seen.size;
}"""


class Looking(Protocol):
    """Somebody who looks at a page."""

    page: Page


def reached(looking: Looking, seq: int) -> None:
    """Wait until the page shows a step as late as this."""
    looking.page.wait_for_function(
        "(seq) => Number(document.querySelector('.facts')?.dataset.seq?.split('.')[1]) >= seq", arg=seq
    )


def history(api: httpx.Client, session: str) -> dict[int, dict[str, Any]]:
    """A session's figures by step, as the interface tells them."""
    entries = api.get(f"/v1/sessions/{session}/history", params={"limit": 1000}).raise_for_status().json()["entries"]
    return {entry["seq"]: entry for entry in entries}
