"""`import avf_core` is light, and its names are what is there, with their types."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import avf_core
from avf_core.errors import AvfError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "avf_core" / "__init__.py"


def typed() -> dict[str, str]:
    """What type checkers see: the names imported under TYPE_CHECKING, and the modules they come from."""
    tree = ast.parse(SOURCE.read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_every_public_name_is_there_with_the_type_that_checkers_see() -> None:
    """`__all__`, what is imported for types, and what is handed on are one list."""
    assert sorted(typed()) == sorted(avf_core.__all__) == avf_core.__all__
    for name, module in typed().items():
        value = getattr(avf_core, name)
        assert inspect.getdoc(value), name
        if not inspect.ismodule(value):
            assert value.__module__ == module
            assert getattr(sys.modules[module], name) is value
    assert set(avf_core.__all__) <= set(dir(avf_core))


def test_importing_the_package_is_light() -> None:
    """Neither torch nor numpy is imported before a name is asked for."""
    code = "import sys, avf_core; print([name for name in ('torch', 'numpy', 'safetensors') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_not_there_is_told() -> None:
    """With the names there are."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'; it has Belief"):
        _ = avf_core.nonsense  # type: ignore[attr-defined]


def test_docs_list_the_face() -> None:
    """The table at the top of docs/api.md has every name, and none that is not there."""
    page = (ROOT / "docs" / "api.md").read_text().partition("## The map")[0]
    assert sorted(re.findall(r"`avf_core\.(\w+)`", page)) == avf_core.__all__


def test_a_filter_is_trained_used_and_judged_by_public_names(tmp_path: Path) -> None:
    """From settings to forecasts: training lowers the free energy, and the run goes on from its folder."""
    generator = np.random.default_rng(0)
    walks = [generator.normal(size=(12, 2)).cumsum(0).astype(np.float32) for _ in range(12)]
    settings = {
        "model": {"kind": "lgssm", "observation_size": 2, "latent_size": 2},
        "inference": {"kind": "iterative", "units": 16, "inputs": "whitened", "samples": 2, "antithetic": True},
    }
    schedule = avf_core.TrainingConfig(epochs=6, clip_length=6, batch_size=4, theta_rate=3e-2, phi_rate=1e-2)
    trained = avf_core.fit(settings, walks[:8], walks[8:], folder=tmp_path / "run", schedule=schedule)
    again = avf_core.fit(settings, walks[:8], walks[8:], folder=tmp_path / "run", schedule=schedule)
    assert again.digest == trained.digest == avf_core.load(tmp_path / "run").digest
    torch.manual_seed(0)
    before = avf_core.evaluate(avf_core.build(settings).eval(), walks[8:])
    after = avf_core.evaluate(trained.filter, walks[8:])
    assert after.free_energy_pooled < before.free_energy_pooled
    assert avf_core.bound(trained.filter, walks[8:], kind="fivo", particles=8).pooled < after.free_energy_pooled + 0.5
    belief, _ = trained.filter.scan(trained.filter.initial(torch.arange(4)), torch.from_numpy(np.stack(walks[8:], 1)))
    assert avf_core.forecast(trained.filter, belief, horizon=3, paths=5).mean.shape == (3, 4, 2)
    with pytest.raises(AvfError, match="kind 'nothing'"):
        avf_core.build({**settings, "model": {"kind": "nothing"}})
