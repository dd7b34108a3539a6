"""Inputs and times through every door: what comes back is the Kalman filter's, and the library's own, to the digit."""

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import avf_wire as wire
import httpx
import msgspec
import numpy as np
import pytest
import torch
from avf_client import Client, Estimate, Session, Step
from avf_wire import binary
from websockets.sync.client import connect

from avf_core import checkpoints, configuration
from tests.support.servers import Server

FRAMES = "application/vnd.avf.float32"
DRIVEN = {
    "model": {"kind": "lgssm", "observation_size": 3, "latent_size": 2, "input_size": 2, "decode_inputs": True},
    "inference": {"kind": "kalman"},
}
TIMED = {
    "model": {
        "kind": "vrnn",
        "observation_size": 2,
        "latent_size": 2,
        "hidden_size": 4,
        "observation_widths": [4],
        "latent_widths": [4],
        "prior_widths": [4],
        "decoder_widths": [4],
        "likelihood": "gaussian",
        "input_size": 2,
        "timed": True,
        "usual_dt": 0.5,
    },
    "inference": {"kind": "iterative", "iterations": 2, "units": 8},
}
GENERATOR = np.random.default_rng(3)
XS, US = GENERATOR.normal(size=(6, 3)).astype(np.float32), GENERATOR.normal(size=(6, 2)).astype(np.float32)
XS[2, 1] = np.nan
XS[4] = np.nan
TIMES = [10.0, 10.25, None, 13.0, 13.125, 100.0]
DTS = [0.5, 0.25, 0.5, 2.25, 0.125, 86.875]  # the first, and where no time was said, the usual one


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A linear model with inputs whose matrices are known, and a recurrent one that takes inputs and times."""
    found = {}
    for name, settings in (("driven", DRIVEN), ("timed", TIMED)):
        torch.manual_seed(5)
        filter = configuration.build(settings)
        if name == "driven":
            with torch.no_grad():
                filter.model.control.copy_(torch.tensor([[1.0, -0.5], [0.25, 2.0]]))
                filter.model.feedthrough.copy_(torch.tensor([[0.5, 0.0], [0.0, -1.0], [1.0, 1.0]]))
        found[name] = tmp_path_factory.mktemp("models") / name
        checkpoints.save(found[name], filter=filter, settings=settings, card={"name": name})
    return found


@pytest.fixture(scope="module")
def doors(serve: Callable[..., Server], folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of these models."""
    data = str(tmp_path_factory.mktemp("data"))
    return serve("--data-dir", data, *(option for path in folders.values() for option in ("--model", str(path))))


@pytest.fixture
def http(doors: Server) -> Iterator[httpx.Client]:
    """Requests to it."""
    with httpx.Client(base_url=doors.url, timeout=60) as client:
        yield client


def truth(folder: Path) -> list[tuple[Any, Any, float]]:
    """Mean, deviation and evidence of every step by the textbook's Kalman filter with inputs, in numpy."""
    model = checkpoints.load(str(folder)).filter.model.double()
    a, c, b, d = (p.detach().numpy() for p in (model.dynamics, model.emission, model.control, model.feedthrough))
    mean, p = np.zeros(2), np.eye(2)
    found = []
    for t, (x, u) in enumerate(zip(XS.astype(float), US.astype(float), strict=True)):
        if t:
            mean, p = a @ mean + b @ u, a @ p @ a.T + np.eye(2)
        seen = ~np.isnan(x)
        h, error = c[seen], (x - c @ mean - d @ u)[seen]
        s = h @ p @ h.T + np.eye(int(seen.sum()))
        gain = p @ h.T @ np.linalg.inv(s)
        evidence = -0.5 * float(error @ np.linalg.solve(s, error) + np.linalg.slogdet(2 * np.pi * s)[1])
        mean, p = mean + gain @ error, p - gain @ s @ gain.T
        found.append((mean, np.sqrt(np.diag(p)), evidence if seen.any() else 0.0))
    return found


def check(estimates: list[Estimate], steps: list[tuple[Any, Any, float]]) -> None:
    """Moments and evidence, within what float32 holds."""
    for found, (mean, deviation, evidence) in zip(estimates, steps, strict=True):
        np.testing.assert_allclose(found.posterior_mean, mean, atol=1e-4)
        np.testing.assert_allclose(found.posterior_deviation, deviation, atol=1e-4)
        assert found.free_energy == pytest.approx(-evidence, abs=1e-4)


