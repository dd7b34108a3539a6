"""docs/howto/add_a_model.md is true: its model, put where the page says, keeps the contract of every model."""

import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from avf_core import models
from avf_core.configuration import build
from avf_core.filtering import Filter
from avf_core.plugins import kinds

from . import test_conformance

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add_a_model.md"
SKELETON, PAIRS, USE, OUTSIDE = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)

globals().update({name: test for name, test in vars(test_conformance).items() if name.startswith("test_")})


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


@pytest.fixture(params=sorted(names_of(PAIRS)["PAIRS"]))
def pair(request: pytest.FixtureRequest, gru: types.ModuleType) -> Iterator[Filter]:
    """The page's pairs, for the tests of the conformance suite that this module takes over."""
    torch.manual_seed(7)
    filter = build(names_of(PAIRS)["PAIRS"][request.param]).eval().requires_grad_(False)
    assert isinstance(filter.model, gru.Model)
    with torch.no_grad():
        yield filter


def test_the_suite_is_the_whole_of_it() -> None:
    """Every test of the conformance suite is one of this module's."""
    wanted = {name for name in vars(test_conformance) if name.startswith("test_")}
    assert len(wanted) >= 12
    assert wanted <= set(globals())


def test_the_file_is_found_and_used_by_name(gru: types.ModuleType) -> None:
    """As the page does it; nothing but the file makes it known."""
    assert "gru" in kinds(models)
    names = names_of(USE)
    assert names["estimate"].free_energy.shape == (3,)
    assert int(names["belief"].step[0]) == 1


def test_the_model_as_a_file_of_the_users_own(
    gru: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Composed by hand it trains, is saved and loaded, evaluates far better than before, and forecasts."""
    package = types.ModuleType("my_project")
    package.gru = gru  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_project", package)
    monkeypatch.chdir(tmp_path)
    names = names_of(OUTSIDE)
    assert names["after"] < names["before"] - 0.5
    assert names["ahead"].mean.shape == (5, 8, 2)
    assert "nats per step before" in capsys.readouterr().out
