"""docs/howto/add_a_model.md is true: its model, put where the page says, keeps the contract of every model."""

import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avf_core import models
from avf_core.plugins import kinds
from tests.support import dropped

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add_a_model.md"
SKELETON, USE, OUTSIDE = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


def names_of(block: str) -> dict[str, Any]:
    """What a block defines."""
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.fixture(scope="module")
def gru(tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    """The skeleton as avf_core/models/gru.py: in a folder that is part of the package while these tests run."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "gru.py").write_text(SKELETON)
    models.__path__.append(str(folder))
    try:
        yield importlib.import_module("avf_core.models.gru")
    finally:
        models.__path__.remove(str(folder))
        sys.modules.pop("avf_core.models.gru", None)
        vars(models).pop("gru", None)


@pytest.mark.long
def test_the_suites_test_it_unasked_and_it_keeps_the_contract(tmp_path: Path) -> None:
    """Every test of the conformance suite has run on it, with every procedure that takes it, and none has failed."""
    suites = ["tests/core/test_conformance.py", "tests/core/test_plugins.py"]
    found = dropped.outcomes(tmp_path, {"avf_core.models": {"gru": SKELETON}}, suites=suites, named="gru")
    assert set(found.values()) == {"passed"}, found
    tests = {name.partition("[")[0] for name in found}
    assert len(tests) >= 14
    assert {name.split("+")[1].partition(".")[0] for name in found if "+" in name} >= {"iterative", "gradient"}


def test_the_file_is_found_and_used_by_name(gru: types.ModuleType) -> None:
    """As the page does it; nothing but the file makes it known."""
    assert "gru" in kinds(models)
    names = names_of(USE)
    assert names["estimate"].free_energy.shape == (3,)
    assert int(names["belief"].step[0]) == 1


def test_the_model_as_a_file_of_the_users_own(
    gru: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named by its place it trains, is saved and loaded, evaluates far better than before, and forecasts."""
    monkeypatch.setitem(sys.modules, "my_project", types.ModuleType("my_project"))
    monkeypatch.setitem(sys.modules, "my_project.gru", gru)
    monkeypatch.chdir(tmp_path)
    names = names_of(OUTSIDE)
    assert names["after"] < names["before"] - 0.5
    assert names["ahead"].mean.shape == (5, 8, 2)
    assert "nats per step before" in capsys.readouterr().out
