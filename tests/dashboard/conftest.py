"""Real parts for the dashboard's tests: Chromium, a server that holds a model of every kind, and sessions that stream.

Chromium is taken from PATH, or installed by apt-get where that may be; where neither is possible the tests that need
it are skipped, by name.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

from tests.support import models, packages
from tests.support.servers import Server

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
PATIENCE = 30_000.0  # milliseconds after which the page has failed
RATE, FRAME, SIDE = 8000, 80, 16
ITERATIVE = {"kind": "iterative", "iterations": 2, "units": 8, "rule": "learned_sgd"}
TINY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sound": (
        {
            "kind": "vrnn",
            "observation_size": FRAME,
            "latent_size": 6,
            "hidden_size": 12,
            **{f"{name}_widths": [12] for name in ("observation", "latent", "prior", "decoder")},
            "scale": 0.2,
        },
        {"modality": "audio", "sample_rate": RATE},
    ),
    "film": (
        {
            "kind": "svg",
            "encoder": "dcgan",
            "frame_size": SIDE,
            "widths": [4, 8],
            "latent_size": 4,
            "encoding_size": 8,
            "hidden_size": 8,
            "predictor_layers": 1,
        },
        {"modality": "video"},
    ),
    "numbers": ({"kind": "lgssm", "latent_size": 3, "observation_size": 3}, {}),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Ask for new pictures."""
    parser.addoption("--screenshots", action="store_true", help="write docs/images/dashboard-*.png anew")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Chromium's path; it is installed where that may be done."""
    found = packages.program(NAMES, package="chromium")
    if found is None:
        pytest.skip("no Chromium on PATH, and it cannot be installed here: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Playwright's driver; of a module, since its event loop runs as long as it does, and others have their own."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """A Chromium that sees no other network than the loopback."""
    launched = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Checkpoints of tiny models, untrained: sound, video, and plain numbers."""
    zoo = tmp_path_factory.mktemp("zoo")
    return [
        models.save(zoo / name, {"model": model, "inference": ITERATIVE}, name=name, **card)
        for name, (model, card) in TINY.items()
    ]


@pytest.fixture(scope="session")
def server(start: Callable[..., Server], folders: list[Path]) -> Iterator[Server]:
    """A server of the zoo's music model and of the tiny ones."""
    running = start("srnn-jsb", *folders)
    yield running
    running.stop()


@pytest.fixture
def own_server(start: Callable[..., Server], folders: list[Path]) -> Iterator[Callable[..., Server]]:
    """Makes servers of the tiny model of numbers, with settings of their own."""
    made: list[Server] = []

    def make(**environment: str) -> Server:
        made.append(start(folders[-1], **environment))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    """The interface that the page uses, too."""
    with httpx.Client(base_url=server.url, timeout=PATIENCE / 1000) as client:
        yield client


class Looking:
    """A page, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.origins: set[str] = set()
        page.set_default_timeout(PATIENCE)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{error}"))
        page.on("request", lambda request: self.origins.add("/".join(request.url.split("/")[:3])))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    def excuse(self, *texts: str) -> None:
        """Complaints that the test means to provoke: the browser itself reports requests that fail."""
        self.complaints = [each for each in self.complaints if not any(text in each for text in texts)]


@pytest.fixture
def looking(browser: Browser) -> Iterator[Looking]:
    """A page of its own; in the end it must have complained of nothing."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    made = Looking(context.new_page())
    yield made
    context.close()
    assert made.complaints == []


class Stream(threading.Thread):
    """Steps of a session, one after the other, `pace` a second, until it is told to stop."""

    def __init__(self, url: str, model: str, xs: list[list[float]], *, pace: float, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._client = httpx.Client(base_url=url, timeout=PATIENCE / 1000, headers=headers)
        self._xs, self._pace = xs, pace
        self._over = threading.Event()
        self.id = str(
            self._client.post("/v1/sessions", json={"model": model, "seed": 1}).raise_for_status().json()["id"]
        )
        self.sent = 0
        self.start()

    def run(self) -> None:
        """Send; a server that is away is asked again."""
        while not self._over.wait(1 / self._pace):
            body = {"seq": self.sent + 1, "observations": [self._xs[self.sent % len(self._xs)]]}
            try:
                self._client.post(f"/v1/sessions/{self.id}/steps", json=body).raise_for_status()
            except httpx.HTTPError:
                continue
            self.sent += 1

    def stop(self) -> None:
        """Send no more."""
        self._over.set()
        self.join(PATIENCE / 1000)
        self._client.close()


@pytest.fixture
def streaming(server: Server) -> Iterator[Callable[..., Stream]]:
    """Starts sessions that stream."""
    made: list[Stream] = []

    def start(model: str, *, pace: float = 12.0, url: str | None = None, **headers: str) -> Stream:
        made.append(Stream(url or server.url, model, observations(model), pace=pace, headers=headers))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def observations(model: str) -> list[list[float]]:
    """Something to observe, of the kind of a model."""
    draw = np.random.default_rng(0)
    if model == "srnn-jsb":
        import avf_sources as sources

        return [row.tolist() for row in sources.read("corpus:bach/bwv350").frames]
    t = np.arange(240)
    if model == "sound":
        wave = 0.3 * np.sin(2 * np.pi * 220 / RATE * np.arange(FRAME * 240)) + 0.01 * draw.normal(size=FRAME * 240)
        return [row.tolist() for row in wave.reshape(-1, FRAME)]
    if model == "film":
        frames = np.zeros((240, SIDE, SIDE))
        frames[t, 4 + t % 8, (t // 2) % SIDE] = 1.0
        return [row.tolist() for row in frames.reshape(240, -1)]
    return [row.tolist() for row in np.sin(t[:, None] / np.array([5.0, 9.0, 13.0])) + 0.1 * draw.normal(size=(240, 3))]


class Way:
    """A way to a server that can be cut, and that takes a prefix off the addresses of requests."""

    def __init__(self, port: int, *, prefix: str = "") -> None:
        self._port, self._prefix = port, prefix.encode()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{prefix}"
        self.cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut.is_set():
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            threading.Thread(target=self._carry, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, False), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if asking and self._prefix:
                    for method in (b"GET ", b"POST ", b"DELETE "):
                        data = data.replace(method + self._prefix, method)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()

    def break_off(self) -> None:
        """Cut what is open, and let nothing new through until `cut` is cleared."""
        self.cut.set()
        for each in self._open:
            with_shutdown(each)
        self._open.clear()

    def close(self) -> None:
        """End it."""
        with_shutdown(self._listener)
        self._listener.close()
        self.break_off()


def with_shutdown(each: socket.socket) -> None:
    """Wake whoever reads from it."""
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        each.close()


@pytest.fixture
def way() -> Iterator[Callable[..., Way]]:
    """Makes ways to servers."""
    made: list[Way] = []

    def make(server: Server, *, prefix: str = "") -> Way:
        made.append(Way(server.port, prefix=prefix))
        return made[-1]

    yield make
    for one in made:
        one.close()
