"""State on disk: whatever is killed and whenever the disk is full, what was saved is there, whole."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.killing import REFUSED, examine

pytestmark = pytest.mark.slow

QUICK = ("Files", "Record", "Checkpoint", "FirstCheckpoint")
LONG = ("Training", "Published")


@pytest.mark.parametrize(
    ("case", "stride"),
    [
        *((case, 1) for case in QUICK),
        *((case, 31) for case in LONG),
        *(pytest.param(case, 1, marks=pytest.mark.long) for case in LONG),
    ],
)
def test_a_save_that_is_killed_leaves_the_state_before_or_after(case: str, stride: int, tmp_path: Path) -> None:
    """At each system call that writes: never an error nor a mixture, and the next save finds nothing in its way."""
    found = examine(f"tests.core.saves:{case}", tmp_path / "state", stride=stride)
    assert found["before"] != found["after"] or case == "Training"  # which ends as if it had not been killed
    for each in found["killed"]:
        assert each["code"] == -signal.SIGKILL, each
        assert each["read"] in (found["before"], found["after"]), each
        assert each["again"] == found["after"], each
    read = [each["read"] for each in found["killed"]]
    assert sorted(read, key=[found["before"], found["after"]].index) == read
    _full(found)


def _full(found: dict[str, Any]) -> None:
    """On a full disk: one error of the system that names a file of the user's, the state whole, nothing left behind."""
    assert found["full"]
    for each in found["full"]:
        assert each["code"] == REFUSED, each
        assert "No space left on device" in each["said"], each
        assert "unfinished" not in each["said"], each
        assert str(each["left"]) == "[]", each
        assert each["read"] in (found["before"], found["after"]), each
        assert each["again"] == found["after"], each
