"""API keys are taken as people have them, reach the server, and are told to nobody."""

import asyncio
import copy
import json
import logging
import pickle
import socket
import traceback
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from avf_client import AsyncClient, Client, Retry, errors
from avf_client.commands import cli
from avf_client.core import keys
from avf_client.gym import BeliefObservation, FilterEnv, FilterVectorEnv
from gymnasium.envs.registration import EnvSpec
from hypothesis import given
from hypothesis import strategies as st

ONCE = Retry(attempts=1)
SECRET = "sekrit"
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)).map(lambda rest: SECRET + rest)
BLANKS = st.text(" \t\r\n\v\f")
ANYTHING = st.text().map(lambda rest: f"{SECRET}{rest}{SECRET}")


@pytest.fixture(scope="module")
def nowhere() -> Iterator[str]:
    """The address of a port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a server that wants a key."""
    with Client.local("srnn-jsb") as made:
        yield made


@given(key=VISIBLE, before=BLANKS, after=BLANKS)
def test_a_key_of_a_file_is_the_key(key: str, before: str, after: str) -> None:
    """What stands around it is no part of it, and only the header has it."""
    sealed = keys.sealed(before + key + after)
    assert sealed == key
    assert keys.headers(sealed)["Authorization"] == f"Bearer {key}"


@given(key=ANYTHING)
def test_a_key_that_can_be_none_is_refused_untold(key: str) -> None:
    """Either it goes out as it is, or one line says what is wrong with it and not what it is."""
    if key.isascii() and key.isprintable() and " " not in key:
        sealed = keys.sealed(key)
        assert sealed is not None
        assert sealed.reveal() == key
    else:
        with pytest.raises(errors.InvalidArgument) as caught:
            keys.sealed(key)
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "\n", "two words", "a\x00b", "ключ", "***", b"bytes", 7])
def test_what_is_no_key_is_refused_by_both_clients(key: Any) -> None:
    """Before anything is sent, and by one line that says what to do."""
    for kind in (Client, AsyncClient):
        with pytest.raises(errors.InvalidArgument, match=r"^the API key .*AVF_API_KEY$"):
            kind("http://127.0.0.1:1", key)


@given(key=VISIBLE)
def test_a_key_has_no_text(key: str) -> None:
    """However it is written out it is three stars, and copies and pickles are the key."""
    sealed = keys.sealed(key)
    assert sealed is not None
    texts = [repr(sealed), str(sealed), f"{sealed}", f"{sealed!r:>9}", json.dumps({"key": sealed})]
    texts += [logging.makeLogRecord({"msg": "%s", "args": (sealed,)}).getMessage(), repr({"key": [sealed]})]
    assert not any(SECRET in text for text in texts)
    assert copy.copy(sealed) == copy.deepcopy([sealed])[0] == pickle.loads(pickle.dumps(sealed)) == key
    assert hash(sealed) == hash(key)
    assert sealed != keys.sealed(key + "x")


def told(error: BaseException) -> str:
    """All that a traceback can show below this test: messages, causes, and the locals of every frame."""
    below = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return "".join(traceback.TracebackException(type(error), error, below, capture_locals=True).format())


@given(key=VISIBLE)
def test_clients_do_not_tell_their_key(nowhere: str, key: str) -> None:
    """Neither they, nor what they hold, nor the traceback of a call that fails, with all its locals."""

    async def awaited() -> str:
        async with AsyncClient(nowhere, key, retry=ONCE) as client:
            with pytest.raises(errors.ConnectionFailed) as caught:
                await client.models()
        return told(caught.value) + repr(client) + repr(vars(client)) + repr(vars(client.http))

    with Client(nowhere, key + "\n", retry=ONCE) as client, pytest.raises(errors.ConnectionFailed) as caught:
        client.models()
    assert client.api_key == key
    text = told(caught.value) + repr(client) + str(client) + repr(vars(client)) + repr(vars(client.http))
    assert SECRET not in text
    assert SECRET not in asyncio.run(awaited())


def test_streams_do_not_tell_their_key(client: Client, nowhere: str) -> None:
    """A stream that cannot be opened has frames of the library beneath it, which hold headers."""
    with client.session("srnn-jsb") as session, Client(nowhere, SECRET, retry=ONCE) as elsewhere:
        session._connection = elsewhere
        with pytest.raises(errors.ConnectionFailed) as caught:
            list(session.stream([None]))
        assert SECRET not in told(caught.value) + repr(vars(session))
        session._connection = client


