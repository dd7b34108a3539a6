"""The pictures that the README shows, taken of the page while sessions stream.

They are written to docs/images by `pytest -m long tests/dashboard/test_pictures.py --screenshots` only, so that a run
of the tests leaves the tree as it was; without it they are taken all the same, and looked at for being of something.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.servers import Server

from .conftest import Looking, Stream

pytestmark = [pytest.mark.slow, pytest.mark.long]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SEQ = "() => Number(document.querySelector('.facts')?.dataset.seq?.split('.')[1])"
FORECAST = "() => document.querySelector('[data-chart=forecast] [role=status]').textContent.startsWith('after')"


@pytest.fixture
def keep(request: pytest.FixtureRequest, looking: Looking) -> Callable[[str], None]:
    """Take a picture of the window."""

    def take(name: str) -> None:
        image = looking.page.screenshot(animations="disabled")
        width, height = struct.unpack(">II", image[16:24])
        assert (width, height) == tuple(looking.page.viewport_size.values())  # type: ignore[union-attr]
        assert len(image) > width * height / 100  # a page without charts packs far better than that
        if request.config.getoption("--screenshots", default=False):
            (IMAGES / f"dashboard-{name}.png").write_bytes(image)

    return take


def session(looking: Looking, server: Server, stream: Stream, *, steps: int) -> None:
    """Show a session of so many steps, with a forecast."""
    looking.page.goto(f"{server.url}/#/session/{stream.id}")
    looking.page.wait_for_function(f"(steps) => ({SEQ})() >= steps", arg=steps)
    looking.page.click("[data-chart=forecast] button:has-text('Now')")
    looking.page.wait_for_function(FORECAST)
    looking.page.mouse.move(0, 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_chorale(
    looking: Looking, server: Server, streaming: Callable[..., Stream], keep: Callable[[str], None], scheme: str
) -> None:
    """A session of music, in both themes."""
    looking.page.set_viewport_size({"width": 1440, "height": 1380})
    looking.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    session(looking, server, streaming("srnn-jsb", pace=16), steps=56)
    keep(f"session-{scheme}")


def test_many_sessions(
    looking: Looking, server: Server, streaming: Callable[..., Stream], keep: Callable[[str], None]
) -> None:
    """The overview, on a screen and on a phone."""
    for pace in range(2, 8):
        streaming("numbers", pace=pace)
        streaming("film", pace=1 + pace / 2)
    last = streaming("srnn-jsb", pace=4)
    looking.page.goto(server.url)
    steps = f"[data-session='{last.id}'] [data-cell=steps]"
    looking.page.wait_for_selector(steps)
    looking.page.wait_for_function(f'() => Number(document.querySelector("{steps}").textContent) > 12')
    keep("overview")
    looking.page.set_viewport_size({"width": 390, "height": 844})
    looking.page.wait_for_function("() => document.querySelector('.row canvas').clientWidth < 300")
    keep("phone")
