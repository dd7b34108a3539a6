"""Forecasts of sessions, over a real server: those of the library, bounded, and nobody's hindrance."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import torch
from avf_client import AsyncClient, Client, errors

from avf_core import checkpoints
from avf_core.analysis import forecasting

LEVELS = (0.0, 0.1, 0.5, 0.99)


@pytest.fixture(scope="module")
def ahead(tiny: Path) -> Callable[..., Any]:
    """A forecast by the library alone, after a sequence."""
    filter = checkpoints.load(tiny).filter

    def run(xs: list[list[float]], *, seed: int, horizon: int, paths: int) -> Any:
        belief = filter.initial(torch.tensor([seed]))
        if xs:
            with torch.no_grad():
                belief, _ = filter.scan(belief, torch.tensor(xs)[:, None])
        return forecasting.forecast(filter, belief, horizon=horizon, paths=paths)

    return run


def test_a_forecast_is_the_librarys_and_leaves_the_session_as_it_is(
    server: Any, observations: Any, ahead: Callable[..., Any]
) -> None:
    """From the prior and in the midst; quantiles as numpy has them; the steps after it are as if it had not been."""
    xs = observations(8)
    with (
        Client(server.url) as client,
        client.session("tiny", seed=3) as session,
        client.session("tiny", seed=3) as twin,
    ):
        for count in (0, 5):
            session.steps(xs[session.next_seq - 1 : count])
            found = session.forecast(4, paths=30, quantiles=LEVELS, with_paths=True)
            truth = ahead(xs[:count], seed=3, horizon=4, paths=30)
            assert (found.epoch, found.seq) == (1, count)
            np.testing.assert_allclose(found.mean, truth.mean[:, 0], atol=1e-5)
            np.testing.assert_allclose(found.deviation, truth.variance[:, 0].sqrt(), atol=1e-4)
            assert found.paths is not None
            assert found.paths.shape == (30, 4, 6)
            np.testing.assert_array_equal(found.paths, truth.paths[:, 0].transpose(0, 1))
            np.testing.assert_array_equal(found.levels, LEVELS)
            by_numpy = np.quantile(found.paths, LEVELS, axis=0, method="weibull")
            np.testing.assert_allclose(found.quantiles, by_numpy, atol=1e-6)
        again = session.forecast(4, paths=30, quantiles=())
        np.testing.assert_array_equal(again.mean, found.mean)
        assert again.paths is None
        assert again.quantiles.shape == (0, 4, 6)
        after, truly = session.steps(xs[5:]), twin.steps(xs)[5:]
        assert [e.free_energy for e in after] == [e.free_energy for e in truly]


async def test_forecasts_by_asyncio_are_the_same(server: Any) -> None:
    """The other face of the client."""
    with Client(server.url) as client, client.session("tiny", seed=4) as session:
        truth = session.forecast(3, paths=5)

        async def scenario() -> None:
            async with AsyncClient(server.url) as other:
                found = await (await other.attach(session.id)).forecast(3, paths=5)
                np.testing.assert_array_equal(found.quantiles, truth.quantiles)

        await scenario()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": 10**20}, "horizon is"),
        ({"horizon": 2, "paths": 0}, "paths is 0"),
        ({"horizon": 100, "paths": 1000}, r"\[1, 436\] for 100 steps of 6 dimensions"),
        ({"horizon": 2, "quantiles": [1.5]}, "quantiles"),
        ({"horizon": 100, "quantiles": [0.5] * 437}, "quantiles"),
    ],
)
def test_what_makes_no_sense_or_is_too_large_is_refused(server: Any, options: dict[str, Any], words: str) -> None:
    """Before anything is drawn, with the bound."""
    with (
        Client(server.url) as client,
        client.session("tiny") as session,
        pytest.raises(errors.InvalidSetting, match=words),
    ):
        session.forecast(**options)


def test_levels_that_are_no_numbers_are_refused(http: httpx.Client) -> None:
    """NaN can be said in MessagePack."""
    path = f"/v1/sessions/{http.post('/v1/sessions', json={'model': 'tiny'}).json()['id']}/forecast"
    body = msgspec.msgpack.encode({"horizon": 1, "quantiles": [float("nan")]})
    refused = http.post(path, content=body, headers={"content-type": "application/msgpack"})
    assert refused.json()["type"] == "urn:avf:problem:invalid-setting"
    assert http.post("/v1/sessions/none/forecast", json={"horizon": 1}).status_code == 404


async def test_a_tick_waits_for_one_forecast_at_most(runtime: Any, open_session: Any, monkeypatch: Any) -> None:
    """While one runs and another is asked for, a step comes in: it is filtered between the two."""
    order: list[str] = []
    async with runtime() as server:
        session = await open_session(server)
        await server.engine.warm()  # after which nothing else of it is under way
        started, gate, step = threading.Event(), threading.Event(), server.engine._step

        def noted(rows: Any) -> Any:
            order.append("step")
            return step(rows)

        monkeypatch.setattr(server.engine, "_step", noted)
        first = asyncio.create_task(server.thread.aside(lambda: [each() for each in (started.set, gate.wait)]))
        second = asyncio.create_task(server.thread.aside(lambda: order.append("aside")))
        stepping = asyncio.create_task(server.service.observe(session, seq=1, x=[None] * 6, owner=""))
        while not (started.is_set() and server.thread._asked.qsize()):
            await asyncio.sleep(0.001)
        gate.set()
        await asyncio.gather(first, second, stepping)
    assert order == ["step", "aside"]