def test_a_key_with_a_line_end_opens_the_door(client: Client) -> None:
    """As a secret that was mounted as a file; another key does not."""
    assert client.api_key is not None
    with Client(client.base_url, client.api_key.reveal() + "\r\n") as again:
        assert again.models() == client.models()
        with again.session("srnn-jsb") as session:
            assert [estimate.seq for estimate in session.stream([None])] == [1]
    with Client(client.base_url, "another") as other, pytest.raises(errors.Unauthorised) as caught:
        other.models()
    assert "another" not in told(caught.value)


def test_logs_do_not_tell_the_key(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where everything is logged: of HTTP, of a stream's handshake, and of both faces."""
    assert client.api_key is not None
    address, key = client.base_url, client.api_key.reveal()

    async def awaited() -> None:
        async with AsyncClient(address, key) as again, await again.session("srnn-jsb") as session:
            assert [estimate.seq async for estimate in session.stream([None])] == [1]

    with caplog.at_level(logging.DEBUG), client.session("srnn-jsb") as session:
        list(session.stream([None]))
        asyncio.run(awaited())
    ours = [record for record in caplog.records if record.name.startswith(("websockets.client", "http", "avf_client"))]
    handshakes = [record.getMessage() for record in ours if "uthorization" in record.getMessage()]
    assert [text.partition(": ")[2] for text in handshakes] == ["***", "***"]
    assert not any(key in record.getMessage() for record in ours)


@pytest.mark.parametrize("key", [SECRET + "\r", SECRET + "\n", SECRET + " key", SECRET + "-к"])
def test_commands_do_not_tell_the_key(
    key: str, nowhere: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right or wrong, one line and exit code 1."""
    monkeypatch.setenv("AVF_API_KEY", key)
    monkeypatch.setattr("avf_client.commands.common.Client", lambda server, key: Client(server, key, retry=ONCE))
    assert cli.run(["sessions", "list", "--server", nowhere]) == 1
    captured = capsys.readouterr()
    assert SECRET not in captured.out + captured.err
    assert captured.err.count("\n") == 1


def made_by_gymnasium(client: Client, many: bool) -> Any:
    assert client.api_key is not None
    told = {"server": client.base_url, "api_key": client.api_key.reveal()}
    return gymnasium.make_vec("avf/SRNN-JSB-v0", 2, **told) if many else gymnasium.make("avf/SRNN-JSB-v0", **told)


@pytest.mark.parametrize("many", [False, True])
def test_a_spec_does_not_tell_the_key_and_still_makes_the_environment(client: Client, many: bool) -> None:
    """For a single environment and for many; the spec, its JSON and its pickle."""
    assert client.api_key is not None
    env = made_by_gymnasium(client, many)
    spec = copy.deepcopy(env.spec)
    env.close()
    assert client.api_key.reveal() not in repr(spec) + str(spec) + spec.to_json() + repr(vars(env.unwrapped))
    again = gymnasium.make_vec(spec, 2) if many else gymnasium.make(pickle.loads(pickle.dumps(spec)))
    assert isinstance(again.unwrapped, FilterVectorEnv if many else FilterEnv)
    again.reset(seed=1)
    again.close()


def test_a_written_spec_asks_the_environment_for_the_key(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has three stars: with AVF_API_KEY the environment is made, and without it the server refuses."""
    assert client.api_key is not None
    env = made_by_gymnasium(client, False)
    written = env.spec.to_json()
    env.close()
    monkeypatch.delenv("AVF_API_KEY", raising=False)
    with pytest.raises(errors.Unauthorised):
        gymnasium.make(EnvSpec.from_json(written))
    monkeypatch.setenv("AVF_API_KEY", client.api_key.reveal() + "\n")
    gymnasium.make(EnvSpec.from_json(written)).close()


class Shown(gymnasium.Env[Any, Any]):
    """88 keys, none of them pressed."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (88,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    spec = EnvSpec("Shown-v0", entry_point=lambda: Shown())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(88, np.float32), {}


def test_a_wrapper_does_not_tell_the_key(client: Client) -> None:
    """Neither in the spec that it adds itself to, nor in what it keeps to be made again."""
    assert client.api_key is not None
    key = client.api_key.reveal()
    env = BeliefObservation(Shown(), "srnn-jsb", server=client.base_url, api_key=key)
    env.reset(seed=3)
    text = repr(env.spec) + repr(vars(env))
    env.close()
    assert "additional_wrappers=(WrapperSpec" in text
    assert key not in text
