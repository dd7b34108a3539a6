"""Saves that are killed, or find the disk full, at each system call that writes; and what is read afterwards.

    python -m tests.support.killing MODULE:CASE FOLDER [STRIDE]

The law: a case is saved in a fork, so that it dies as a process does, and what it left is read by the product's own
reader. A write that goes round the calls counted here, and so round the one way of saving, is a failure.
"""

import errno
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tests.support.processes import THREADS, clean_environment

CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir", "rmdir", "unlink", "chmod")
TAKING = ("open", "write", "fsync", "replace", "rename", "mkdir")
"""What needs room, and so fails on a full disk."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PAST, REFUSED = 99, 7  # exit codes: a write that was not counted; a save that raised

Fault = Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]


class Case(Protocol):
    """What is saved. `read` gives what a user of it gets, as text."""

    def prepare(self, folder: Path) -> None:
        """Save the state before."""
        ...

    def save(self, folder: Path) -> None:
        """Save the state after."""
        ...

    def read(self, folder: Path) -> str:
        """What is saved."""
        ...


def examine(case: str, folder: Path, *, stride: int = 1) -> dict[str, Any]:
    """Kill and fill in a process of its own, at each call, or each `stride`-th; see `_examine` for what it gives."""
    words = [sys.executable, "-m", __name__, case, str(folder), str(stride)]
    environment = clean_environment() | THREADS | {"TMPDIR": str(folder.parent)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _examine(case: Case, folder: Path, stride: int) -> dict[str, Any]:
    """What was read before and after, and after each kill and each full disk: call, what was read, what was left."""
    before, after = folder / "before", folder / "after"
    before.mkdir(parents=True)
    case.prepare(before)
    shutil.copytree(before, after)
    calls: list[str] = []
    code, _ = _forked(lambda: case.save(after), after, _counting(calls))
    assert code == 0, code
    return {
        "before": case.read(_copy(before, folder)),
        "after": case.read(_copy(after, folder)),
        "killed": _each(case, before, folder, _killing, stride),
        "full": _each(case, before, folder, _filling, stride),
    }


def _each(case: Case, before: Path, folder: Path, fault: Callable[[int], Fault], stride: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for n in range(1, 10_000, stride):
        tried = _copy(before, folder)
        code, said = _forked(lambda tried=tried: case.save(tried), tried, fault(n))  # type: ignore[misc]
        if code == 0:
            return found
        left = sorted(path.name for path in tried.rglob("*.unfinished"))
        found.append({"n": n, "code": code, "said": said, "left": left, "read": case.read(_copy(tried, folder))})
        case.save(tried)
        found[-1]["again"] = case.read(tried)
        shutil.rmtree(tried)
    raise AssertionError("a save that never ends")


def _copy(of: Path, folder: Path) -> Path:
    """A copy, so that reading changes nothing that is read again."""
    copy = folder / "copy"
    while copy.exists():
        copy = copy.with_name(f"{copy.name}-")
    return Path(shutil.copytree(of, copy))


def _forked(save: Callable[[], None], folder: Path, fault: Fault) -> tuple[int, str]:
    """Save in a fork whose writing calls go through `fault`; gives its exit code and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = REFUSED
        try:
            _interpose(folder, fault)
            save()
            code = 0
        except Exception as error:
            _REAL["write"](writing, f"{type(error).__name__}: {error}".encode()[:2000])
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said


_REAL: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CALLS}


def _interpose(folder: Path, fault: Fault) -> None:
    def counted(name: str) -> Callable[..., Any]:
        real = _REAL[name]

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & WRITING:
                return real(*arguments, **options)
            return fault(name, lambda *given: real(*given, **options), arguments)

        return call

    for name in CALLS:
        setattr(os, name, counted(name))
    root = os.fspath(folder)

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        written = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if written and str(arguments[0]).startswith(root):
            os._exit(PAST)

    sys.addaudithook(heard)


def _counting(calls: list[str]) -> Fault:
    def counted(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        calls.append(name)
        return real(*arguments)

    return counted


def _killing(at: int) -> Fault:
    """Die at the call of this number: odd ones before anything is done, but for half of what is written."""
    made = 0

    def killed(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        nonlocal made
        made += 1
        if made == at:
            if name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    return killed


def _filling(at: int) -> Fault:
    """From the call of this number on the disk takes nothing more, but for half of what is written then."""
    made = 0

    def full(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        nonlocal made
        made += name in TAKING
        if made < at or name not in TAKING:
            return real(*arguments)
        if name == "write" and made == at:
            return real(arguments[0], arguments[1][: max(1, len(arguments[1]) // 2)])
        named = [] if name in ("write", "fsync") else [os.fspath(arguments[0])]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *named)

    return full


if __name__ == "__main__":
    place, into, step = sys.argv[1:]
    module, _, attribute = place.partition(":")
    print(json.dumps(_examine(getattr(importlib.import_module(module), attribute)(), Path(into), int(step))))
