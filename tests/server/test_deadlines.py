"""Sessions that ask for a deadline are given fewer iterations rather than a late answer; nobody else is."""

import math
from pathlib import Path
from typing import Any

import httpx
import pytest
from avf_server import problems
from avf_server.stepping.deadlines import Asked, few_samples, in_time
from hypothesis import given
from hypothesis import strategies as st

from tests.support import models

ROWS = st.lists(
    st.builds(
        Asked,
        model=st.sampled_from(["a", "b"]),
        iterations=st.integers(0, 6),
        left=st.none() | st.floats(-1.0, 1.0),
    ),
    min_size=1,
    max_size=12,
)


def seconds(model: str, rows: int, iterations: int) -> float:
    """A tenth for a batch, and a hundredth for an iteration of a row; twice that of model b."""
    return (2.0 if model == "b" else 1.0) * (0.1 + 0.01 * rows * iterations)


def takes(rows: list[Asked], given_: list[int]) -> float:
    """What a tick takes, from its definition."""
    batches = {(row.model, count) for row, count in zip(rows, given_, strict=True)}
    members = list(zip(rows, given_, strict=True))
    return sum(
        seconds(model, sum((row.model, k) == (model, count) for row, k in members), count) for model, count in batches
    )


@given(ROWS)
def test_a_tick_makes_as_many_iterations_as_there_is_time_for(rows: list[Asked]) -> None:
    """Never more than chosen, never none, never fewer of those who set no deadline; and one more would be too late."""
    found = in_time(rows, seconds)
    for row, count in zip(rows, found, strict=True):
        assert count == row.iterations if row.left is None else min(1, row.iterations) <= count <= row.iterations
    lefts = [row.left for row in rows if row.left is not None]
    shortened = [count for row, count in zip(rows, found, strict=True) if count < row.iterations]
    if not shortened:
        return
    limit = max(shortened)
    more = [row.iterations if row.left is None else min(row.iterations, limit + 1) for row in rows]
    assert takes(rows, more) > min(lefts)
    assert limit == 1 or takes(rows, found) <= min(lefts)


def test_by_hand() -> None:
    """Two rows of model a, and time for 0.1 + 0.01 x 2 x 3 seconds; another that has no deadline takes its own."""
    hurried = [Asked(model="a", iterations=5, left=0.165)] * 2
    assert in_time(hurried, seconds) == [3, 3]
    assert in_time([*hurried, Asked(model="a", iterations=5)], seconds) == [1, 1, 5]
    assert in_time([Asked(model="a", iterations=5)], seconds) == [5]
    assert in_time(hurried, lambda model, rows, iterations: 0.0) == [5, 5]


def seconds_of(model: str, rows: int, iterations: int, samples: int | None) -> float:
    """A hundredth for a sample of an iteration of a row; models have eight."""
    return 0.01 * rows * iterations * (8 if samples is None else samples)


def asked(left: float | None, *, samples: int = 8, least: int = 1) -> Asked:
    """One iteration."""
    return Asked(model="a", iterations=1, left=left, samples=samples, least=least)


@pytest.mark.parametrize(
    ("left", "least", "most", "given_"),
    [(0.09, 1, None, None), (0.05, 1, 4, 4), (0.025, 1, 2, 2), (0.025, 2, 2, 2), (0.001, 1, 1, 1), (-1.0, 2, 1, 2)],
)
def test_where_one_iteration_is_too_many_it_has_fewer_samples(
    left: float, least: int, most: int | None, given_: int | None
) -> None:
    """Half as many, until all are on time, or it has the fewest that it can have."""
    row = asked(left, least=least)
    assert few_samples([row], [1], seconds_of) == most
    assert row.fewer(most) == given_


def test_those_who_set_no_deadline_keep_their_samples() -> None:
    """Their work counts; so do models that have one sample, and procedures that have none."""
    hurried, free, alone = asked(0.105), asked(None), asked(0.105, samples=1)
    assert few_samples([hurried, free], [1, 1], seconds_of) == 2
    assert free.fewer(2) is None
    assert alone.fewer(2) is None
    assert few_samples([free], [1], seconds_of) is None


