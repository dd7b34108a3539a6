"""A model that was saved in float64 is served in float64: what was sent is what was filtered, stored and told."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import torch
from avf_client import Client, Step

from avf_core import checkpoints, configuration
from tests.support.servers import Server

SETTINGS: dict[str, Any] = {
    "model": {"kind": "lgssm", "observation_size": 2, "latent_size": 2, "input_size": 1},
    "inference": {"kind": "kalman"},
}
X, INPUTS = [0.1, None], [0.7]
ROUNDED = [float(np.float32(0.1)), None]
STEPS = {"seq": 1, "observations": [X], "inputs": [INPUTS]}


@pytest.fixture(scope="module")
def served(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of the same filter in both precisions."""
    options = ["--data-dir", str(tmp_path_factory.mktemp("data"))]
    for name, dtype in (("narrow", torch.float32), ("wide", torch.float64)):
        filter = configuration.build(SETTINGS).to(dtype)
        folder = tmp_path_factory.mktemp("models") / name
        checkpoints.save(folder, filter=filter, settings=SETTINGS, card={"name": name})
        options += ["--model", str(folder)]
    return serve(*options)


@pytest.fixture
def http(served: Server) -> Iterator[httpx.Client]:
    """Requests to it."""
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


def opened(http: httpx.Client, model: str) -> str:
    """The address of a new session."""
    info = http.post("/v1/sessions", json={"model": model, "seed": 1}).json()
    return f"/v1/sessions/{info['id']}"


def test_precision_is_said(http: httpx.Client) -> None:
    """Of models and of sessions."""
    for model, precision in (("narrow", "float32"), ("wide", "float64")):
        assert http.get(f"/v1/models/{model}").json()["precision"] == precision
        assert http.get(opened(http, model)).json()["precision"] == precision


@pytest.mark.parametrize(("model", "kept", "inputs"), [("narrow", ROUNDED, np.float32(0.7)), ("wide", X, 0.7)])
def test_what_was_sent_is_kept_in_the_models_precision(
    http: httpx.Client, model: str, kept: list[float | None], inputs: float
) -> None:
    """It is told again with its estimate; and the same observation, in JSON or in MessagePack, is known by it."""
    at = opened(http, model)
    first = http.post(f"{at}/steps", json=STEPS)
    packed = {"Content-Type": "application/msgpack"}
    again = http.post(f"{at}/steps", content=msgspec.msgpack.encode(STEPS), headers=packed)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["estimates"] == first.json()["estimates"]
    told = http.get(f"{at}/estimate", params={"with": "observation"}).json()
    assert (told["observation"], told["inputs"]) == (kept, [float(inputs)])


@pytest.mark.parametrize(("model", "problem"), [("narrow", None), ("wide", "urn:avf:problem:observation-conflict")])
def test_an_observation_that_was_rounded_is_another_one_where_the_model_could_tell(
    http: httpx.Client, model: str, problem: str | None
) -> None:
    """Of raw bodies, too, which hold what 32 bits do; a float32 model never knew the difference."""
    at = opened(http, model)
    http.post(f"{at}/steps", json=STEPS).raise_for_status()
    raw = np.array([0.1, math.nan, 0.7], dtype="<f4").tobytes()
    headers = {"Content-Type": "application/vnd.avf.float32"}
    assert http.post(f"{at}/steps?seq=1", content=raw, headers=headers).json().get("type") == problem


def test_requests_and_streams_of_either_kind_say_the_same(served: Server) -> None:
    """To the bit: an observation of 64 bits is one on all ways, and an estimate, too."""
    with Client(served.url) as client:
        found = []
        for how in ("steps", "stream"):
            with client.session("wide", seed=1) as session:
                step = session.steps([[0.1, math.nan]], inputs=[INPUTS])[0]
                rest = getattr(session, how)([Step([0.3, 1 / 3], [0.7]), Step([0.3, 1 / 3], [1 / 7])])
                found.append([step, *rest])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.posterior_mean, other.posterior_mean)
        assert one.evidence_bound == other.evidence_bound
    assert not np.array_equal(found[0][2].posterior_mean, found[0][2].posterior_mean.astype(np.float32))


def test_what_64_bits_do_not_hold_is_refused(http: httpx.Client) -> None:
    """With the precision that was asked of it."""
    for model, bits, large in (("narrow", 32, 1e39), ("wide", 64, None)):
        body = msgspec.msgpack.encode({**STEPS, "observations": [[large or math.inf, 0.0]]})
        answer = http.post(
            f"{opened(http, model)}/steps", content=body, headers={"Content-Type": "application/msgpack"}
        )
        assert answer.status_code == 422
        assert f"not finite in {bits} bits" in answer.json()["detail"]
