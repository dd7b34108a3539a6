"""A server is ready when its models are there: nobody waits until they are warm."""

import asyncio
from typing import Any

import pytest
from avf_server.stepping import decisions
from avf_server.stepping.engine import Engine


async def test_a_server_answers_before_its_models_are_warm(
    runtime: Any, open_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a warm-up that has no end: a session is opened and stepped."""
    begun = asyncio.Event()

    async def endless(engine: Engine) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Engine, "warm", endless)
    async with runtime() as server:
        await begun.wait()
        session = await open_session(server)
        assert (await server.service.observe(session, seq=1, x=[0.0] * 6, owner="")).seq == 1


async def test_models_are_warmed_at_every_size_in_turns_with_ticks(runtime: Any, open_session: Any) -> None:
    """A tick that comes meanwhile is not behind all of it; afterwards no size is left, and costs are known."""
    async with runtime(max_batch=8) as server:
        engine = server.engine
        assert len(engine._met) < len(decisions.warmed_sizes(8)) * len(server.models)
        session = await open_session(server)
        await server.service.observe(session, seq=1, x=[0.0] * 6, owner="")
        await engine.warm()
        assert engine._met == {(name, size) for name in server.models for size in decisions.warmed_sizes(8)}
        await engine.warm()
        assert engine.expected_seconds("tiny", 8, server.models.setup("tiny").iterations) > 0.0
