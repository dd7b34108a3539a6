"""The blocking face of the client is made from the asynchronous one, and the two promise the same."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from avf_client import AsyncClient, AsyncSession, Client, Session

SCRIPT = Path(__file__).parents[2] / "clients" / "generate_blocking.py"


def test_the_blocking_face_is_as_it_would_be_made() -> None:
    """Making it again changes nothing; the check that `make lint` runs says so."""
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_change_of_one_face_only_is_told(tmp_path: Path) -> None:
    """Where the two differ, the check fails and names the file."""
    script = tmp_path / "generate_blocking.py"
    script.write_text(SCRIPT.read_text())
    for face in ("asynchronous", "blocking"):
        folder = tmp_path / "avf_client" / face
        folder.mkdir(parents=True)
        for path in (SCRIPT.parent / "avf_client" / face).glob("*.py"):
            (folder / path.name).write_text(path.read_text())
    changed = tmp_path / "avf_client" / "asynchronous" / "session.py"
    changed.write_text(changed.read_text() + "\n\nasync def novelty() -> None:\n    await news()\n")
    command = [sys.executable, str(script)]
    told = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert re.search(r"blocking.session\.py", told.stderr)
    subprocess.run(command, check=True)
    assert (
        (tmp_path / "avf_client" / "blocking" / "session.py")
        .read_text()
        .endswith("def novelty() -> None:\n    news()\n")
    )


@pytest.mark.parametrize(("awaited", "blocking"), [(AsyncClient, Client), (AsyncSession, Session)])
def test_the_two_faces_promise_the_same(awaited: type, blocking: type) -> None:
    """Each public name of one is a name of the other, with the same parameters, and with a docstring."""

    def public(kind: type) -> dict[str, object]:
        return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}

    assert public(awaited).keys() == public(blocking).keys()
    for name, value in public(blocking).items():
        assert inspect.getdoc(value), name
        if callable(value):
            other = public(awaited)[name]
            assert callable(other)
            assert [*inspect.signature(value).parameters] == [*inspect.signature(other).parameters], name
