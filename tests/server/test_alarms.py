"""Sessions with a detector are told what the library's says of the same evidence, wherever they go on."""

from typing import Any

import httpx
import numpy as np
import pytest
from avf_client import Client, Estimate
from avf_server.stores.kept import Kept, pack, unpack

from avf_core.analysis.changes import ChangeDetector
from tests.support.servers import Server

EVERY = 100_000.0
DRAW = np.random.default_rng(6)
CALM = DRAW.normal(size=(300, 3))
WILD = 30.0 * DRAW.normal(size=(60, 3))
CALM[40] = np.nan


def check(estimates: list[Estimate]) -> list[bool]:
    """What was told is what a detector says that hears the same evidence; whether an alarm was raised at each step."""
    detector = ChangeDetector(run_length=EVERY)
    state = detector.initial(1)
    raised = []
    for estimate in estimates:
        seen = estimate.free_energy != 0.0
        state, verdict = detector.step(state, np.array([estimate.evidence_bound if seen else np.nan]))
        told = estimate.alarm
        if np.isnan(verdict.p[0]):
            assert told is None
            raised.append(False)
            continue
        assert told is not None
        assert (told.raised, told.high) == (bool(verdict.alarm[0]), bool(verdict.high[0]))
        assert (told.p, told.statistic, told.threshold) == pytest.approx(
            (verdict.p[0], verdict.statistic[0], verdict.threshold[0]), rel=1e-6, abs=1e-6
        )
        raised.append(told.raised)
    return raised


def test_a_detector_goes_on_with_its_session(linear_client: Client) -> None:
    """Over requests, streams, forks and snapshots, from the store in turns; it is calm, and hears what changes."""
    with (
        linear_client.session("linear", seed=1, alarm_every=EVERY) as session,
        linear_client.session("linear") as other,
    ):
        assert (session.info.alarm_every, other.info.alarm_every) == (EVERY, None)
        first: list[Estimate] = []
        for start in range(0, 200, 50):
            first += session.steps(CALM[start : start + 50])
            assert other.step(CALM[0]).alarm is None
        with session.fork() as fork, session.fork(seed=2) as noisier:
            forked = fork.steps(CALM[200:250])
            assert noisier.steps(CALM[200:201])[0].alarm is not None
        restored = linear_client.restore(session.snapshot())
        elsewhere = restored.steps(CALM[200:250])
        rest = [*session.stream(CALM[200:]), *session.stream(WILD)]
        assert [each.alarm for each in elsewhere] == [each.alarm for each in rest[:50]]
        assert [each.alarm for each in forked] == [each.alarm for each in rest[:50]]
        raised = check([*first, *rest])
        assert not any(raised[: len(CALM)])
        assert any(raised[len(CALM) :])
        scalars = list(session.stream(WILD[:2], fields="scalars"))
        assert all(each.alarm is not None for each in scalars)
        session.reset()
        assert check(session.steps(CALM[:20])) == [False] * 20  # it begins anew


@pytest.mark.parametrize("every", [0.0, -1.0, 99.0, 1e10])
def test_false_alarms_are_neither_all_the_time_nor_never(forgetful: Server, every: Any) -> None:
    """What makes no sense is refused by its range."""
    body = {"model": "linear", "alarm_every": every}
    answer = httpx.post(f"{forgetful.url}/v1/sessions", json=body, timeout=60)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:avf:problem:invalid-setting")
    assert "expected a number in [100, 1e+09]" in answer.json()["detail"]


def test_what_is_kept_beside_a_belief_comes_back() -> None:
    """A time, a detector, both, or neither; a belief alone is as it always was."""
    beside = [(None, None), (1.5, None), (None, b"know"), (-2.0, b"know")]
    for kept in (Kept(None), *(Kept(b"file", *each) for each in beside)):
        assert unpack(pack(kept)) == kept
    assert pack(Kept(b"file")) == b"file"
    assert unpack(b"avf-kept") == Kept(b"avf-kept")  # no belief, and told as such by whoever reads it
