"""Folders and files that only their owner may read.

The law: a folder is private from the moment it is there, whatever the umask; one that was there before, and all that is
in it, is made so. A folder of someone else is not used: whoever owns it could change it under our hands.
"""

import os
from pathlib import Path
from typing import IO

FOLDER, FILE = 0o700, 0o600


def make(folder: Path) -> None:
    """See to it that a folder is there, and private, and those above it that are made for it. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=FOLDER, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(1, "the folder belongs to another user")
    close(folder)


def close(path: Path) -> None:
    """Make a folder and all in it, or a file, private. Links are left as they are, with what they lead to."""
    if path.is_symlink():
        return
    if path.is_dir():
        path.chmod(FOLDER)
        for each in path.iterdir():
            close(each)
    elif path.is_file():
        path.chmod(FILE)


def close_if_alone(folder: Path) -> None:
    """Make the folder around this one private, too, where it is ours and there for this one only."""
    around = folder.parent
    if around.stat().st_uid == os.getuid() and [each.name for each in around.iterdir()] == [folder.name]:
        around.chmod(FOLDER)


def appending(path: Path) -> IO[bytes]:
    """A file to append to, private where it is new."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE), "ab")
