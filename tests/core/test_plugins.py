"""Plug-ins of folders say by example how they are tested; those of other packages are found by name or by place."""

import dataclasses
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from avf_client.commands.cli import run

from avf_core import checkpoints, data, inference, models
from avf_core.configuration import build
from avf_core.errors import CheckpointError, ConfigurationError, DataError, PluginError
from avf_core.plugins import available, kinds, plugin

from .pairs import LISTED, examples, make

MODEL = '''
"""A model of another package: the linear Gaussian one, and its settings by another name."""
from dataclasses import dataclass
from avf_core.models import lgssm


@dataclass(frozen=True, kw_only=True)
class Config:
    size: int = 2


class Model(lgssm.Model):
    def __init__(self, config):
        super().__init__(lgssm.Config(observation_size=config.size, latent_size=2))


class Wide(Model):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        size: int = 5


class NoModel:
    pass
'''
PROCEDURE = '''
"""Inference that believes the prior."""
from dataclasses import dataclass
import torch
from avf_core.inference import base


@dataclass(frozen=True, kw_only=True)
class Config:
    pass


class Inference(base.Inference):
    def __init__(self, config, model):
        super().__init__()

    def infer(self, objective, state, *, effort=base.CONFIGURED):
        nothing = objective.x.new_zeros(objective.x.shape[0], 0)
        return base.Inferred(
            posterior=objective.prior, state=state, free_energies=nothing, iterations=torch.zeros_like(objective.step)
        )
'''
DATA = '''
"""Lines of numbers, as text."""
from dataclasses import dataclass
from functools import partial
import numpy as np
from avf_core.data.base import DataSet, Split

GENERAL = False
MODALITY = "series"


@dataclass(frozen=True, kw_only=True)
class Options:
    skip: int = 0


EXAMPLES = {"all": Options()}


def recognises(path):
    return path.suffix == ".lines"


def survey(path, options):
    rows = np.loadtxt(path, ndmin=2, skiprows=options.skip).astype(np.float32)
    return DataSet(splits={"train": Split(sequences=1, read=lambda: [rows])}, observation_size=rows.shape[1])


def write_example(folder, generator):
    np.savetxt(folder / "example.lines", generator.normal(size=(5, 2)))
    return folder / "example.lines"
'''
ENTRIES = """[avf.models]
elsewhere = otherpack.model
wide = otherpack.model:Wide
lost = otherpack.lost
lgssm = otherpack.lost

[avf.inference]
prior = otherpack.procedure

[avf.data]
lines = otherpack.data
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path with the package `otherpack`, which is not installed."""
    folder = tmp_path / "path"
    (folder / "otherpack").mkdir(parents=True)
    sources = {"__init__": "", "model": MODEL, "procedure": PROCEDURE, "data": DATA, "broken": "1 / 0"}
    for name, source in sources.items():
        (folder / "otherpack" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("AVF_PLUGINS", raising=False)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "otherpack"]:
        del sys.modules[name]


@pytest.fixture
def installed(package: Path) -> Path:
    """The same with the metadata of a distribution that has entry points."""
    metadata = package / "otherpack-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: otherpack\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    return package


PLACED: dict[str, dict[str, object]] = {
    "model": {"kind": "otherpack.model", "size": 3},
    "inference": {"kind": "otherpack.procedure:Inference"},
}
NAMED = {"model": {"kind": "elsewhere", "size": 3}, "inference": {"kind": "prior"}}


def save(folder: Path, settings: dict[str, dict[str, object]]) -> None:
    """A checkpoint of these settings, by a process that forgets the modules it needed."""
    checkpoints.save(folder, filter=build(settings), settings=settings, card={"name": "x"})
    for name in [name for name in sys.modules if name.partition(".")[0] == "otherpack"]:
        del sys.modules[name]


# --- examples


