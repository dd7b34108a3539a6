"""A server of one's own in this process: `Client.local`, for users' tests."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from avf_client import AsyncClient, Client, Retry, errors

X = np.eye(88)[:6]


def test_a_local_server_is_the_server(checkpoint: Path, gaussian: Path, server: str) -> None:
    """The same estimates as those of `avf serve`, over HTTP and as streams, and nothing is left of it."""
    with Client(server) as remote, remote.session("tiny", seed=5) as session:
        expected = [estimate.free_energy for estimate in session.steps(X)]
    with Client.local(checkpoint, gaussian, max_batch=4) as client:
        assert [info.name for info in client.models()] == ["gaussian", "tiny"]
        with client.session("tiny", seed=5) as session:
            assert [estimate.free_energy for estimate in session.stream(X)] == expected
            assert session.info.durability == "none"
        with client.session("tiny", seed=5, durability="group") as session:
            assert [estimate.free_energy for estimate in session.steps(X)] == expected
        with Client(client.base_url) as stranger, pytest.raises(errors.Unauthorised):
            stranger.session("tiny")
        url = client.base_url
    with Client(url, retry=Retry(attempts=1)) as after, pytest.raises(errors.ConnectionFailed):
        after.models()


async def test_a_local_server_for_asyncio(checkpoint: Path) -> None:
    """The same, awaited."""

    async def run() -> list[int]:
        async with await AsyncClient.local(checkpoint) as client, await client.session("tiny") as session:
            return [estimate.seq async for estimate in session.stream(X)]

    assert (await run()) == [1, 2, 3, 4, 5, 6]


def children() -> set[str]:
    """The servers of Redis that this process has started, by process id; none where there is no /proc."""
    listed = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    pids = {pid for text in listed for pid in text.split()}
    names = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in pids if Path(f"/proc/{pid}/comm").exists()}
    return {pid for pid, name in names.items() if "redis" in name or "valkey" in name}


def test_a_local_server_leaves_no_process_and_no_files(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is deleted, and its Redis is gone with it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = children()
    client = Client.local(checkpoint)
    (folder,) = tmp_path.glob("avf-local-*")
    assert any(folder.iterdir())
    client.close()
    client.close()
    assert list(tmp_path.iterdir()) == []
    assert children() <= before


@pytest.mark.parametrize(
    ("models", "settings", "said"),
    [
        (["no-such-model"], {}, "no checkpoint 'no-such-model'"),
        (["srnn-jsb"], {"speed": 3}, "SPEED"),
        (["srnn-jsb"], {"max_batch": 0}, "MAX_BATCH"),
        ([], {}, "of no model"),
    ],
)
def test_what_cannot_start_says_why(models: list[str], settings: dict[str, int], said: str) -> None:
    """An error of the client's own, with the server's words."""
    with pytest.raises((errors.StartFailed, errors.InvalidArgument), match=said):
        Client.local(*models, **settings)


def test_without_the_server_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client alone has no server in it."""
    importlib.import_module("avf_server")
    monkeypatch.setitem(sys.modules, "avf_server.serve.local", None)
    with pytest.raises(errors.MissingExtra, match=r"avf\[server\]"):
        Client.local("srnn-jsb")
