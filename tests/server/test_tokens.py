"""Tokens: what a browser may hold in place of a key allows what it says, until it says, and nothing more."""

import base64
import hmac
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from avf_server import problems
from avf_server.access import tokens
from avf_server.access.keys import caller_of
from avf_server.problems import ForbiddenError, UnauthorisedError
from hypothesis import given
from hypothesis import strategies as st

KEYS = ("alice", "bob")
GRANT = tokens.Grant(expires_at=100.0, session="s", read_only=True)


def bearer(credential: str) -> dict[str, str]:
    """The header that presents a key or a token."""
    return {"authorization": f"Bearer {credential}"}


def test_a_token_is_read_by_whoever_has_its_key() -> None:
    """On any server with the key, in whatever order; until it expires."""
    token = tokens.make(GRANT, key="bob").encode()
    for keys in (KEYS, KEYS[::-1], ("bob",)):
        assert tokens.read(token, keys=keys, now=99.9) == (GRANT, "bob")
    with pytest.raises(UnauthorisedError, match="expired"):
        tokens.read(token, keys=KEYS, now=100.0)
    with pytest.raises(UnauthorisedError, match="another API key"):
        tokens.read(token, keys=("alice",), now=0.0)


def bits_of(signature: bytes) -> bytes | None:
    """What a signature says; None where it is none."""
    try:
        return base64.urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))
    except ValueError:
        return None


def test_tokens_are_signed_as_they_always_were() -> None:
    """HMAC-SHA256 of what comes before the signature, by the key: releases take each other's tokens."""
    signed, _, signature = tokens.make(GRANT, key="bob").rpartition(".")
    assert bits_of(signature.encode()) == hmac.digest(b"bob", signed.encode(), "sha256")


@given(st.integers(0, 200), st.binary(max_size=3))
def test_a_token_that_was_changed_is_not_valid(at: int, piece: bytes) -> None:
    """Any bytes in place of any others: refused as damaged, never read."""
    token = tokens.make(GRANT, key="bob").encode()
    changed = token[:at] + piece + token[at + 1 :]
    signed, _, signature = changed.rpartition(b".")
    if signed == token.rpartition(b".")[0] and bits_of(signature) == bits_of(token.rpartition(b".")[2]):
        return  # base64 has spare bits at its end
    with pytest.raises(UnauthorisedError):
        tokens.read(changed, keys=KEYS, now=0.0)


def test_a_token_speaks_for_a_part_of_what_its_key_owns() -> None:
    """For its session only, and for looking only where it says so; in the address where that is read."""
    token = tokens.make(GRANT, key="bob")
    caller = caller_of(bearer(token), keys=KEYS, now=0.0)
    assert caller.owner == caller_of(bearer("bob"), keys=KEYS, now=0.0).owner
    assert caller.owner != caller_of(bearer("alice"), keys=KEYS, now=0.0).owner
    caller.check(session="s", intent="read")
    for session, intent in (("s", "write"), ("t", "read"), (None, "read")):
        with pytest.raises(ForbiddenError):
            caller.check(session=session, intent=intent)  # type: ignore[arg-type]
    assert caller_of({}, keys=KEYS, now=0.0, query={"token": token}).grant == GRANT
    for query in (None, {}, {"token": "bob"}):
        with pytest.raises(UnauthorisedError):
            caller_of({}, keys=KEYS, now=0.0, query=query)
    assert caller_of(bearer("avft1.odd"), keys=("avft1.odd",), now=0.0).grant is None  # a key that looks like a token
    assert caller_of({}, keys=(), now=0.0).owner == ""


