"""Files that are written whole: links, modes and devices stay what they were; leftovers go; no mixture is read."""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import avf_sources
import pytest
from avf_sources import _files

SETS = [dict.fromkeys("abc", f"{number}" * 2000) for number in range(10)]
SAVE = """
import sys
from pathlib import Path
import avf_sources
folder = Path(sys.argv[1])
avf_sources.replace_file(folder / "one", "2" * 5000)
avf_sources.replace_set(folder, {name: "2" * 5000 for name in "abc"})
"""
SYSTEM_CALLS = ("write", "fsync", "rename", "mkdir", "rmdir", "unlink", "chmod")


def test_a_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path: Path) -> None:
    """Writing into a file does no more than that, and neither does replacing it."""
    (tmp_path / "private").write_text("before")
    (tmp_path / "private").chmod(0o600)
    (tmp_path / "link").symlink_to("private")
    avf_sources.replace_file(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "private").read_text() == "after"
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    (tmp_path / "plain").write_text("")
    avf_sources.replace_file(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new", "plain", "private"]


def test_what_is_no_file_is_written_to() -> None:
    """A device stays where it is."""
    avf_sources.replace_file(Path(os.devnull), "anything")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize(
    "call",
    [
        lambda folder: avf_sources.replace_file(folder / "missing" / "one", ""),
        lambda folder: avf_sources.replace_set(folder / "file" / "folder", {"one": ""}),
        lambda folder: avf_sources.replace_set(folder / "file", {"one": ""}),
    ],
)
def test_an_error_names_what_was_asked_for(call: Callable[[Path], None], tmp_path: Path) -> None:
    """Not what is written beside it: a folder that is missing, and ones that are files."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=re.escape(str(tmp_path))) as raised:
        call(tmp_path)
    assert ".unfinished" not in str(raised.value)
    assert raised.value.errno is not None


def test_what_a_killed_save_left_unfinished_is_removed_by_a_later_one(tmp_path: Path) -> None:
    """An hour later, as it may be of one that is still at work; files and folders."""
    for name in ("old", "new"):
        (tmp_path / f".{name}.unfinished").write_text("")
        (tmp_path / f".{name}-set.unfinished").mkdir()
        (tmp_path / f".{name}-set.unfinished" / "a").write_text("")
    for left in tmp_path.glob(".old*"):
        os.utime(left, (0, 0))
    avf_sources.replace_file(tmp_path / "one", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new-set.unfinished", ".new.unfinished", "one"]


def test_files_that_are_written_while_they_are_read_are_of_one_set(tmp_path: Path) -> None:
    """A thread writes sets one after the other; whatever a reader gets is all of one of them."""
    avf_sources.replace_set(tmp_path, SETS[0])
    ended = threading.Event()

    def write() -> None:
        for _ in range(3):
            for each in SETS:
                avf_sources.replace_set(tmp_path, each)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    read = 0
    while not (ended.is_set() and read):
        found = avf_sources.read_set(tmp_path, "abc")
        assert {name: data.decode() for name, data in found.items()} in SETS
        read += 1
    writer.join()


def test_a_set_that_is_saved_counts_before_it_is_in_place(tmp_path: Path) -> None:
    """Also where it has a file that was not there; another set of the same folder puts it in place."""
    avf_sources.replace_set(tmp_path, {"a": "1", "b": "1"})
    (tmp_path / _files.COMPLETE).mkdir()
    (tmp_path / _files.COMPLETE / "b").write_text("2")
    (tmp_path / _files.COMPLETE / "c").write_text("2")
    assert avf_sources.read_set(tmp_path, "abcd") == {"a": b"1", "b": b"2", "c": b"2"}
    assert [name for name in "abcd" if avf_sources.holds(tmp_path, name)] == ["a", "b", "c"]
    avf_sources.replace_set(tmp_path, {"d": "3"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "1", "b": "2", "c": "2", "d": "3"}


@pytest.mark.long
@pytest.mark.parametrize("call", SYSTEM_CALLS)
def test_a_save_that_is_killed_in_the_kernel_leaves_the_state_before_or_after(call: str, tmp_path: Path) -> None:
    """By strace's own count of each system call, not by ours of Python's functions."""
    strace = shutil.which("strace")
    if strace is None or not _may_trace(strace):
        pytest.skip("strace is missing, or may not trace here")
    states = [{name: str(number).encode() * 5000 for name in "abc"} for number in (1, 2)]
    for n in range(1, 200):
        folder = tmp_path / f"{n}"
        avf_sources.replace_set(folder, {"one": "1" * 5000})
        avf_sources.replace_set(folder, dict.fromkeys("abc", "1" * 5000))
        words = [strace, "-f", "-qq", "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={n}"]
        ended = subprocess.run([*words, sys.executable, "-c", SAVE, str(folder)], check=False)
        assert (folder / "one").read_bytes() in (b"1" * 5000, b"2" * 5000)
        assert avf_sources.read_set(folder, "abc") in states
        if ended.returncode == 0:
            return
    raise AssertionError("it is killed for ever")


def _may_trace(strace: str) -> bool:
    words = [strace, "-qq", "-o", os.devnull, sys.executable, "-c", ""]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