def steps(start: int = 0, *, times: bool = False) -> list[Step]:
    """The observations from there on with what came with them."""
    return [Step(XS[i, : 2 if times else 3], US[i], TIMES[i] if times else None) for i in range(start, len(XS))]


def test_inputs_reach_the_kalman_filter(doors: Server, folders: dict[str, Path]) -> None:
    """By requests and streams of both kinds, in forks and from snapshots."""
    expected = truth(folders["driven"])
    with Client(doors.url) as client, client.session("driven") as session:
        assert (session.info.input_size, session.info.timed) == (2, False)
        check(session.steps(XS[:2], inputs=US[:2]), expected[:2])
        check([session.step(XS[2], inputs=US[2])], expected[2:3])
        with session.fork() as fork, client.restore(session.snapshot()) as restored:
            check(list(session.stream(steps(3))), expected[3:])
            check(fork.steps(steps(3)), expected[3:])
            check(restored.steps(steps(3)), expected[3:])


def test_a_forecast_is_one_under_given_inputs(doors: Server) -> None:
    """What is pushed goes there; without inputs there is no forecast."""
    with Client(doors.url) as client, client.session("driven") as session:
        session.steps(steps())
        pushed, still = (session.forecast(2, inputs=np.full((2, 2), u), paths=50) for u in (100.0, 0.0))
        assert np.abs(pushed.mean - still.mean).min() > 10.0
        for wrong in (None, [[0.0, 0.0]], [[0.0], [0.0]]):
            with pytest.raises(ValueError, match="2 lists, one for each step ahead, of 2 numbers"):
                session.forecast(2, inputs=wrong)


def offline(folder: Path, seed: int) -> list[float]:
    """Free energies of the library's filter over the same, with dt from the times."""
    filter = checkpoints.load(str(folder)).filter
    xs, us = torch.from_numpy(XS[:, None, :2]), torch.from_numpy(US[:, None])
    observed = ~xs.isnan()
    dts = torch.tensor(DTS)[:, None]
    belief = filter.initial(torch.tensor([seed]))
    with torch.no_grad():
        _, estimates = filter.scan(belief, xs.nan_to_num(), observed=observed, inputs=us, dt=dts)
    return [float(value) for value in estimates.free_energy[:, 0]]


def test_times_become_dt_wherever_a_session_goes_on(doors: Server, folders: dict[str, Path]) -> None:
    """In requests, streams, forks and from snapshots; a time that is not said is the usual one after the last."""
    expected = pytest.approx(offline(folders["timed"], seed=4), rel=1e-5)
    given = steps(times=True)
    with Client(doors.url) as client, client.session("timed", seed=4) as session:
        first = session.steps(given[:3])
        assert [estimate.time for estimate in first] == [10.0, 10.25, 10.75]
        with session.fork() as fork, client.restore(session.snapshot()) as restored, session.fork(seed=9) as other:
            for each in (session, fork, restored):
                rest = list(each.stream(given[3:])) if each is session else each.steps(given[3:])
                assert [estimate.time for estimate in rest] == TIMES[3:]
                assert [estimate.free_energy for estimate in (*first, *rest)] == expected
            with pytest.raises(ValueError, match=r"was at 10\.75"):
                other.step(given[0].x, inputs=US[0], time=10.75)
        assert [*session.history().time][-1] == 100.0
        session.reset()
        assert session.step(given[0].x, inputs=US[0]).time == 0.0
        far = session.forecast(2, inputs=np.zeros((2, 2)), times=[1.0, 50.0])
        assert far.mean.shape == (2, 2)
        with pytest.raises(ValueError, match="times of a session go on"):
            session.forecast(2, inputs=np.zeros((2, 2)), times=[1.0, 1.0])


