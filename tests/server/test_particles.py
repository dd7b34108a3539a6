"""Sessions with particles, and such that look back: the library's own numbers, wherever a session goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from avf_client import Client, Estimate

from avf_core import checkpoints
from avf_core.estimates import Estimate as Offline
from tests.support import models
from tests.support.servers import Server

LAG, COUNT, SEED = 3, 8, 11
LEVELS = (0.05, 0.5, 0.95)
XS = np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32)
XS[3, 1] = np.nan
XS[5] = np.nan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear Gaussian model with a learned procedure."""
    return models.save(tmp_path_factory.mktemp("models") / "linear", models.GAUSSIAN, name="linear")


@pytest.fixture(scope="module")
def crowd(serve: Callable[..., Server], folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of that model, whose sessions may have up to 64 particles and look back 8 steps."""
    data = str(tmp_path_factory.mktemp("data"))
    return serve("--model", str(folder), "--data-dir", data, AVF_MAX_PARTICLES="64", AVF_MAX_LAG="8")


@pytest.fixture
def client(crowd: Server) -> Iterator[Client]:
    """A client of that server."""
    with Client(crowd.url) as client:
        yield client


@pytest.fixture(scope="module")
def truth(folder: Path) -> Offline:
    """What the library says of the same observations."""
    filter = checkpoints.load(str(folder)).filter
    xs = torch.from_numpy(XS)[:, None]
    with torch.no_grad():
        belief = filter.initial(torch.tensor([SEED]), particles=COUNT, lag=LAG)
        return filter.scan(belief, xs.nan_to_num(), observed=~xs.isnan())[1]


def check(estimates: list[Estimate], truth: Offline, *, start: int = 0, within: float = 1e-4) -> None:
    """Each estimate is the library's, number for number."""
    prediction, smoothed = truth.prediction, truth.smoothed
    assert smoothed is not None
    for t, found in enumerate(estimates, start):

        def alike(told: Any, expected: Any, t: int = t) -> None:
            np.testing.assert_allclose(told, np.asarray(expected[t, 0]), rtol=within, atol=within)

        alike(found.free_energy, truth.free_energy)
        alike(found.evidence_bound, truth.evidence_bound)
        alike(found.effective_sample_size, truth.effective_sample_size)
        alike(found.posterior_mean, truth.posterior.mean)
        alike(found.posterior_deviation, torch.exp(0.5 * truth.posterior.log_variance))
        alike(found.prediction, prediction.mean)
        alike(found.prediction_deviation, prediction.deviation)
        alike(found.prediction_at_prior_mean, truth.prediction_at_prior_mean.mean)
        assert found.prediction_quantiles is not None
        assert found.quantile_levels == pytest.approx(LEVELS)
        for level, values in zip(LEVELS, found.prediction_quantiles, strict=True):
            alike(values, prediction.quantile(level))
        if found.seq > LAG:
            assert found.smoothed_seq == found.seq - LAG
            alike(found.smoothed_mean, smoothed.mean)
            alike(found.smoothed_deviation, torch.exp(0.5 * smoothed.log_variance))
        else:
            assert (found.smoothed_seq, found.smoothed_mean) == (None, None)


OPTIONS: dict[str, Any] = {"particles": COUNT, "lag": LAG, "quantiles": LEVELS, "seed": SEED}


def test_a_session_with_particles_is_the_librarys(client: Client, truth: Offline) -> None:
    """Over HTTP and in streams of both kinds; and again after a reset."""
    with client.session("linear", **OPTIONS) as session:
        assert (session.info.particles, session.info.lag, session.info.quantiles) == (COUNT, LAG, LEVELS)
        for _ in range(2):
            check(session.steps(XS[:4]), truth)
            check(list(session.stream(XS[4:])), truth, start=4)
            session.reset()
        bounds = client.attach(session.id).history().evidence_bound
        np.testing.assert_allclose(bounds[: len(XS)], truth.evidence_bound[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("durability", ["group", "behind", "none"])
def test_forks_and_snapshots_have_all_particles(client: Client, truth: Offline, durability: Any) -> None:
    """They go on as if nothing had been, and look back beyond where they began only at what they have seen."""
    with client.session("linear", durability=durability, **OPTIONS) as session:
        session.steps(XS[:5])
        with session.fork() as fork, client.restore(session.snapshot()) as restored, session.fork(seed=1) as other:
            for each in (fork, restored, other):
                assert (each.info.particles, each.info.lag, each.info.quantiles) == (COUNT, LAG, LEVELS)
            found = {each.id: each.steps(XS[5:]) for each in (session, fork, restored, other)}
        check(found[session.id], truth, start=5)
        for each in (fork, restored):
            assert [e.evidence_bound for e in found[each.id]] == [e.evidence_bound for e in found[session.id]]
            assert [e.smoothed_seq for e in found[each.id]] == [None, None, None, 1]
        assert found[other.id][-1].evidence_bound != found[session.id][-1].evidence_bound


def test_sessions_of_all_kinds_share_a_tick_and_none_is_changed_by_it(client: Client, crowd: Server) -> None:
    """One particle, many, with a lag and without, streamed at once: each as alone."""
    kinds: list[dict[str, Any]] = [
        {},
        {"particles": 4},
        {"particles": 64},
        {"particles": 2, "lag": 2},
        {"particles": 4, "lag": 8},
    ]
    alone = []
    for kind in kinds:
        with client.session("linear", seed=3, **kind) as session:
            alone.append([estimate.evidence_bound for estimate in session.steps(XS)])
    sessions = [client.session("linear", seed=3, **kind) for kind in kinds]
    streams = [session.stream(XS, in_flight=1) for session in sessions]
    together = [[] for _ in kinds]  # type: ignore[var-annotated]
    for _ in XS:
        for stream, told in zip(streams, together, strict=True):
            told.append(next(stream).evidence_bound)
    assert together == alone
    for session in sessions:
        session.close()


def test_one_particle_is_the_filter(client: Client) -> None:
    """Its evidence bound is its free energy, and its one particle is all there is."""
    with client.session("linear", seed=SEED) as session:
        for estimate in session.steps(XS):
            assert estimate.evidence_bound == pytest.approx(estimate.free_energy, rel=1e-6)
            assert estimate.effective_sample_size == 1.0
            assert estimate.smoothed_mean is None


def test_a_forecast_is_of_all_particles(client: Client) -> None:
    """And leaves the session as it is."""
    with client.session("linear", **OPTIONS) as session:
        before = session.steps(XS[:3])[-1]
        first, second = session.forecast(4, paths=20), session.forecast(4, paths=20)
        np.testing.assert_array_equal(first.mean, second.mean)
        assert session.estimate().evidence_bound == before.evidence_bound


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no particles": ({"particles": 0}, "particles is 0, expected a number in [1, 64]"),
    "too many particles": ({"particles": 65}, "particles is 65, expected a number in [1, 64]"),
    "a lag into the future": ({"lag": -1}, "lag is -1, expected a number in [0, 8]"),
    "too long a lag": ({"lag": 9}, "lag is 9, expected a number in [0, 8]"),
    "a lag of one path": ({"lag": 2}, "one sampled path cannot look back: expected particles"),
    "no draws": ({"prediction_samples": 0}, "prediction_samples is 0, expected a number in [1, 256]"),
    "too many draws": ({"prediction_samples": 10_000}, "prediction_samples is 10000"),
    "a level that is certain": ({"quantiles": [0.5, 1.0]}, "each above 0 and below 1"),
    "too many levels": ({"quantiles": [0.5] * 33}, "33 levels, expected up to 32"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_granted_is_refused_when_a_session_is_opened(crowd: Server, case: str) -> None:
    """By name and range, before anything is kept."""
    options, detail = BAD[case]
    answer = httpx.post(f"{crowd.url}/v1/sessions", json={"model": "linear"} | options, timeout=60)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:avf:problem:invalid-setting")
    assert detail in answer.json()["detail"]


def test_a_belief_that_is_no_snapshot_is_none(serve: Callable[..., Server], folder: Path, tmp_path: Path) -> None:
    """Where bodies may have 70 KB, so may beliefs: the model says how many particles that is; one more is refused."""
    small = serve("--model", str(folder), "--data-dir", str(tmp_path), AVF_MAX_BODY_BYTES="70000")
    with Client(small.url) as client:
        most = client.model("linear").max_particles
        assert 8 < most < 1024
        with client.session("linear", particles=most // 2) as session:
            session.step(XS[0])
            client.restore(session.snapshot()).close()
        with pytest.raises(ValueError, match="make a belief of"):
            client.session("linear", particles=most + 1)
        with pytest.raises(ValueError, match="make a belief of"):
            client.session("linear", particles=most // 2, lag=64)


def test_a_snapshot_that_claims_other_particles_is_refused(client: Client) -> None:
    """Its tensors are not those of such a session."""
    with client.session("linear", **OPTIONS) as session:
        session.step(XS[0])
        saved = session.snapshot()
    for claim in (b'\\"particles\\":9', b'\\"lag\\":4', b'\\"particles\\":1'):
        name = claim.split(b":")[0]
        start = saved.index(name)
        end = saved.index(b",", start)
        changed = saved[:start] + claim + saved[end:]
        if len(changed) == len(saved):
            with pytest.raises(ValueError, match=r"no belief of this model|cannot look back"):
                client.restore(changed)
