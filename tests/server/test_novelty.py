"""Sessions that listen for novelty are told what the library's detector says, wherever they go on, by their times."""

from typing import Any

import httpx
import numpy as np
import pytest
from avf_client import Client, Estimate, Step

from avf_core.analysis.novelty import Heard, NoveltyDetector
from tests.support.servers import Server

EVERY = 1000.0
XS = np.random.default_rng(7).normal(size=(120, 3))
XS[40] = np.nan
XS[50, 1] = np.nan
XS[100:] += 40.0
TIMES = 1_704_067_200.0 + 1200.0 * np.arange(len(XS))


def check(estimates: list[Estimate], *, daily: bool) -> int:
    """What was told is what a detector says that hears the same; how many alarms were raised."""
    detector = NoveltyDetector(channels=3, run_length=EVERY, daily=daily)
    state, raised = detector.initial(1), 0
    for x, time, estimate in zip(XS, TIMES, estimates, strict=True):
        moments = estimate.prediction, estimate.prediction_deviation
        mean, deviation = (np.asarray(part, dtype=np.float64)[None] for part in moments)
        state, verdict = detector.step(state, Heard(x[None].astype(np.float32), mean, deviation, np.array([time])))
        if np.isnan(x).all():
            assert estimate.alarm is None
            continue
        assert estimate.alarm is not None
        assert (estimate.alarm.raised, estimate.alarm.high) == (bool(verdict.alarm[0]), bool(verdict.high[0]))
        told = estimate.alarm.p, estimate.alarm.statistic, estimate.alarm.threshold
        assert told == pytest.approx((verdict.p[0], verdict.statistic[0], verdict.threshold[0]), rel=1e-6, abs=1e-6)
        raised += estimate.alarm.raised
    return raised


def test_novelty_by_the_hour_goes_on_with_its_session(linear_client: Client) -> None:
    """Over requests and streams, from the store in turns; a model without a clock takes times, and tells them."""
    options: Any = {"seed": 1, "alarm_every": EVERY, "alarm_by": "daily"}
    with linear_client.session("linear", **options) as session, linear_client.session("linear") as other:
        assert (session.info.timed, session.info.alarm_by, other.info.timed) == (True, "daily", False)
        found = session.steps(XS[:45], times=TIMES[:45])
        other.step(XS[0])
        found += session.steps(XS[45:60], times=TIMES[45:60])
        with session.fork() as fork:
            assert (fork.info.timed, fork.info.alarm_by) == (True, "daily")
            forked = fork.steps(XS[60:70], times=TIMES[60:70])
        with linear_client.restore(session.snapshot()) as restored:
            again = restored.steps(XS[60:70], times=TIMES[60:70])
        found += list(session.stream(Step(x, time=time) for x, time in zip(XS[60:], TIMES[60:], strict=True)))
        assert [each.alarm for each in forked] == [each.alarm for each in found[60:70]] == [e.alarm for e in again]
        assert [each.time for each in found] == TIMES.tolist()
        assert check(found, daily=True) >= 1


def test_novelty_needs_no_clock(linear_client: Client) -> None:
    """Without one, times are refused, as of any session of this model."""
    with linear_client.session("linear", seed=1, alarm_every=EVERY, alarm_by="novelty") as session:
        assert check(session.steps(XS), daily=False) >= 1


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"model": "linear", "alarm_by": "novelty"}, "alarm_every"),
        ({"model": "tiny", "alarm_by": "novelty", "alarm_every": 1000.0}, "zeros and ones"),
    ],
)
def test_novelty_that_cannot_be_is_refused(forgetful: Server, body: dict[str, Any], why: str) -> None:
    """By name, and with what to do."""
    answer = httpx.post(f"{forgetful.url}/v1/sessions", json=body, timeout=60)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:avf:problem:invalid-setting")
    assert why in answer.json()["detail"]
