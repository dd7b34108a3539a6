"""A model that hears the calendar, served: clients say when, and the server what hour that is, as the library does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from avf_client import Client, Step
from avf_client.errors import InvalidTime

from avf_core import calendar, checkpoints
from avf_core.analysis import forecasting
from tests.support.servers import Server
from tests.support.tides import MADE, START, save

GENERATOR = np.random.default_rng(1)
XS = GENERATOR.normal(size=(5, 2)).astype(np.float32)
VALVES = GENERATOR.normal(size=(5, 1)).astype(np.float32)
TIMES = START + 3600.0 * np.array([0.0, 1.0, 2.0, 9.0, 10.0])


@pytest.fixture(scope="module")
def tides(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A server of a model that hears a valve, the hour and the weekday; where its checkpoint is."""
    folder = save(tmp_path_factory.mktemp("models"))
    return serve("--model", str(folder)).url, folder


def test_steps_are_the_library_s_under_the_calendar_of_their_times(tides: tuple[str, Path]) -> None:
    """Also where a time is not said, which is then the usual one; and a forecast goes on with the clock."""
    url, folder = tides
    filter = checkpoints.load(folder).filter
    inputs = np.concatenate([VALVES, calendar.inputs_at(TIMES, MADE).astype(np.float32)], axis=1)
    ahead = calendar.inputs_at(TIMES[-1] + 3600.0 * np.arange(1, 4), MADE)
    plan = np.concatenate([np.ones((3, 1)), ahead], axis=1).astype(np.float32)
    with torch.no_grad():
        belief = filter.initial(torch.tensor([7]))
        belief, whole = filter.scan(belief, torch.tensor(XS)[:, None], inputs=torch.tensor(inputs)[:, None])
        path = forecasting.forecast(filter, belief, horizon=3, paths=40, inputs=torch.tensor(plan)[:, None])
    with Client(url) as client:
        info = client.model("tides")
        assert (info.inputs, info.input_size, info.calendar, info.timed) == (["valve"], 1, MADE, True)
        with client.session("tides", seed=7) as session:
            said = [None if t in (1, 4) else float(time) for t, time in enumerate(TIMES)]
            found = session.steps([Step(*row) for row in zip(XS, VALVES, said, strict=True)])
            forecast = session.forecast(3, paths=40, inputs=np.ones((3, 1)))
    np.testing.assert_allclose([e.free_energy for e in found], whole.free_energy[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(forecast.mean, path.mean[:, 0], rtol=1e-4, atol=1e-5)


def test_the_first_time_must_be_said(tides: tuple[str, Path]) -> None:
    """Nobody guesses which day it is."""
    with Client(tides[0]) as client, client.session("tides") as session, pytest.raises(InvalidTime, match="say when"):
        session.step(XS[0], inputs=VALVES[0])