@pytest.fixture(scope="module")
def kept(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with two keys."""
    folder = tmp_path_factory.mktemp("kept")
    return serve("--data-dir", str(folder), AVF_API_KEYS="alice,bob", AVF_MAX_TOKEN_S="60")


@pytest.fixture
def alice(kept: Any) -> Iterator[httpx.Client]:
    """A client of that server, with a key."""
    with httpx.Client(base_url=kept.url, headers=bearer("alice"), timeout=60) as client:
        yield client


def open_one(alice: httpx.Client) -> str:
    """The address of a new session."""
    return f"/v1/sessions/{alice.post('/v1/sessions', json={'model': 'tiny', 'seed': 1}).json()['id']}"


def token(client: httpx.Client, path: str, **options: Any) -> dict[str, str]:
    """The header of a new token."""
    answer = client.post(f"{path}/tokens", json=options)
    assert answer.status_code == 201, answer.text
    return bearer(answer.json()["token"])


def test_tokens_allow_what_they_say(kept: Any, alice: httpx.Client) -> None:
    """Every route, with every kind of token: its own session, another one, and what belongs to no session."""
    mine, other = open_one(alice), open_one(alice)
    step = {"seq": 1, "observations": [[0.0] * 6]}
    looks = {"GET": [f"{mine}", f"{mine}/snapshot"], "POST": [f"{mine}/forecast"]}
    changes = [("POST", f"{mine}/steps", step), ("POST", f"{mine}/reset", None), ("POST", f"{mine}/fork", {})]
    one, all_, looking = token(alice, mine), token(alice, "/v1"), token(alice, mine, read_only=True)
    with httpx.Client(base_url=kept.url, timeout=60) as page:
        for header in (one, all_, looking):
            for method, paths in looks.items():
                asked = {"horizon": 1} if method == "POST" else None
                assert {page.request(method, path, headers=header, json=asked).status_code for path in paths} == {200}
            assert page.get("/v1/models", headers=header).status_code == 200
        for header in (one, all_):
            for method, path, body in changes:
                assert page.request(method, path, headers=header, json=body).status_code in (200, 201)
        for method, path, body in changes:
            refused = page.request(method, path, headers=looking, json=body)
            assert (refused.status_code, refused.json()["type"]) == (403, "urn:avf:problem:forbidden")
        assert page.get(other, headers=one).status_code == 403
        assert page.post("/v1/sessions", headers=one, json={"model": "tiny"}).status_code == 403
        assert page.get(other, headers=all_).status_code == 200
        assert page.post("/v1/sessions", headers=all_, json={"model": "tiny"}).status_code == 201
        assert page.post("/v1/tokens", headers=all_, json={}).status_code == 403
        assert page.get(mine, params={"token": one["authorization"].removeprefix("Bearer ")}).status_code == 401


@pytest.mark.parametrize("lifetime", [0.0, -1.0, 61.0])
def test_lifetimes_are_bounded(alice: httpx.Client, lifetime: float) -> None:
    """By the server's setting, which the problem names."""
    answer = alice.post("/v1/tokens", json={"lifetime_s": lifetime})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:avf:problem:invalid-setting")
    assert "60" in answer.json()["detail"]


def test_a_token_expires(kept: Any, alice: httpx.Client, eventually: Callable[..., Any]) -> None:
    """401 from then on, which says so."""
    short = token(alice, "/v1", lifetime_s=0.2)
    with httpx.Client(base_url=kept.url, headers=short, timeout=60) as page:
        answer = eventually(lambda: (r := page.get("/v1/models")).status_code == 401 and r, "the token to expire")
    assert answer.json()["type"] == "urn:avf:problem:unauthorised"
    assert "expired" in answer.json()["detail"]


def test_tokens_are_for_ones_own_sessions(kept: Any, alice: httpx.Client) -> None:
    """Another owner's session does not exist; and a server without keys makes no tokens."""
    with httpx.Client(base_url=kept.url, headers=bearer("bob"), timeout=60) as bob:
        assert bob.post(f"{open_one(alice)}/tokens", json={}).status_code == 404


def test_a_server_without_keys_makes_no_tokens(http: httpx.Client) -> None:
    """They would guard nothing; the problem says to leave them out, and those presented are ignored."""
    answer = http.post("/v1/tokens", json={})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:avf:problem:invalid-setting")
    assert "no API keys" in answer.json()["detail"]
    assert http.get("/v1/models", headers=bearer("avft1.x.y")).status_code == 200


def test_tokens_and_keys_are_not_logged(kept: Any, alice: httpx.Client) -> None:
    """Neither what is presented in headers, nor what stands in the address."""
    secret = token(alice, "/v1")["authorization"].removeprefix("Bearer ")
    assert alice.get(f"/v1/nowhere?token={secret}").status_code == 404
    assert secret not in alice.get(f"/v1/nowhere?token={secret}").text
    assert secret not in kept.log.read_text()
    assert "alice" not in kept.log.read_text()


def test_a_forbidden_problem_has_its_class() -> None:
    """As every problem has."""
    assert problems.CATALOGUE["forbidden"].status == 403