@pytest.mark.parametrize(
    ("folder", "kind"),
    [(folder, kind) for folder in (models, inference) for kind in kinds(folder)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_plug_in_has_examples_and_each_is_met(folder: types.ModuleType, kind: str) -> None:
    """They are of its frozen, keyword-only `Config`, whose fields have defaults; the suites take each."""
    found = plugin(folder, kind)
    assert found.EXAMPLES
    assert found.Config()
    assert found.Config.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(found.Config))
    assert all(type(example) is found.Config for example in found.EXAMPLES.values())
    met = {part for pair in LISTED for part in pair.split("+")}
    assert not set(examples(folder, kind)) - met


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_checkpoint_of_every_pair_is_loaded_again(name: str, tmp_path: Path) -> None:
    """Settings go through JSON and weights through safetensors: the same filter."""
    filter = make(name)
    checkpoints.save(tmp_path / "saved", filter=filter, settings=LISTED[name], card={})
    again = checkpoints.load(tmp_path / "saved").filter.state_dict()
    for key, tensor in filter.state_dict().items():
        torch.testing.assert_close(again[key], tensor, rtol=0, atol=0)


# --- plug-ins of other packages


@pytest.mark.usefixtures("package")
def test_a_plug_in_is_found_where_it_is() -> None:
    """As a module, or as a class with settings of its own; neither is a name that is listed."""
    filter = build(PLACED).requires_grad_(False)
    _, estimate = filter.step(filter.initial(torch.arange(2)), torch.zeros(2, 3))
    assert float(estimate.kl.abs().max()) == 0.0
    assert build({**PLACED, "model": {"kind": "otherpack.model:Wide"}}).model.observation.size == 5
    assert "elsewhere" not in available(models)


@pytest.mark.usefixtures("installed")
def test_a_plug_in_is_found_by_its_entry_point() -> None:
    """Listed after those of the folder, which come first where names are the same."""
    assert available(models) == [*kinds(models), "elsewhere", "lost", "wide"]
    assert build(NAMED).model.observation.size == 3
    assert build({**NAMED, "model": {"kind": "wide"}}).model.observation.size == 5
    assert build({**NAMED, "model": {"kind": "lgssm"}}).model.observation.size == 2


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("otherpack.nothing", r"'otherpack\.nothing' needs the module otherpack\.nothing, which is not there"),
        ("nopack.model:Model", r"needs the module nopack, which is not there: install"),
        ("lost", r"'otherpack\.lost' needs the module otherpack\.lost"),
        ("otherpack.broken", r"cannot be imported: ZeroDivisionError"),
        ("otherpack.model:Lost", r"otherpack\.model has no Lost"),
        ("otherpack.model:NoModel", r"is no plug-in of avf_core\.models: expected a class derived from"),
        ("os:system", r"is no plug-in of avf_core\.models"),
        ("otherpack.data", r"is no plug-in of avf_core\.models"),
    ],
)
def test_what_is_missing_or_no_plug_in_is_named(kind: str, message: str) -> None:
    """One error of the library's, which says what to do."""
    with pytest.raises(PluginError, match=message):
        build({**PLACED, "model": {"kind": kind}})


@pytest.mark.usefixtures("package")
def test_an_unknown_name_lists_the_names_and_imports_nothing() -> None:
    """`otherpack` is a module that is there, and yet no name of a model."""
    listed = ", ".join(available(models))
    with pytest.raises(ConfigurationError, match=f"kind 'otherpack'; there are {listed}, and those of"):
        build({**PLACED, "model": {"kind": "otherpack"}})
    assert "otherpack" not in sys.modules


def test_two_distributions_with_one_name_are_refused(installed: Path) -> None:
    """Which of them is meant would hang on the order of sys.path."""
    other = installed / "third-2.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: third\nVersion: 2.0\n")
    (other / "entry_points.txt").write_text("[avf.models]\nelsewhere = third.model\n")
    with pytest.raises(PluginError, match=r"otherpack\.model and third\.model are both installed as 'elsewhere'"):
        build(NAMED)


