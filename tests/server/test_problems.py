"""Every problem is documented, can be met, and leaves the session usable."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
import websockets.sync.client
from avf_server import problems

pytestmark = pytest.mark.slow

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
SIZE = 6
ZERO = [0.0] * SIZE
ONE = [1.0] * SIZE
JSON = {"content-type": "application/json"}


@pytest.fixture
def session(http: httpx.Client) -> str:
    """A session of the shared server, two steps in."""
    identifier: str = http.post("/v1/sessions", json={"model": "tiny", "seed": 1}).json()["id"]
    reply = http.post(f"/v1/sessions/{identifier}/steps", json={"seq": 1, "observations": [ZERO, ONE]})
    assert reply.status_code == 200
    return identifier


def check(response: httpx.Response, name: str, status: int) -> dict[str, Any]:
    """Assert that the response is this problem, and return its body."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert (body["type"], body["status"]) == (f"urn:avf:problem:{name}", status), body
    assert response.status_code == status
    assert body["title"]
    assert body["detail"]
    return body


def test_the_code_and_the_protocol_have_the_same_problems() -> None:
    """The table of docs/protocol.md and the exception tree agree, statuses included."""
    table = PROTOCOL.read_text().partition("## Problems")[2]
    documented = {name: int(status) for name, status in re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", table, re.M)}
    assert documented == {name: kind.status for name, kind in problems.CATALOGUE.items()}


REFUSED: dict[str, tuple[str, int, Callable[[httpx.Client, str], httpx.Response]]] = {
    "too few dimensions": (
        "invalid-observation",
        422,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 3, "observations": [[0.0]]}),
    ),
    "out of range": (
        "invalid-observation",
        422,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 3, "observations": [[2.0] * SIZE]}),
    ),
    "not finite in 32 bits": (
        "invalid-observation",
        422,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 3, "observations": [[1e300] * SIZE]}),
    ),
    "NaN as text": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", content='{"seq": 3, "observations": [[NaN]]}', headers=JSON),
    ),
    "no JSON": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", content='{"seq": 3, ', headers=JSON),
    ),
    "an empty body": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", content="", headers=JSON),
    ),
    "not UTF-8": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", content=b'{"seq": "\xff"}', headers=JSON),
    ),
    "deeply nested": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", content="[" * 60_000, headers=JSON),
    ),
    "an unknown field": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 3, "observations": [ZERO], "more": 1}),
    ),
    "no observation": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 3, "observations": []}),
    ),
    "too many observations": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 3, "observations": [None] * 129}),
    ),
    "seq zero": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 0, "observations": [ZERO]}),
    ),
    "a seq beyond all numbers": (
        "malformed-body",
        400,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 10**4000, "observations": [ZERO]}),
    ),
    "an epoch beyond all numbers": (
        "epoch-mismatch",
        409,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 3, "epoch": 10**30, "observations": [ZERO]}),
    ),
    "a seed beyond all numbers": (
        "invalid-setting",
        422,
        lambda http, path: http.post("/v1/sessions", json={"model": "tiny", "seed": 10**30}),
    ),
    "another media type": (
        "unsupported-media-type",
        415,
        lambda http, path: http.post(f"{path}/steps", content='{"seq": 3}', headers={"content-type": "text/plain"}),
    ),
    "an answer in a form that there is not": (
        "not-acceptable",
        406,
        lambda http, path: http.post(f"{path}/reset", headers={"accept": "text/html"}),
    ),
    "no media type": (
        "unsupported-media-type",
        415,
        lambda http, path: http.post(f"{path}/steps", content='{"seq": 3}'),
    ),
    "too large, announced": (
        "body-too-large",
        413,
        lambda http, path: http.post(f"{path}/steps", content=b" " * 70_000, headers=JSON),
    ),
    "too large, in chunks": (
        "body-too-large",
        413,
        lambda http, path: http.post(f"{path}/steps", content=iter([b" " * 1000] * 100), headers=JSON),
    ),
    "another observation": (
        "observation-conflict",
        422,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 2, "observations": [ZERO]}),
    ),
    "a gap": (
        "sequence-gap",
        409,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 9, "observations": [ZERO]}),
    ),
    "another epoch": (
        "epoch-mismatch",
        409,
        lambda http, path: http.post(f"{path}/steps", json={"seq": 3, "epoch": 7, "observations": [ZERO]}),
    ),
    "an unknown model": (
        "unknown-model",
        404,
        lambda http, path: http.post("/v1/sessions", json={"model": "none"}),
    ),
    "an unknown model's page": ("unknown-model", 404, lambda http, path: http.get("/v1/models/none")),
    "a seed out of range": (
        "invalid-setting",
        422,
        lambda http, path: http.post("/v1/sessions", json={"model": "tiny", "seed": -1}),
    ),
    "too many iterations": (
        "invalid-setting",
        422,
        lambda http, path: http.post("/v1/sessions", json={"model": "tiny", "iterations": 100_000}),
    ),
    "an unknown durability": (
        "malformed-body",
        400,
        lambda http, path: http.post("/v1/sessions", json={"model": "tiny", "durability": "hope"}),
    ),
    "an unknown session": ("unknown-session", 404, lambda http, path: http.get("/v1/sessions/none")),
    "steps of an unknown session": (
        "unknown-session",
        404,
        lambda http, path: http.post("/v1/sessions/none/steps", json={"seq": 1, "observations": [ZERO]}),
    ),
    "an unknown route": ("unknown-route", 404, lambda http, path: http.get("/v1/nothing")),
    "a route with a slash too many": ("unknown-route", 404, lambda http, path: http.get(f"{path}/")),
    "another method": ("method-not-allowed", 405, lambda http, path: http.put(f"{path}/steps", json={})),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_a_documented_problem_and_the_session_goes_on(
    http: httpx.Client, session: str, case: str
) -> None:
    """After each refusal the session stands where it stood, and takes its next observation."""
    name, status, provoke = REFUSED[case]
    path = f"/v1/sessions/{session}"
    body = check(provoke(http, path), name, status)
    if name in ("sequence-gap", "observation-conflict", "epoch-mismatch"):
        assert (body["expected_seq"], body["expected_epoch"]) == (3, 1)
    reply = http.post(f"{path}/steps", json={"seq": 3, "observations": [ZERO]})
    assert reply.status_code == 200
    assert reply.json()["next_seq"] == 4


