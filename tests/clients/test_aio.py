"""The SDK for asyncio code against the real server: the same estimates, and estimates while the source waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from avf_client import AsyncClient, Client, Retry, errors

QUICK = Retry(attempts=12, first=0.002, most=0.1)
FRAMES = np.eye(88)[np.random.default_rng(0).integers(0, 88, size=(60, 4))].max(1)


@pytest.fixture(scope="module")
def expected(server: str) -> list[float]:
    """The free energies of FRAMES by the blocking client."""
    with Client(server) as client, client.session("tiny", seed=5) as session:
        return [estimate.free_energy for estimate in session.steps(FRAMES)]


async def test_steps_and_streams_give_what_the_blocking_client_gives(server: str, expected: list[float]) -> None:
    """Over HTTP, as a stream, and from an asynchronous source."""

    async def source() -> AsyncIterator[np.ndarray]:
        for x in FRAMES:
            yield x

    async with AsyncClient(server) as client:
        assert {info.name for info in await client.models()} == {"tiny", "gaussian"}
        async with await client.session("tiny", seed=5) as session:
            assert [e.free_energy for e in await session.steps(FRAMES)] == expected
            assert (await session.estimate()).seq == 60
        for xs in (FRAMES, source()):
            async with await client.session("tiny", seed=5) as session:
                assert [e.free_energy async for e in session.stream(xs)] == expected
                assert session.next_seq == 61
                await session.reset()
                assert (session.epoch, (await session.step(None)).free_energy) == (2, 0.0)


async def test_an_estimate_comes_while_the_source_waits(server: str) -> None:
    """The source gives its second observation only once the first one's estimate is there."""
    arrived = asyncio.Event()

    async def source() -> AsyncIterator[np.ndarray]:
        yield FRAMES[0]
        await arrived.wait()
        yield FRAMES[1]

    async with AsyncClient(server) as client, await client.session("tiny") as session:
        seen = []
        async for estimate in session.stream(source()):
            seen.append(estimate.seq)
            arrived.set()
        assert seen == [1, 2]


async def test_a_stream_survives_cuts(server: str, proxy: Callable[[list[int]], Any], expected: list[float]) -> None:
    """Cut in the midst of answers, the estimates are the same."""
    made = proxy([100_000, 10, 2_000, 9_000, 40_001, 300, 25_000])
    async with (
        AsyncClient(server) as client,
        await client.session("tiny", seed=5) as session,
        AsyncClient(made.url, retry=QUICK) as cut_client,
    ):
        attached = await cut_client.attach(session.id)
        assert [e.free_energy async for e in attached.stream(FRAMES)] == expected
    assert made.connections > 5


async def test_leaving_a_stream_early_leaves_the_session_in_place(server: str) -> None:
    """After `aclose`, the client knows where the session stands."""
    async with AsyncClient(server) as client, await client.session("tiny") as session:
        stream = session.stream(FRAMES)
        async for estimate in stream:
            if estimate.seq == 5:
                break
        await stream.aclose()
        believed = session.next_seq
        await session.refresh()
        assert session.next_seq == believed >= 6


async def test_errors_are_those_of_the_blocking_client(server: str) -> None:
    """Refusals of the server and of the client, and the source's own errors after the estimates before them."""

    async def failing() -> AsyncIterator[np.ndarray]:
        yield FRAMES[0]
        raise OSError("unplugged")

    async with AsyncClient(server, retry=QUICK) as client:
        with pytest.raises(errors.UnknownModel):
            await client.session("large")
        async with await client.session("tiny") as session:
            with pytest.raises(errors.InvalidObservation):
                await session.step([np.inf] * 88)
            with pytest.raises(errors.InvalidObservation) as caught:
                await session.steps([FRAMES[0], FRAMES[1], FRAMES[2] * 7])
            assert [e.seq for e in caught.value.estimates] == [1, 2]
            with pytest.raises(OSError, match="unplugged"):
                assert [e.seq async for e in session.stream(failing())] == [3]
            await session.close()
            with pytest.raises(errors.UnknownSession):
                assert not [e async for e in session.stream(FRAMES)]
    async with AsyncClient("http://127.0.0.1:9", retry=Retry(attempts=1)) as nowhere:
        with pytest.raises(errors.ConnectionFailed):
            await nowhere.attach("x")
