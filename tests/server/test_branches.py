"""Forks and snapshots, over real servers: copies go on as their origin would, and what does not fit is refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy
import torch
from avf_client import AsyncClient, Client, errors
from avf_client.blocking.client import Session

from avf_core import checkpoints

SNAPSHOT = {"content-type": "application/vnd.avf.belief"}


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    """A client of the shared server."""
    with Client(server.url) as made:
        yield made


def energies(session: Session, xs: Any) -> list[float]:
    """F of every observation, to the last bit."""
    return [estimate.free_energy for estimate in session.steps(xs)]


@pytest.mark.parametrize("durability", ["group", "none"])
@pytest.mark.parametrize("before", [0, 4])
def test_copies_go_on_as_their_origin(client: Client, observations: Any, durability: Any, before: int) -> None:
    """A fork and a restored session give what the origin gives, from seq 1; a reset begins where the origin began."""
    xs = observations(10)
    with client.session("tiny", seed=6, iterations=1, durability=durability) as origin:
        start = energies(origin, xs[:before])
        with origin.fork() as fork, client.restore(origin.snapshot(), durability=durability) as restored:
            truth = energies(origin, xs[before:])
            for copy in (fork, restored):
                info = copy.info
                assert (info.epoch, info.next_seq, info.seed, info.iterations) == (1, 1, 6, 1)
                assert info.durability == durability
                with pytest.raises(errors.NoEstimate):
                    copy.estimate()
                assert energies(copy, xs[before:]) == truth
                copy.reset()
                assert energies(copy, xs[:before]) == start
        assert origin.next_seq == 11


def test_futures_do_not_touch_each_other(client: Client, observations: Any) -> None:
    """Two forks are fed other observations, in turns with their origin, which goes on as if it were alone."""
    xs, others = observations(8), observations(8, seed=9)
    with client.session("tiny", seed=2) as alone, client.session("tiny", seed=2) as origin:
        truth = energies(alone, xs)
        found = energies(origin, xs[:4])
        with origin.fork() as one, origin.fork(durability="none") as two:
            assert (two.info.durability, one.info.durability) == ("none", "group")
            assert two.id != one.id != origin.id
            for x, other in zip(xs[4:], others, strict=False):
                found += energies(origin, [x])
                assert energies(one, [other]) == energies(two, [other])
    assert found == truth


def test_another_seed_is_other_noise_from_here_on(client: Client, observations: Any) -> None:
    """The same belief, so the same prior's mean, and other samples from there on; with the seed, the same ones."""
    xs = observations(6)
    with client.session("tiny", seed=2) as origin:
        origin.steps(xs[:3])
        saved = origin.snapshot()
        with origin.fork(seed=3) as fork, client.restore(saved, seed=3) as restored:
            truth, found, again = origin.steps(xs[3:]), fork.steps(xs[3:]), restored.steps(xs[3:])
            assert fork.info.seed == restored.info.seed == 3
        np.testing.assert_array_equal(found[0].prediction_at_prior_mean, truth[0].prediction_at_prior_mean)
        assert found[2].free_energy != truth[2].free_energy
        assert [e.free_energy for e in found] == [e.free_energy for e in again]
        for seed in (-1, 2**63):
            with pytest.raises(errors.InvalidSetting, match="seed"):
                origin.fork(seed=seed)
            with pytest.raises(errors.InvalidSetting, match="seed"):
                client.restore(saved, seed=seed)
        with pytest.raises(errors.InvalidSetting, match="iterations is 0"):
            origin.fork(iterations=0)
        with client.restore(saved, iterations=5) as longer:
            assert longer.step(xs[0]).iterations == 5


def test_a_snapshot_is_a_file_that_others_can_read(client: Client, tiny: Path, observations: Any) -> None:
    """By safetensors itself: the library's belief, with its provenance."""
    xs = observations(5)
    with client.session("tiny", seed=8) as session:
        session.steps(xs)
        saved = session.snapshot()
    checkpoint = checkpoints.load(tiny)
    with torch.no_grad():
        belief, _ = checkpoint.filter.scan(checkpoint.filter.initial(torch.tensor([8])), torch.tensor(xs)[:, None])
    tensors = safetensors.numpy.load(saved)
    assert (tensors["seed"].tolist(), tensors["step"].tolist()) == ([8], [5])
    for name, tensor in belief.model.items():
        np.testing.assert_allclose(tensors[f"model.{name}"], tensor, atol=1e-5)
    header = json.loads(saved[8 : 8 + int.from_bytes(saved[:8], "little")])["__metadata__"]
    samples = checkpoint.filter.prediction_samples
    assert header == {
        "format": "avf-belief",
        "version": "1",
        "model": checkpoint.digest,
        "name": "tiny",
        "iterations": "2",
        "epoch": "1",
        "seq": "5",
        "setup": f'{{"particles":1,"lag":0,"prediction_samples":{samples},"quantiles":[],"alarm_every":null,'
        '"alarm_by":"change"}',
    }


