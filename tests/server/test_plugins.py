"""A server serves a model of another package where that is named; where it is not, one line says what it wants."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from avf_server.problems import StartError
from avf_server.runtime import _models
from avf_server.settings import Settings, read

from avf_core import checkpoints, configuration, plugins

SETTINGS = {"model": {"kind": "servedpack.model:Model"}, "inference": {"kind": "gradient", "iterations": 2}}


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkpoint whose model is in a package that nobody has imported."""
    package = tmp_path / "path" / "servedpack"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(
        "from avf_core.models import lgssm\nConfig = lgssm.Config\n\n\nclass Model(lgssm.Model):\n    pass\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delenv(plugins.VARIABLE, raising=False)
    checkpoints.save(tmp_path / "x", filter=configuration.build(SETTINGS), settings=SETTINGS, card={"data": {}})
    forget()
    yield tmp_path / "x"
    forget()


def forget() -> None:
    """Let the package not be imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "servedpack"]:
        del sys.modules[name]


def test_a_server_imports_what_its_settings_name(saved: Path) -> None:
    """By AVF_PLUGINS, or `--plugin`; without it the start is refused, and says which module is wanted."""
    with pytest.raises(StartError, match=r"names the module servedpack\.model, which is not imported"):
        _models(Settings(models=(str(saved),)))
    assert "servedpack.model" not in sys.modules
    settings = read({"models": (str(saved),)}, environment={})
    assert settings.plugins == ()
    named: dict[str, Any] = {"models": (str(saved),), "plugins": "servedpack.model"}
    assert len(_models(read(named, environment={}))) == 1


def test_a_plug_in_that_is_not_there_is_told_at_the_start(saved: Path) -> None:
    """In one line, with what to do."""
    with pytest.raises(StartError, match=r"needs the module servedpack\.none, which is not there: install"):
        _models(Settings(models=(str(saved),), plugins=("servedpack.none",)))
