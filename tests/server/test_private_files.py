"""What a server writes is for its owner only, whatever the umask, and what was there before is made so."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from avf_server.problems import StartError
from avf_server.stores import _private as private
from avf_server.stores.embedded import EmbeddedRedis

pytestmark = pytest.mark.slow


@pytest.fixture
def permissive() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """The permissions of a folder and of all in it, but for sockets, by name."""
    found = {".": folder, **{str(each.relative_to(folder)): each for each in folder.rglob("*")}}
    return {name: stat.S_IMODE(each.stat().st_mode) for name, each in found.items() if not each.is_socket()}


def check(folder: Path) -> None:
    """Assert that nobody else may do anything with what is in a folder."""
    found = modes(folder)
    assert {"lock", "redis.log"} <= set(found)
    assert any(name.startswith("appendonlydir/") for name in found)
    for name, mode in found.items():
        assert mode == (private.FOLDER if (folder / name).is_dir() else private.FILE), name


def test_the_embedded_redis_writes_for_its_owner_only(tmp_path: Path, permissive: None) -> None:
    """The folder above it, which it made, too."""
    with EmbeddedRedis(tmp_path / "new" / "data") as redis:
        check(redis.directory)
        assert modes(tmp_path / "new")["."] == private.FOLDER


def test_what_was_open_is_closed(tmp_path: Path, permissive: None) -> None:
    """The folder of an earlier release, and its files; what a link in it leads to is left alone."""
    with EmbeddedRedis(tmp_path) as redis:
        folder = redis.directory
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(mode=0o644)
    (folder / "link").symlink_to(elsewhere)
    for each in (folder, *folder.rglob("*")):
        if not each.is_symlink():
            each.chmod(0o777 if each.is_dir() else 0o666)
    tmp_path.chmod(0o755)
    with EmbeddedRedis(tmp_path):
        (folder / "link").unlink()
        check(folder)
    assert modes(tmp_path)["."] == 0o755, "there is something else in it"
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644


def test_a_folder_that_was_open_for_nothing_else_is_closed(tmp_path: Path) -> None:
    """The data directory of an earlier release."""
    tmp_path.chmod(0o755)
    with EmbeddedRedis(tmp_path):
        assert modes(tmp_path)["."] == private.FOLDER


def test_a_served_folder_is_private(serve: Callable[..., Any], tmp_path: Path) -> None:
    """Under a umask of 0, with a session in it."""
    served = serve("--data-dir", str(tmp_path / "data"), before="import os; os.umask(0)")
    assert httpx.post(f"{served.url}/v1/sessions", json={"model": "tiny"}).status_code == 201
    check(tmp_path / "data" / "redis")
    assert modes(tmp_path / "data")["."] == private.FOLDER
    assert served.stop() == 0


def test_a_folder_of_someone_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns it could change it; the server does not start."""
    (tmp_path / "redis").mkdir()
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    with pytest.raises(StartError, match="belongs to another user"):
        EmbeddedRedis(tmp_path).start()
