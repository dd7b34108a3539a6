"""What does a dashboard that is open cost the server, and is it smooth, with hundreds of sessions under way?

    python -m benchmarks.dashboard [--sessions 200] [--rate 5] [--seconds 15] [--rounds 3] [--json]

A real server with its own Redis on loopback holds a small model, untrained; every session has a stream of its own, one
observation at a time, RATE a second. Rounds without a page, with its requests alone (curl, so that no browser takes
caches and time from the server), and with the overview open in Chromium take turns; the server's processor time is the
kernel's count, over the steps that were answered in that time. Frames are those of the browser's
requestAnimationFrame; the first view is from the beginning of the navigation to the first session on the page, and
at rest, before the sessions are opened, to the first model.
Chromium is wanted on PATH. The load is bounded: SECONDS x ROUNDS x 3.
"""

import argparse
import asyncio
import gzip
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import avf_dashboard
import httpx
import numpy as np
import websockets
from playwright.async_api import Browser, Page, async_playwright

from avf_core import checkpoints, configuration
from benchmarks.servers import PATIENT, served

SETTINGS = {
    "model": {
        "kind": "srnn",
        "observation_size": 16,
        "latent_size": 8,
        "hidden_size": 16,
        "prior_widths": [16],
        "decoder_widths": [16],
    },
    "inference": {"kind": "iterative", "iterations": 2, "units": 16, "rule": "learned_sgd"},
}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FRAMES = """(milliseconds) => new Promise((resolve) => {
  let frames = 0, worst = 0, last = performance.now();
  const end = last + milliseconds;
  const count = (now) => {
    worst = Math.max(worst, now - last);
    last = now;
    frames++;
    if (now < end) requestAnimationFrame(count);
    else resolve({ frames_per_second: (1000 * frames) / milliseconds, longest_frame_ms: worst });
  };
  requestAnimationFrame(count);
})"""
FIRST = "() => new Promise((resolve) => requestAnimationFrame(() => resolve(performance.now())))"


class Load:
    """Sessions that stream, and how many of their observations were answered."""

    def __init__(self, url: str, sessions: int, rate: float) -> None:
        self.url, self.sessions, self.rate = url, sessions, rate
        self.answered = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open all of them."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            for i in range(self.sessions):
                body = {"model": "small", "seed": i, "durability": "group"}
                opened = (await client.post("/v1/sessions", json=body)).raise_for_status().json()
                self._tasks.append(asyncio.create_task(self._stream(opened["id"], i)))

    async def _stream(self, session: str, number: int) -> None:
        address = f"{self.url.replace('http', 'ws')}/v1/sessions/{session}/stream?fields=scalars"
        draw = np.random.default_rng(number)
        async with websockets.connect(address, subprotocols=["avf.v1.json"]) as socket:  # type: ignore[list-item]
            await socket.recv()
            begun, seq = time.perf_counter() + number / self.sessions / self.rate, 0
            while True:
                await asyncio.sleep(max(0.0, begun + seq / self.rate - time.perf_counter()))
                seq += 1
                x = (draw.random(16) > 0.8).astype(float).tolist()
                await socket.send(json.dumps({"type": "observe", "seq": seq, "x": x}))
                await socket.recv()
                self.answered += 1

    async def stop(self) -> None:
        """Break all of them off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def processor_seconds(pid: int) -> float:
    """What a process, its Redis left out, has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def window(load: Load, pid: int, seconds: float, page: Page | None) -> dict[str, float]:
    """Processor time for each step, and steps a second, within some seconds; with a page, its frames."""
    used, answered, begun = processor_seconds(pid), load.answered, time.perf_counter()
    seen = {} if page is None else await page.evaluate(FRAMES, 1000 * seconds)
    await asyncio.sleep(max(0.0, begun + seconds - time.perf_counter()))
    steps = load.answered - answered
    took = time.perf_counter() - begun
    cost = 1e6 * (processor_seconds(pid) - used) / steps
    return {"processor_us_per_step": cost, "steps_per_second": steps / took, **seen}


async def asked(load: Load, pid: int, seconds: float) -> dict[str, float]:
    """The same without a browser beside it, which takes caches and time from the server: its requests alone."""
    curl = await asyncio.create_subprocess_exec("curl", "-sN", "-o", os.devnull, f"{load.url}/v1/events?interval=1")
    poll = asyncio.create_task(_poll(load.url))
    found = await window(load, pid, seconds, None)
    poll.cancel()
    curl.terminate()
    await asyncio.gather(poll, curl.wait(), return_exceptions=True)
    return found


async def _poll(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while True:
            await client.get("/v1/status")
            await asyncio.sleep(2)


async def open_page(browser: Browser, url: str, selector: str) -> tuple[Page, float]:
    """The overview once this is on it, and how many milliseconds that took."""
    page = await browser.new_page(viewport={"width": 1920, "height": 1080})
    await page.goto(url)
    await page.wait_for_selector(selector)
    return page, float(await page.evaluate(FIRST))


async def measure(url: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, against a server that runs."""
    load = Load(url, options.sessions, options.rate)
    rounds: dict[str, list[dict[str, float]]] = {"without": [], "asked": [], "with": []}
    firsts = []
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        rests = []
        for _ in range(3):
            page, rest = await open_page(browser, url, ".models li")
            rests.append(rest)
            await page.close()
        await load.start()
        await asyncio.sleep(2)
        for _ in range(options.rounds):
            rounds["without"].append(await window(load, pid, options.seconds, None))
            rounds["asked"].append(await asked(load, pid, options.seconds))
            page, first = await open_page(browser, url, "[data-session] [data-cell=F]:not(:empty)")
            firsts.append(first)
            await asyncio.sleep(2)  # the lines of the sessions in sight are fetched once
            rounds["with"].append(await window(load, pid, options.seconds, page))
            await page.close()
        await browser.close()
    await load.stop()
    return {**summary(rounds, firsts), "first_view_at_rest_ms": round(statistics.median(rests))}


def summary(rounds: dict[str, list[dict[str, float]]], firsts: list[float]) -> dict[str, Any]:
    """Medians over the rounds."""

    def median(kind: str, name: str) -> float:
        return statistics.median(each[name] for each in rounds[kind])

    cost = {kind: median(kind, "processor_us_per_step") for kind in rounds}
    return {
        "steps_per_second": round(median("with", "steps_per_second")),
        "frames_per_second": round(median("with", "frames_per_second"), 1),
        "longest_frame_ms": round(median("with", "longest_frame_ms"), 1),
        "server_us_per_step_without": round(cost["without"], 1),
        "server_us_per_step_with": round(cost["with"], 1),
        "added_percent": round(100 * (cost["with"] / cost["without"] - 1), 1),
        "added_percent_by_requests_alone": round(100 * (cost["asked"] / cost["without"] - 1), 1),
        "first_view_ms": round(statistics.median(firsts)),
        "page_bytes_compressed": sum(len(gzip.compress(p.read_bytes(), 9)) for p in avf_dashboard.files().values()),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements, against a server started for them."""
    with tempfile.TemporaryDirectory(prefix="avf-bench-") as folder:
        model = Path(folder) / "small"
        checkpoints.save(model, filter=configuration.build(SETTINGS), settings=SETTINGS, card={"name": "small"})
        with served(str(model), settings=PATIENT) as (url, pid):
            return asyncio.run(measure(url, pid, options))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {"sessions": options.sessions, "rate": options.rate, **run(options)}
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"| {name.replace('_', ' ')} | {value} |")


if __name__ == "__main__":
    main()