async def test_a_late_session_is_given_fewer_iterations_and_says_so(
    runtime: Any, open_session: Any, observations: Any
) -> None:
    """Its estimates are those of a session that chose so few; its neighbour, and one with time, have all of theirs."""
    xs = observations(3)
    async with runtime() as server:
        whole = server.models.setup("tiny").iterations
        assert whole > 1
        for _ in range(2):
            await server.engine.warm()
        sessions = {
            "hurried": await open_session(server, deadline_s=1e-9),
            "few": await open_session(server, iterations=1),
            "patient": await open_session(server, rate_hz=1e-3),
            "free": await open_session(server),
        }
        spent: dict[str, list[int]] = {name: [] for name in sessions}
        energies: dict[str, list[float]] = {name: [] for name in sessions}
        for seq, x in enumerate(xs, 1):
            for name, session in sessions.items():
                message = (await server.service.observe(session, seq=seq, x=x, owner="")).message()
                spent[name].append(message.iterations)
                energies[name].append(message.free_energy)
        assert spent == {"hurried": [1] * 3, "few": [1] * 3, "patient": [whole] * 3, "free": [whole] * 3}
        assert energies["hurried"] == pytest.approx(energies["few"], abs=1e-5)
        assert "avf_shortened_steps_total 3.0" in server.telemetry.expose().decode()
        described = await server.sessions.session(sessions["patient"], owner="")
        assert described.deadline_s == pytest.approx(1e3)


@pytest.mark.parametrize("asked", [{"deadline_s": 0.0}, {"rate_hz": -1.0}, {"deadline_s": math.inf}])
async def test_a_deadline_that_makes_no_sense_is_refused(runtime: Any, open_session: Any, asked: Any) -> None:
    """By name, with what was expected."""
    async with runtime() as server:
        with pytest.raises(problems.InvalidSettingError, match=f"{next(iter(asked))} is .*, expected a number above 0"):
            await open_session(server, **asked)


def test_forks_and_snapshots_keep_the_deadline(http: httpx.Client) -> None:
    """The tighter of the two that were asked for is theirs, too."""
    asked = {"model": "tiny", "deadline_s": 0.5, "rate_hz": 4.0}
    opened = http.post("/v1/sessions", json=asked).raise_for_status().json()
    assert opened["deadline_s"] == 0.25
    at = f"/v1/sessions/{opened['id']}"
    http.post(f"{at}/steps", json={"seq": 1, "observations": [None]}).raise_for_status()
    forked = http.post(f"{at}/fork", json={}).raise_for_status().json()
    saved = http.get(f"{at}/snapshot").raise_for_status().content
    headers = {"Content-Type": "application/vnd.avf.belief"}
    restored = http.post("/v1/sessions/restore", content=saved, headers=headers).raise_for_status().json()
    assert forked["deadline_s"] == restored["deadline_s"] == 0.25


@pytest.fixture
def sampled(tmp_path: Path) -> Path:
    """A checkpoint that makes three iterations of four pairs of samples."""
    inference = {**models.ITERATIVE, "iterations": 3, "samples": 8, "antithetic": True}
    return models.save(tmp_path / "tiny", {**models.TINY, "inference": inference}, name="tiny")


async def test_a_session_that_one_iteration_makes_late_is_given_fewer_samples_and_says_so(
    runtime: Any, open_session: Any, observations: Any, sampled: Path
) -> None:
    """It says how many in each form of its estimate; one that has the time says nothing, and has the model's."""
    async with runtime(models=(str(sampled),)) as server:
        for _ in range(2):
            await server.engine.warm()
        hurried = await open_session(server, deadline_s=1e-9)
        patient = await open_session(server, rate_hz=1e-3)
        for seq, x in enumerate(observations(2), 1):
            late, whole = [await server.service.observe(one, seq=seq, x=x, owner="") for one in (hurried, patient)]
            assert (late.message().iterations, late.message().gradient_samples) == (1, 2)
            assert (late.summary().iterations, late.summary().gradient_samples) == (1, 2)
            assert (whole.message().iterations, whole.message().gradient_samples) == (3, None)
