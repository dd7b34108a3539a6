"""The short form: some thousand messages, and a server that is none the worse for them."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import campaign
from tests.fuzz.__main__ import ENVIRONMENT
from tests.fuzz.mutation import distort, spoil
from tests.support import models
from tests.support.servers import Server

pytestmark = pytest.mark.slow


def test_the_same_seed_gives_the_same_messages() -> None:
    """So that whatever is found can be found again."""
    first, second = ([spoil(r, b'{"a": [1, 2]}') for _ in range(100)] for r in (Random(3), Random(3)))
    assert first == second
    assert len(set(first)) > 50
    value = {"a": [1, {"b": 2}], "c": "d"}
    assert [distort(Random(i), value) for i in range(50)] == [distort(Random(i), value) for i in range(50)]
    assert value == {"a": [1, {"b": 2}], "c": "d"}


def test_whatever_comes_the_server_goes_on(start: Callable[..., Server], tmp_path: Path) -> None:
    """No 5xx, no fault in its log, bounded memory, a bystander who notices nothing; and it stops as it should."""
    served = start(models.save(tmp_path / "tiny", models.TINY, name="tiny"), **ENVIRONMENT)
    report = campaign.run(served.url, pid=served.pid, count=1_000, seed=0)
    assert {200, 201, 400, 404, 405, 422} <= set(report.requests)
    assert {0, 1000, 1003, 1007} <= set(report.streams)
    assert report.bystander_steps > 10
    assert report.bystander_difference < 1e-4
    assert report.memory_after - report.memory_before < 64 << 20
    assert served.stop() == 0
    log = served.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log