def test_all_forms_of_bodies_say_the_same(http: httpx.Client, doors: Server) -> None:
    """JSON, MessagePack, raw rows, and frames of both streams: bit for bit; sent again in another form, it is known."""
    rows = [(XS[i, :2], US[i], TIMES[i]) for i in range(6)]
    lists = [[[None if np.isnan(v) else float(v) for v in x] for x, _, _ in rows], [u.tolist() for _, u, _ in rows]]
    message = {"seq": 1, "observations": lists[0], "inputs": lists[1], "times": TIMES}
    raw = b"".join(struct.pack("<4fd", *x, *u, math.nan if t is None else t) for x, u, t in rows)
    bodies = {
        "application/json": ("", msgspec.json.encode(message)),
        "application/msgpack": ("", msgspec.msgpack.encode(message)),
        FRAMES: ("?seq=1", raw),
    }
    told = []
    for media_type, (query, body) in bodies.items():
        path = f"/v1/sessions/{opened(http, seed=2)}"
        for _ in range(2):
            answer = http.post(f"{path}/steps{query}", content=body, headers={"Content-Type": media_type})
            assert answer.status_code == 200, answer.text
        told.append([each["free_energy"] for each in answer.json()["estimates"]])
        shown = http.get(f"{path}/estimate?with=observation").json()
        assert (shown["observation"], shown["inputs"], shown["time"]) == (lists[0][-1], lists[1][-1], 100.0)
    for kind in (wire.SUBPROTOCOL_JSON, wire.SUBPROTOCOL_BINARY):
        told.append(streamed(doors, opened(http, seed=2), kind, lists, raw))
    assert told == [told[0]] * 5


def opened(http: httpx.Client, **options: Any) -> str:
    """A new session on the timed model."""
    identifier: str = http.post("/v1/sessions", json={"model": "timed", **options}).json()["id"]
    return identifier


def streamed(doors: Server, session: str, kind: str, lists: list[Any], raw: bytes) -> list[float]:
    """The free energies that a stream of this kind tells of the six steps."""
    url = f"{doors.ws}/v1/sessions/{session}/stream"
    with connect(url, subprotocols=[kind]) as socket:  # type: ignore[list-item]
        socket.recv()
        if kind == wire.SUBPROTOCOL_BINARY:
            frame = binary.Observations(seq=1, rows=np.frombuffer(raw, dtype="<f4").reshape(6, 6))
            socket.send(binary.encode(frame))
        else:
            for seq, (x, u, t) in enumerate(zip(*lists, TIMES, strict=True), 1):
                socket.send(msgspec.json.encode(wire.Observe(seq=seq, x=x, inputs=u, time=t)).decode())
        answers = [socket.recv() for _ in range(6)]
    if kind == wire.SUBPROTOCOL_JSON:
        return [msgspec.json.decode(answer)["free_energy"] for answer in answers]
    found = [binary.decode_server(answer) for answer in answers if isinstance(answer, bytes)]
    return [each.free_energy for each in found if isinstance(each, binary.Estimate)]


