"""Who may hold a stream: keys, tokens in the address, and tokens that end."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import websockets

pytestmark = pytest.mark.slow

ALICE = {"Authorization": "Bearer alice"}


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with two keys."""
    return serve("--data-dir", str(tmp_path_factory.mktemp("data")), AVF_API_KEYS="alice,bob")


@pytest.fixture
def session(http: httpx.Client) -> str:
    return str(http.post("/v1/sessions", json={"model": "tiny"}, headers=ALICE).json()["id"])


async def heard(server: Any, session: str, *, query: str = "", key: str | None = None) -> tuple[list[str], int]:
    """What is said, problems by their names, and the close code; nothing is sent."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def scenario() -> tuple[list[str], int]:
        url = f"{server.ws}/v1/sessions/{session}/stream{query}"
        async with websockets.connect(url, additional_headers=headers, open_timeout=60) as connection:
            said: list[str] = []
            with suppress(websockets.ConnectionClosedError):
                while True:
                    message = json.loads(await connection.recv())
                    said.append(message.get("problem", message)["type"].removeprefix("urn:avf:problem:"))
            return said, int(connection.close_code or 0)

    result: tuple[list[str], int] = await scenario()
    return result


async def test_who_may_not_hold_a_stream_is_told_why(server: Any, session: str, http: httpx.Client) -> None:
    """4401 without a valid key, or with a token that is for looking only; another's session does not exist: 4404."""
    assert await heard(server, session) == (["unauthorised"], 4401)
    assert await heard(server, session, key="mallory") == (["unauthorised"], 4401)
    assert await heard(server, session, query="?token=alice") == (["unauthorised"], 4401)
    assert await heard(server, session, key="bob") == (["unknown-session"], 4404)
    asked = {"read_only": True}
    token = http.post(f"/v1/sessions/{session}/tokens", json=asked, headers=ALICE).json()["token"]
    assert await heard(server, session, query=f"?token={token}") == (["forbidden"], 4401)


async def test_a_stream_ends_when_its_token_does(server: Any, session: str, http: httpx.Client) -> None:
    """It begins, and is closed with 4401 at the token's end though nothing is sent."""
    reply = http.post(f"/v1/sessions/{session}/tokens", json={"lifetime_s": 2.0}, headers=ALICE)
    query = f"?token={reply.json()['token']}"
    assert await heard(server, session, query=query) == (["begin", "unauthorised"], 4401)
