"""Files that are written whole: a reader finds what was there before or what is new, whatever is killed, and when.

    replace_file(path, content)               one file
    replace_set(folder, {name: content})      files that belong together; read_set(folder, names) reads them so

The laws:
- A file is written beside its place and synced, and then put there in one move, which is synced too.
- Files that belong together are written to a folder beside their places, which is named `.complete` in one move: from
  then on they are what is saved. Then each is moved to its place; while one is still in that folder, it counts.
- What cannot be written (the disk is full, say) leaves all as it was, and raises OSError with the name of the file.
"""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

COMPLETE = ".complete"
"""The folder of a set that is saved, and not yet in place."""
UNFINISHED = ".unfinished"
"""The ending of what is being written."""
LEFT_BEHIND = 3600.0
"""Seconds after which what is unfinished is no longer being written: whoever wrote it was killed."""


def replace_file(path: Path, content: bytes | str) -> None:
    """Write a file, in one move. A link stays one; a device or a pipe is written to. Raises OSError."""
    with _named(path):
        path = path.resolve()
        if path.exists() and not path.is_file():
            path.write_bytes(_encoded(content))
            return
        beside = _unfinished(path.parent)
        try:
            _write(beside, content, like=path)
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        _sync(path.parent)


def replace_set(folder: Path, files: Mapping[str, bytes | str]) -> None:
    """Write files of one folder that belong together, in one move; the folder is made. Raises OSError."""
    make_folder(folder)
    with _named(folder):
        folder = folder.resolve()
        _settle(folder)
        beside = _unfinished(folder)
        try:
            beside.mkdir()
            for name, content in files.items():
                with _named(folder / name):
                    _write(beside / name, content, like=folder / name)
            _sync(beside)
            beside.rename(folder / COMPLETE)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        _sync(folder)
        _settle(folder)


def read_set(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """These files of a folder as they belong together, but for those that are missing. Raises OSError."""
    while True:
        with ExitStack() as stack:
            opened = {name: file for name in names if (file := _opened(folder, name, stack))}
            found = {name: file.read() for name, file in opened.items()}
            if all(_identity(folder, name) == _identity_of(opened.get(name)) for name in names):
                return found


def holds(folder: Path, name: str) -> bool:
    """Whether a folder has this file, be it in a set that is not yet in place."""
    return any(path.is_file() for path in _places(folder, name))


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that it is still there after the power was cut. Raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        with _named(each):
            with suppress(FileExistsError):
                each.mkdir()
            _sync(each.parent)
    if missing and not missing[0].is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(missing[0]))


def _settle(folder: Path) -> None:
    """Move a set that is saved to its place."""
    complete = folder / COMPLETE
    if complete.is_dir():
        for saved in sorted(complete.iterdir()):
            saved.replace(folder / saved.name)
        _sync(folder)
        complete.rmdir()
        _sync(folder)


def _unfinished(folder: Path) -> Path:
    """A new name in a folder; what others left behind there is removed."""
    for left in folder.glob(f".*{UNFINISHED}"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_BEHIND:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return folder / f".{secrets.token_hex(8)}{UNFINISHED}"


def _write(path: Path, content: bytes | str, *, like: Path) -> None:
    """Write a new file and sync it; its mode is that of the file `like`, where there is one."""
    left = memoryview(_encoded(content))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if like.is_file():
            path.chmod(like.stat().st_mode & 0o777)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Sync the names in a folder, where the system knows how."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _places(folder: Path, name: str) -> tuple[Path, Path]:
    """Where a file may be; the first where it is counts."""
    return folder / COMPLETE / name, folder / name


def _opened(folder: Path, name: str, stack: ExitStack) -> IO[bytes] | None:
    for path in _places(folder, name):
        with suppress(FileNotFoundError, NotADirectoryError):
            return stack.enter_context(path.open("rb"))
    return None


def _identity(folder: Path, name: str) -> tuple[int, int] | None:
    """Which file has this name now. An open file keeps its number, so that no other gets it meanwhile."""
    for path in _places(folder, name):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = path.stat()
            return found.st_dev, found.st_ino
    return None


def _identity_of(file: IO[bytes] | None) -> tuple[int, int] | None:
    if file is None:
        return None
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino


def _encoded(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the system refuses is said of this path, not of what was written beside it."""
    try:
        yield
    except OSError as error:
        given = error.filename
        if isinstance(given, str) and UNFINISHED not in given and COMPLETE not in Path(given).parts:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