def test_a_refused_observation_names_its_seq_and_those_before_it_are_applied(http: httpx.Client, session: str) -> None:
    """The second of three is bad: the first is applied, the third is not."""
    path = f"/v1/sessions/{session}"
    bad = {"seq": 3, "observations": [ZERO, [9.0] * SIZE, ZERO]}
    body = check(http.post(f"{path}/steps", json=bad), "invalid-observation", 422)
    assert (body["seq"], body["session"]) == (4, session)
    assert http.get(path).json()["next_seq"] == 4


def test_a_repeated_seq_gives_the_same_bytes(http: httpx.Client, session: str) -> None:
    """The stored reply is what went over the wire; it says anew how far all is safe."""
    path = f"/v1/sessions/{session}/steps"
    first = http.post(path, json={"seq": 3, "observations": [ZERO, None]}).content
    again = http.post(path, json={"seq": 3, "observations": [ZERO, None]}).content
    assert again == first.replace(b'"durable_seq":3,', b'"durable_seq":4,')
    check(http.post(path, json={"seq": 4, "observations": [ZERO]}), "observation-conflict", 422)


def test_replies_beyond_the_window_are_gone(http: httpx.Client, session: str) -> None:
    """Of 130 steps the first two replies are no longer stored."""
    path = f"/v1/sessions/{session}/steps"
    body = {"seq": 3, "observations": [ZERO] * 128}
    assert http.post(path, json=body).json()["next_seq"] == 131
    gone = check(http.post(path, json={"seq": 2, "observations": [ONE]}), "replay-window-passed", 410)
    assert gone["expected_seq"] == 131
    assert http.post(path, json=body).json()["next_seq"] == 131