# --- checkpoints of them


@pytest.mark.usefixtures("installed")
def test_a_checkpoint_by_entry_point_is_loaded_again(tmp_path: Path) -> None:
    """Whoever installed the distribution has named it."""
    save(tmp_path / "saved", NAMED)
    assert checkpoints.load(tmp_path / "saved").filter.model.observation.size == 3


@pytest.mark.usefixtures("package")
def test_a_checkpoint_imports_nothing_that_nobody_has_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which module it wants, and is loaded once that is imported, or is in AVF_PLUGINS."""
    save(tmp_path / "saved", PLACED)
    with pytest.raises(PluginError, match=r"names the module otherpack\.model, .* `--plugin otherpack\.model"):
        checkpoints.load(tmp_path / "saved")
    assert "otherpack.model" not in sys.modules
    monkeypatch.setenv("AVF_PLUGINS", "otherpack.model,otherpack.procedure")
    assert checkpoints.load(tmp_path / "saved").filter.model.observation.size == 3
    monkeypatch.delenv("AVF_PLUGINS")
    assert checkpoints.load(tmp_path / "saved").filter.model.observation.size == 3


@pytest.mark.usefixtures("package")
def test_a_checkpoint_that_names_no_model_is_no_way_to_call_things(tmp_path: Path) -> None:
    """What is imported anyway, `os.system` say, is no model, and is not called."""
    save(tmp_path / "saved", PLACED)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    for kind in ("os:system", "subprocess:Popen", "builtins:exec", "avf_core.models.base:Model"):
        (tmp_path / "saved" / "config.json").write_text(json.dumps({**config, "model": {"kind": kind}}))
        with pytest.raises((PluginError, CheckpointError)):
            checkpoints.load(tmp_path / "saved")


# --- data sets of them


@pytest.mark.usefixtures("installed")
def test_a_kind_of_data_is_recognised_by_its_entry_point(tmp_path: Path) -> None:
    """As those of the folder are; and it may be named by its place, with its options."""
    (tmp_path / "x.lines").write_text("1 2\n3 4\n")
    assert data.describe(tmp_path / "x.lines").kind == "lines"
    (rows,) = data.load(tmp_path / "x.lines", "train", kind="otherpack.data", options={"skip": 1})
    np.testing.assert_array_equal(rows, [[3.0, 4.0]])
    with pytest.raises(PluginError, match=r"otherpack\.model is no kind of data set"):
        data.load(tmp_path / "x.lines", "train", kind="otherpack.model")


@pytest.mark.usefixtures("package")
def test_a_card_imports_no_kind_of_data(tmp_path: Path) -> None:
    """What nobody has named is not asked whether the path is its; what is imported is."""
    (tmp_path / "x.lines").write_text("1 2\n3 4\n")
    card = {"kind": "otherpack.data", "options": {"skip": 1}}
    source = data.Source(path=tmp_path / "x.lines")
    with pytest.raises(DataError, match="no kind that is known"):
        source.like(card).load("train")
    assert "otherpack.data" not in sys.modules
    assert plugin(data, "otherpack.data")
    assert len(source.like(card).load("train")[0]) == 1


# --- commands


@pytest.mark.usefixtures("package")
def test_commands_take_a_plug_in_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`avf evaluate --plugin MODULE` loads what is refused without it, in one line."""
    save(tmp_path / "saved", {**PLACED, "model": {"kind": "otherpack.model:Wide"}})
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 5)))
    words = ["evaluate", "--model", str(tmp_path / "saved"), "--data", str(tmp_path / "x.npy"), "--json"]
    assert run(words) == 1
    assert "--plugin otherpack.model" in capsys.readouterr().err
    named = ["--plugin", "otherpack.model", "--plugin", "otherpack.procedure"]
    assert run([*words, *named]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4
    assert run([*words, "--plugin", "otherpack.none"]) == 1
    assert "otherpack.none, which is not there" in capsys.readouterr().err