def rewritten(saved: bytes, change: Callable[[dict[str, np.ndarray], dict[str, str]], None]) -> bytes:
    """The snapshot with its tensors or its header changed, written by safetensors."""
    metadata = json.loads(saved[8 : 8 + int.from_bytes(saved[:8], "little")])["__metadata__"]
    tensors = dict(safetensors.numpy.load(saved))
    change(tensors, metadata)
    return safetensors.numpy.save(tensors, metadata)


def first(tensors: dict[str, np.ndarray]) -> str:
    """The name of a tensor of the model's state."""
    return min(name for name in tensors if name.startswith("model."))


SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda saved: b"", "no safetensors header"),
    "cut in the header": (lambda saved: saved[:40], "no safetensors header"),
    "cut in the numbers": (lambda saved: saved[:-1], "no complete belief"),
    "a length beyond all": (lambda saved: b"\xff" * 8 + saved[8:], "no safetensors header"),
    "a nested header": (lambda saved: (40_000).to_bytes(8, "little") + b"[" * 40_000, "no safetensors header"),
    "deep in the header": (
        lambda saved: (30_010).to_bytes(8, "little") + b'{"x":' + b"[" * 30_004 + b"}",
        "no safetensors header",
    ),
    "no metadata": (lambda saved: safetensors.numpy.save({"x": np.zeros(1)}), "unknown"),
    "another model": (lambda saved: rewritten(saved, lambda t, m: m.update(model="0123456789abcdef")), "tiny"),
    "another version": (lambda saved: rewritten(saved, lambda t, m: m.update(version="2")), "version is '2'"),
    "another format": (lambda saved: rewritten(saved, lambda t, m: m.update(format="x")), "format is 'x'"),
    "a tensor is missing": (lambda saved: rewritten(saved, lambda t, m: t.__delitem__(first(t))), "not as expected"),
    "one too many": (lambda saved: rewritten(saved, lambda t, m: t.update({"model.x": np.zeros(1)})), "model.x"),
    "no seed": (lambda saved: rewritten(saved, lambda t, m: t.__delitem__("seed")), "no complete belief"),
    "two rows": (
        lambda saved: rewritten(saved, lambda t, m: t.update({k: np.concatenate([v, v]) for k, v in t.items()})),
        "seed",
    ),
    "another type": (
        lambda saved: rewritten(saved, lambda t, m: t.update({first(t): t[first(t)].astype(np.float64)})),
        "not as expected",
    ),
    "not finite": (
        lambda saved: rewritten(saved, lambda t, m: t.update({first(t): t[first(t)] * np.float32(np.nan)})),
        "not finite",
    ),
    "a seed out of range": (lambda saved: rewritten(saved, lambda t, m: t.update(seed=-t["seed"])), "out of range"),
    "a step out of range": (lambda saved: rewritten(saved, lambda t, m: t.update(step=-t["step"])), "out of range"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_what_is_no_snapshot_of_this_server_is_refused(client: Client, case: str) -> None:
    """With what was wrong; the server goes on."""
    spoil, words = SPOILED[case]
    with client.session("tiny", seed=1) as session:
        session.step([0.0] * 6)
        saved = session.snapshot()
        with pytest.raises(errors.InvalidSnapshot, match=words):
            client.restore(spoil(saved))
        with client.restore(saved) as restored:
            assert restored.step([0.0] * 6).seq == 1


def test_other_bodies_and_sessions_are_refused(http: httpx.Client, client: Client) -> None:
    """Media type, size, unknown sessions, unknown options."""
    sent = http.post("/v1/sessions/restore", content=b"{}", headers={"content-type": "application/json"})
    assert sent.json()["type"] == "urn:avf:problem:unsupported-media-type"
    assert http.post("/v1/sessions/restore", content=bytes(1 << 17), headers=SNAPSHOT).status_code == 413
    assert http.post("/v1/sessions/restore?seed=x", content=b"", headers=SNAPSHOT).status_code == 400
    assert http.post("/v1/sessions/none/fork", json={}).json()["type"] == "urn:avf:problem:unknown-session"
    assert http.get("/v1/sessions/none/snapshot").json()["type"] == "urn:avf:problem:unknown-session"
    with client.session("tiny") as session:
        refused = http.post(f"/v1/sessions/{session.id}/fork", json={"epoch": 1})
        assert refused.json()["type"] == "urn:avf:problem:malformed-body"
        opened = http.post(f"/v1/sessions/{session.id}/fork", json={})
        assert (opened.status_code, opened.headers["location"]) == (201, f"/v1/sessions/{opened.json()['id']}")


async def test_asyncio_has_the_same(server: Any, client: Client, observations: Any) -> None:
    """Snapshot, restore and fork with `await`."""
    xs = observations(6)
    async with AsyncClient(server.url) as other, await other.session("tiny", seed=5) as session:
        await session.steps(xs[:3])
        async with await session.fork() as fork, await other.restore(await session.snapshot()) as restored:
            found = [[e.free_energy for e in await s.steps(xs[3:])] for s in (session, fork, restored)]
    with client.session("tiny", seed=5) as truth:
        assert found == [energies(truth, xs)[3:]] * 3
