"""The page of a session of sensors: channels by their names, within bands, and its alarms as marks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support import models
from tests.support.pages import Looking
from tests.support.servers import Server
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "model": {"kind": "lgssm", "observation_size": 1, "latent_size": 1},
    "inference": {"kind": "kalman"},
}
CARD: dict[str, Any] = {"name": "plant", "data": {"channels": ["level [m]"]}}
MARKED = "() => /Marks: .*step \\d+: alarm/.test(document.querySelector('[data-chart=energy] canvas')?.ariaLabel ?? '')"


@pytest.fixture
def plant(start: Callable[..., Server], tmp_path: Path) -> Iterator[Server]:
    """A server of a model of a level; it outlives the page."""
    server = start(models.save(tmp_path / "plant", SETTINGS, **CARD))
    yield server
    server.stop()


def test_alarms_are_marks_beside_channels_by_name(plant: Server, looking: Looking) -> None:
    """Where the level is left for good, the mark of an alarm stands; the channel's strip is named, within bands."""
    x = np.random.default_rng(0).normal(size=600)
    x[400:] += 40.0
    with httpx.Client(base_url=plant.url, timeout=PATIENCE) as api:
        opened = {"model": "plant", "alarm_every": 200}
        session = api.post("/v1/sessions", json=opened).raise_for_status().json()["id"]
        steps = f"/v1/sessions/{session}/steps"

        def send(start: int, end: int, count: int) -> None:
            for seq in range(start, end, count):
                rows = x[seq : min(seq + count, end), None].tolist()
                api.post(steps, json={"seq": seq + 1, "observations": rows}).raise_for_status()

        send(0, 380, 60)
        looking.page.goto(f"{plant.url}/#/session/{session}")
        looking.page.wait_for_function("() => document.querySelector('[data-fact=step]')?.textContent === '380'")
        send(380, 600, 20)
        looking.page.wait_for_function(MARKED)
        form = looking.page.locator("[data-chart=form]")
        assert "25 to 75 %" in form.inner_text()
        form.get_by_role("button", name="show as a table").click()
        form.locator("th", has_text="level [m]: observed, expected").wait_for()
