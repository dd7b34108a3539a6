"""The page of a session whose numbers look as if they were in other units than the model's says so, by name."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.pages import Looking
from tests.support.sensors import weather_in
from tests.support.servers import Server
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture
def weather(start: Callable[..., Server], tmp_path: Path) -> Iterator[Server]:
    """A server of a model that knows about which number each channel lies; it outlives the page."""
    server = start(weather_in(tmp_path))
    yield server
    server.stop()


def test_other_units_are_told_by_name(weather: Server, looking: Looking) -> None:
    """While they are heard: Kelvin is told of; numbers as the model knows them are not."""
    with httpx.Client(base_url=weather.url, timeout=PATIENCE) as api:
        session = api.post("/v1/sessions", json={"model": "weather"}).raise_for_status().json()["id"]
        steps = f"/v1/sessions/{session}/steps"
        api.post(steps, json={"seq": 1, "observations": [[16.0, 1010.0]] * 3}).raise_for_status()
        looking.page.goto(f"{weather.url}/#/session/{session}")
        warning = looking.page.locator("[data-warning=units]")
        looking.page.wait_for_function("() => document.querySelector('[data-fact=step]')?.textContent === '3'")
        assert not warning.is_visible()
        api.post(steps, json={"seq": 4, "observations": [[289.0, 1010.0]] * 9}).raise_for_status()
        warning.wait_for(state="visible")
        assert warning.inner_text() == (
            "temp [C] lies about 289, where the model's training data lay about 15, give or take 8: are its units the "
            "model's?"
        )