def test_an_epoch_begins_with_no_estimate(http: httpx.Client, session: str) -> None:
    """`estimate` is the last one; after a reset there is none, and the same seed gives the same first one."""
    path = f"/v1/sessions/{session}"
    last = http.get(f"{path}/estimate").json()
    assert (last["epoch"], last["seq"]) == (1, 2)
    assert http.post(f"{path}/reset").json()["epoch"] == 2
    check(http.get(f"{path}/estimate"), "no-estimate", 404)
    reply = http.post(f"{path}/steps", json={"seq": 1, "observations": [ZERO, ONE]}).json()
    assert (reply["epoch"], reply["next_seq"]) == (2, 3)
    assert reply["estimates"][1]["free_energy"] == pytest.approx(last["free_energy"])


def test_a_deleted_session_is_unknown(http: httpx.Client, session: str) -> None:
    """DELETE is answered 204 once, and nothing of the session is left."""
    path = f"/v1/sessions/{session}"
    assert http.delete(path).status_code == 204
    check(http.delete(path), "unknown-session", 404)
    check(http.post(f"{path}/steps", json={"seq": 3, "observations": [ZERO]}), "unknown-session", 404)
    check(http.get(path), "unknown-session", 404)


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(server: Any, http: httpx.Client) -> None:
    """The answer comes though no byte of the body was sent."""
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/sessions HTTP/1.1\r\nHost: avf\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100000000\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_the_description_lists_the_routes_and_their_messages(http: httpx.Client) -> None:
    """/docs is there, and its document refers only to schemas that it has."""
    assert http.get("/docs").status_code == 200
    text = http.get("/openapi.json").text
    schemas = json.loads(text)["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= set(schemas)
    assert {"Session", "Steps", "StepsReply", "Estimate", "Problem"} <= set(schemas)


@pytest.fixture(scope="module")
def guarded(serve: Callable[..., Any], redis_server: Any) -> Iterator[str]:
    """A server with two keys and place for two sessions."""
    served = serve("--redis-url", redis_server.url, AVF_API_KEYS="anna,boris", AVF_MAX_SESSIONS="2")
    yield served.url
    assert served.stop() == 0


def test_keys_own_sessions_and_new_sessions_do_not_harm_open_ones(guarded: str) -> None:
    """Without a valid key: 401. Another owner's session does not exist. Past the limit: 503, with Retry-After."""
    anna = {"authorization": "Bearer anna"}
    boris = {"authorization": "Bearer boris"}
    with httpx.Client(base_url=guarded, timeout=60) as http:
        for headers in ({}, {"authorization": "Bearer eve"}, {"authorization": "Basic anna"}):
            refused = http.get("/v1/models", headers=headers)
            check(refused, "unauthorised", 401)
            assert refused.headers["www-authenticate"] == "Bearer"
        assert http.get("/health/ready").status_code == 200
        assert "avf_steps" in http.get("/metrics").text
        path = f"/v1/sessions/{http.post('/v1/sessions', json={'model': 'tiny'}, headers=anna).json()['id']}"
        steps = {"seq": 1, "observations": [ZERO]}
        check(http.post(f"{path}/steps", json=steps, headers=boris), "unknown-session", 404)
        check(http.get(path, headers=boris), "unknown-session", 404)
        check(http.delete(path, headers=boris), "unknown-session", 404)
        check(http.post(f"{path}/reset", headers=boris), "unknown-session", 404)
        assert http.post("/v1/sessions", json={"model": "tiny"}, headers=boris).status_code == 201
        full = http.post("/v1/sessions", json={"model": "tiny"}, headers=anna)
        check(full, "overloaded", 503)
        assert int(full.headers["retry-after"]) > 0
        assert http.post(f"{path}/steps", json=steps, headers=anna).status_code == 200
    address = guarded.replace("http://", "ws://") + f"{path}/stream"
    for headers, code in (({}, 4401), (boris, 4404)):
        with websockets.sync.client.connect(address, additional_headers=headers, open_timeout=60) as stream:
            assert json.loads(stream.recv())["type"] == "error"
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                stream.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
    with websockets.sync.client.connect(address, additional_headers=anna, open_timeout=60) as stream:
        assert json.loads(stream.recv())["session"]["next_seq"] == 2