ONE = {"seq": 1, "observations": [[0.0, 0.0]]}
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no inputs": ({}, "invalid-inputs", "the model takes 2"),
    "too few inputs": ({"inputs": [[1.0]]}, "invalid-inputs", "1 inputs came with the observation, expected 2"),
    "too many inputs": ({"inputs": [[1.0] * 9]}, "invalid-inputs", "9 inputs came"),
    "a missing input": ({"inputs": [[1.0, None]]}, "invalid-inputs", "input 1 is missing"),
    "an input beyond 32 bits": ({"inputs": [[1e39, 0.0]]}, "invalid-inputs", "input 0 is missing, or not finite"),
    "inputs of two steps": ({"inputs": [[1.0, 1.0]] * 2}, "malformed-body", "as many as the observations"),
    "inputs that are text": ({"inputs": [["a", "b"]]}, "malformed-body", "list of lists of numbers"),
    "times of two steps": ({"inputs": [[1.0, 1.0]], "times": [1.0, 2.0]}, "malformed-body", "as many as"),
    "times that are text": ({"inputs": [[1.0, 1.0]], "times": ["now"]}, "malformed-body", "times is a list"),
    "a time that goes back": ({"inputs": [[1.0, 1.0]], "times": [4.0]}, "invalid-time", "was at 5.0"),
    "the same time again": ({"inputs": [[1.0, 1.0]], "times": [5.0]}, "invalid-time", "was at 5.0"),
    "times far apart": ({"inputs": [[1.0, 1.0]], "times": [1e308]}, "invalid-time", "dt"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_a_documented_problem(http: httpx.Client, case: str) -> None:
    """And the session stands where it stood; the next step, as it should be, is applied."""
    message, name, detail = BAD[case]
    path = f"/v1/sessions/{opened(http)}/steps"
    good = ONE | {"inputs": [[0.0, 0.0]], "times": [5.0]}
    assert http.post(path, json=good).status_code == 200
    answer = http.post(path, json=ONE | {"seq": 2} | message)
    assert (answer.status_code, answer.json()["type"]) == (
        400 if name == "malformed-body" else 422,
        f"urn:avf:problem:{name}",
    )
    assert detail in answer.json()["detail"]
    assert http.post(path, json=good | {"seq": 2, "times": [None]}).status_code == 200


def test_another_input_or_time_is_another_observation(http: httpx.Client) -> None:
    """A conflict under the same seq; and what a model does not take is refused, over streams, too."""
    path = f"/v1/sessions/{opened(http)}/steps"
    good = ONE | {"inputs": [[0.0, 0.0]], "times": [5.0]}
    assert http.post(path, json=good).status_code == 200
    for other in ({"inputs": [[0.0, 1.0]]}, {"times": [6.0]}, {"times": [None]}):
        assert http.post(path, json=good | other).json()["type"] == "urn:avf:problem:observation-conflict"


def test_a_stream_tells_of_inputs_and_times_that_do_not_fit_and_goes_on(http: httpx.Client, doors: Server) -> None:
    """In both sub-protocols, by the same problems."""
    for kind in (wire.SUBPROTOCOL_JSON, wire.SUBPROTOCOL_BINARY):
        url = f"{doors.ws}/v1/sessions/{opened(http)}/stream"
        with connect(url, subprotocols=[kind]) as socket:  # type: ignore[list-item]
            socket.recv()
            told: list[str] = []
            for u, t in (([0.0, 0.0], 5.0), ([0.0, math.nan], 6.0), ([0.0, 0.0], 5.0), ([0.0, 0.0], 5.5)):
                seq = 1 if t == 5.0 and not told else 2
                if kind == wire.SUBPROTOCOL_BINARY:
                    row = np.frombuffer(struct.pack("<4fd", 0.0, 0.0, *u, t), dtype="<f4")
                    socket.send(binary.encode(binary.Observations(seq=seq, rows=row[None])))
                else:
                    said = {"type": "observe", "seq": seq, "x": [0.0, 0.0], "time": t}
                    inputs = [None if math.isnan(number) else number for number in u]
                    socket.send(msgspec.json.encode(said | {"inputs": inputs}).decode())
                told.append(said_by(socket.recv()))
        assert told == ["estimate", "invalid-inputs", "invalid-time", "estimate"]


def said_by(answer: str | bytes) -> str:
    """What came: an estimate, or the name of a problem."""
    message: Any = msgspec.json.decode(answer, type=wire.ServerMessage) if isinstance(answer, str) else None
    message = binary.decode_server(answer) if isinstance(answer, bytes) else message
    return message.problem.type.rpartition(":")[2] if isinstance(message, wire.Error) else "estimate"


def test_a_model_that_takes_neither_refuses_both(doors: Server) -> None:
    """Before anything is sent, by the client; and by the server."""
    with Client(doors.url) as client, client.session("tiny") as session:
        for step in (Step([0.0] * 6, [1.0]), Step([0.0] * 6, None, 1.0)):
            with pytest.raises(ValueError, match=r"takes|alike"):
                session.step(step)
        refused = [told(client, session, extra) for extra in ({"inputs": [[1.0]]}, {"times": [1.0]})]
        assert refused == ["urn:avf:problem:invalid-inputs", "urn:avf:problem:invalid-time"]


def told(client: Client, session: Session, extra: dict[str, Any]) -> str:
    """The problem of a step that comes with more than its model takes."""
    body = {"seq": 1, "observations": [[0.0] * 6]} | extra
    kind: str = httpx.post(f"{client.base_url}/v1/sessions/{session.id}/steps", json=body, timeout=60).json()["type"]
    return kind
