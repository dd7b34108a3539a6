"""Programs that tests need and a fresh machine may lack: found on PATH, else installed by apt where one may."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PATIENCE = 130  # seconds for each call of apt-get


def program(names: Sequence[str], *, package: str) -> str | None:
    """The path of the first of these programs; `package` is installed first where there is none. None: not to be had.

    One process installs at a time.
    """
    found = _on_path(names)
    if found is not None:
        return found
    with (Path(tempfile.gettempdir()) / "avf-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _on_path(names) is None:
            _install(package)
        return _on_path(names)


def _on_path(names: Sequence[str]) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)


def _install(package: str) -> None:
    apt, sudo = shutil.which("apt-get"), shutil.which("sudo")
    if apt is None or (os.geteuid() != 0 and sudo is None):
        return
    asked = [] if os.geteuid() == 0 else [str(sudo), "-n"]
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([*asked, apt, "-q", *command], env=quiet, capture_output=True, check=False, timeout=PATIENCE)
