"""Bodies in every form, over a real server: the same observation is the same, and what is cut is refused."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from avf_server.codecs import negotiation
from avf_server.problems import NotAcceptableError

JSON, MSGPACK, FLOAT32 = "application/json", "application/msgpack", "application/vnd.avf.float32"
SIZE = 6
NAN = float("nan")


@pytest.fixture
def path(http: httpx.Client) -> str:
    """The address of a new session of the shared server."""
    return f"/v1/sessions/{http.post('/v1/sessions', json={'model': 'tiny', 'seed': 1}).json()['id']}"


def post(
    http: httpx.Client, path: str, body: bytes, media_type: str, accept: str = "*/*", **where: int
) -> httpx.Response:
    """One request of steps."""
    headers = {"content-type": media_type, "accept": accept}
    return http.post(f"{path}/steps", content=body, headers=headers, params=where)


def raw(xs: Any) -> bytes:
    """Observations as little-endian float32, row by row."""
    return np.asarray(xs, dtype="<f4").tobytes()


def test_each_file_is_a_codec_under_its_media_type() -> None:
    """Four of observations; two of all messages, JSON first."""
    assert list(negotiation.readers()) == [JSON, FLOAT32, MSGPACK, "application/vnd.avf.s16"]
    assert list(negotiation.writers()) == [JSON, MSGPACK]


def test_every_form_gives_what_the_library_gives(
    http: httpx.Client, path: str, observations: Callable[..., Any], same: Callable[..., None]
) -> None:
    """One session, a third of it in each form, answered in both: the estimates are those of the offline filter."""
    xs = observations(9)
    first = post(http, path, msgspec.json.encode({"seq": 1, "observations": xs[:3]}), JSON, MSGPACK)
    second = post(http, path, msgspec.msgpack.encode({"seq": 4, "observations": xs[3:6]}), MSGPACK)
    third = post(http, path, raw(xs[6:]), FLOAT32, "application/*;q=0.5, application/msgpack;q=0.9", seq=7, epoch=1)
    assert [r.headers["content-type"] for r in (first, second, third)] == [MSGPACK, JSON, MSGPACK]
    assert {r.headers["vary"] for r in (first, second, third)} == {"Accept"}
    answers = [msgspec.msgpack.decode(first.content), second.json(), msgspec.msgpack.decode(third.content)]
    assert [answer["next_seq"] for answer in answers] == [4, 7, 10]
    same([estimate for answer in answers for estimate in answer["estimates"]], xs, seed=1)
    last = http.get(f"{path}/estimate", headers={"accept": MSGPACK})
    assert msgspec.msgpack.decode(last.content) == answers[2]["estimates"][-1] == http.get(f"{path}/estimate").json()


def stored(reply: httpx.Response) -> list[dict[str, object]]:
    """The estimates of a reply, without what a server says of now: how far the session is safe."""
    return [{k: v for k, v in estimate.items() if k != "durable_seq"} for estimate in reply.json()["estimates"]]


def test_an_observation_is_the_same_in_every_form(http: httpx.Client, path: str) -> None:
    """Sent again in another form, 0.1 (which 32 bits cannot hold) and missing numbers give the stored estimate."""
    x = [0.1, None, 0.9, 1.0, 0.0, None]
    with_nan = [NAN if value is None else value for value in x]
    first = post(http, path, msgspec.json.encode({"seq": 1, "observations": [x, None]}), JSON)
    assert first.status_code == 200
    for body, media_type, where in (
        (raw([with_nan, [NAN] * SIZE]), FLOAT32, {"seq": 1}),
        (msgspec.msgpack.encode({"seq": 1, "observations": [with_nan, None]}), MSGPACK, {}),
        (msgspec.msgpack.encode({"seq": 1, "observations": [x, [NAN] * SIZE]}), MSGPACK, {}),
    ):
        again = post(http, path, body, media_type, **where)
        assert (again.status_code, stored(again)) == (200, stored(first))
    assert first.json()["estimates"][1]["free_energy"] == 0.0


def test_sessions_and_models_speak_msgpack(http: httpx.Client) -> None:
    """A session is opened, described and reset in MessagePack, with the fields of JSON."""
    headers = {"content-type": MSGPACK, "accept": MSGPACK}
    opened = http.post("/v1/sessions", content=msgspec.msgpack.encode({"model": "tiny"}), headers=headers)
    assert opened.status_code == 201
    path = opened.headers["location"]
    described = msgspec.msgpack.decode(http.get(path, headers=headers).content)
    assert {**described, "expires_in": 0} == {**http.get(path).json(), "expires_in": 0}
    assert msgspec.msgpack.decode(http.post(f"{path}/reset", headers=headers).content)["epoch"] == 2
    models = msgspec.msgpack.decode(http.get("/v1/models", headers=headers).content)
    assert models == http.get("/v1/models").json()


MANY = msgspec.msgpack.encode({"seq": 1, "observations": [[0.0] * SIZE]})
BAD = {
    "a cut row": (raw([[0.0] * SIZE] * 2)[:-1], FLOAT32, {"seq": 1}, "malformed-body", "47 bytes.*multiple of 24"),
    "rows of another width": (raw([[0.0] * 4]), FLOAT32, {"seq": 1}, "malformed-body", "multiple of 24"),
    "no seq": (raw([[0.0] * SIZE]), FLOAT32, {}, "malformed-body", "seq is missing"),
    "a seq that is none": (raw([[0.0] * SIZE]), FLOAT32, {"seq": "x"}, "malformed-body", "seq"),
    "no rows": (b"", FLOAT32, {"seq": 1}, "malformed-body", "expected 1 to 128"),
    "too many rows": (raw([[0.0] * SIZE] * 129), FLOAT32, {"seq": 1}, "malformed-body", "expected 1 to 128"),
    "an infinity": (raw([[np.inf] * SIZE]), FLOAT32, {"seq": 1}, "invalid-observation", "not finite"),
    "out of range": (raw([[1.5] * SIZE]), FLOAT32, {"seq": 1}, "invalid-observation", "1.5"),
    "raw, too large": (bytes(1 << 17), FLOAT32, {"seq": 1}, "body-too-large", "65536"),
    "cut": (MANY[:-3], MSGPACK, {}, "malformed-body", "truncated"),
    "with a tail": (MANY + b"\x00", MSGPACK, {}, "malformed-body", "trailing"),
    "no MessagePack": (b"\xc1", MSGPACK, {}, "malformed-body", "Steps"),
    "nested": (b"\x91" * 60_000, MSGPACK, {}, "malformed-body", "Steps"),
    "seq said twice": (MANY, MSGPACK, {"seq": 1}, "malformed-body", "in the body"),
    "msgpack's infinity": (
        msgspec.msgpack.encode({"seq": 1, "observations": [[float("inf")] * SIZE]}),
        *(MSGPACK, {}, "invalid-observation", "not finite"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused_and_changes_nothing(http: httpx.Client, path: str, case: str) -> None:
    """The problem is JSON whatever was asked for, and says what was expected; the session stands where it stood."""
    body, media_type, where, name, words = BAD[case]
    refused = post(http, path, body, media_type, MSGPACK, **where)
    assert refused.headers["content-type"] == "application/problem+json", refused.text
    assert refused.json()["type"] == f"urn:avf:problem:{name}"
    assert re.search(words, refused.json()["detail"]), refused.json()["detail"]
    assert http.get(path).json()["next_seq"] == 1
    assert post(http, path, raw([[0.0] * SIZE]), FLOAT32, seq=1).status_code == 200


def test_raw_numbers_are_for_observations_only(http: httpx.Client) -> None:
    """No session is opened by them."""
    refused = http.post("/v1/sessions", content=b"", headers={"content-type": FLOAT32})
    assert (refused.status_code, refused.json()["type"]) == (415, "urn:avf:problem:unsupported-media-type")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html, */*;q=0.8", JSON),
        ("application/msgpack", MSGPACK),
        ("application/msgpack;q=0.2, application/json", JSON),
        ("application/json;q=0, */*", MSGPACK),
        ("Application/MsgPack; q=0.5, application/*; q=0.1", MSGPACK),
    ],
)
def test_the_answers_form_is_the_one_most_wanted(accept: str, expected: str) -> None:
    """By weight, the more specific range first; JSON where all are alike."""
    assert negotiation.writer(accept).media_type == expected


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/json;q=much"])
def test_a_form_that_there_is_not_is_refused(accept: str) -> None:
    """The problem lists those there are."""
    with pytest.raises(NotAcceptableError, match=MSGPACK):
        negotiation.writer(accept)


@pytest.mark.parametrize("accept", ["application/json", "application/msgpack"])
def test_what_was_observed_is_told_to_those_who_ask(http: httpx.Client, accept: str) -> None:
    """As 32 bits hold it, null where missing, null alone where all of it was; another tag; and only where asked for."""
    path = f"/v1/sessions/{http.post('/v1/sessions', json={'model': 'tiny', 'seed': 1}).json()['id']}"
    rounded = float(np.float32(0.1))
    given = [([0.1] * 6, [rounded] * 6), ([1, None, 0.0, 1, None, 0.1], [1, None, 0, 1, None, rounded]), (None, None)]
    read = msgspec.json.decode if accept.endswith("json") else msgspec.msgpack.decode
    for seq, (x, kept) in enumerate(given, 1):
        plain = http.post(f"{path}/steps", json={"seq": seq, "observations": [x]}).json()["estimates"][0]
        shown = http.get(f"{path}/estimate?with=observation", headers={"accept": accept})
        assert read(shown.content) == plain | {"observation": kept}
        usual = http.get(f"{path}/estimate", headers={"accept": accept})
        assert read(usual.content) == plain
        assert usual.headers["etag"] != shown.headers["etag"]
    assert http.get(f"{path}/estimate?with=everything").status_code == 400
