"""A connection that is cut fifty times, at any byte and in either direction, gives the estimates of an uncut one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from avf_client import (
    AsyncClient,
    Client,
    Estimate,
    Retry,
)
from avf_client.core import closing
from websockets.typing import Subprotocol

from tests.support.estimates import frames, same

pytestmark = pytest.mark.slow

CUTS = 50
STEPS = 80
PATIENT = Retry(attempts=CUTS, first=0.001, most=0.01)
SUBPROTOCOLS = {"avf.v1.json": 6_000, "avf.v1.bin": 1_500}
"""With about as many bytes as one estimate has."""
Proxy = Callable[[list[int]], Any]


@pytest.fixture(scope="module")
def expected(server: str) -> list[Estimate]:
    """The estimates of `frames(STEPS)`, with nothing in between."""
    with Client(server) as client, client.session("tiny", seed=5) as session:
        return list(session.stream(frames(STEPS)))


@pytest.fixture(params=sorted(SUBPROTOCOLS))
def estimate_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Speak this sub-protocol only; gives how many bytes an estimate has."""
    monkeypatch.setattr(closing, "SUBPROTOCOLS", [Subprotocol(request.param)])
    return SUBPROTOCOLS[request.param]


def anywhere(largest: int, *, seed: int) -> list[int]:
    """Fifty places to cut, most in what the server says, some in what the client says."""
    rng = np.random.default_rng(seed)
    cuts = rng.integers(1, largest, size=CUTS)
    return [int(-cut % 1_500) - 1_500 if index % 5 == 4 else int(cut) for index, cut in enumerate(cuts)]


def test_a_stream(server: str, proxy: Proxy, expected: list[Estimate], estimate_bytes: int) -> None:
    """By the blocking client, in both sub-protocols."""
    made = proxy([10**6, *anywhere(2 * estimate_bytes, seed=1)])
    with Client(server) as client, client.session("tiny", seed=5) as session, Client(made.url, retry=PATIENT) as cut:
        attached = cut.attach(session.id)
        same(list(attached.stream(frames(STEPS))), expected)
        assert attached.next_seq == STEPS + 1
    assert made.connections > CUTS


async def test_a_stream_of_asyncio(server: str, proxy: Proxy, expected: list[Estimate], estimate_bytes: int) -> None:
    """By the asyncio client, in both sub-protocols."""
    made = proxy([10**6, *anywhere(2 * estimate_bytes, seed=2)])

    async def run() -> list[Estimate]:
        async with (
            AsyncClient(server) as client,
            await client.session("tiny", seed=5) as session,
            AsyncClient(made.url, retry=PATIENT) as cut,
        ):
            attached = await cut.attach(session.id)
            return [estimate async for estimate in attached.stream(frames(STEPS))]

    same((await run()), expected)
    assert made.connections > CUTS


def test_steps(server: str, proxy: Proxy, expected: list[Estimate]) -> None:
    """Over HTTP, one observation a request: what was applied and not answered is answered from what is stored."""
    made = proxy(anywhere(12_000, seed=3))
    with Client(server) as client, client.session("tiny", seed=5) as session, Client(made.url, retry=PATIENT) as cut:
        attached = cut.attach(session.id)
        same([attached.step(x) for x in frames(STEPS)], expected)
    assert made.connections > CUTS


def test_thinned_streams(server: str, proxy: Proxy, expected: list[Estimate], estimate_bytes: int) -> None:
    """Every third estimate, without arrays: as few as they are, none is lost and none comes twice."""
    made = proxy([10**6, *anywhere(1_500, seed=4)])
    with Client(server) as client, client.session("tiny", seed=5) as session, Client(made.url, retry=PATIENT) as cut:
        got = list(cut.attach(session.id).stream(frames(STEPS), every=3, fields="scalars"))
    assert [(e.seq, e.free_energy) for e in got] == [(e.seq, e.free_energy) for e in expected[2::3]]
    assert not any(isinstance(e, Estimate) for e in got)
