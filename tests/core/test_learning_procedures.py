"""Training asks a procedure how it learns, and never which procedure it is."""

import ast
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import avf_core.training
from avf_core import configuration, inference
from avf_core.errors import ConfigurationError, TrainingError
from avf_core.inference import base, direct, exact, gradient, iterative, kalman
from avf_core.plugins import kinds
from tests.support.training import make_run, never, trainer_of

from .pairs import PAIRS, make

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

PlugIn = Callable[[str, str], str]


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlugIn]:
    """Puts a file among the inference procedures while the test runs, under a name of its own; gives the name."""
    folder = tmp_path / "procedures"
    folder.mkdir()
    monkeypatch.setattr(inference, "__path__", [*inference.__path__, str(folder)])
    added = []

    def put(name: str, source: str) -> str:
        (folder / f"{name}.py").write_text(source)
        added.append(name)
        return name

    yield put
    for name in added:
        sys.modules.pop(f"avf_core.inference.{name}", None)
        vars(inference).pop(name, None)


def weights_of(folder: Path, settings: dict[str, Any], **changes: Any) -> dict[str, torch.Tensor]:
    """What a short training makes of a filter."""
    run = make_run(folder, epochs=2, **changes)
    run = type(run)(**{**vars(run), "settings": settings})
    trainer = trainer_of(run)
    start = {name: tensor.clone() for name, tensor in trainer.filter.inference.state_dict().items()}
    trainer.train(stop=never)
    end = trainer.filter.inference.state_dict()
    assert all(not torch.equal(start[name], end[name]) for name in start), "phi has not learned"
    shutil.rmtree(folder)
    return dict(trainer.filter.state_dict())


@pytest.mark.parametrize("phi_steps", ["online", "clip"])
@pytest.mark.parametrize("pair", ["srnn-whitened", "srnn-appended", "srnn-keep_best", "srnn-direct", "vrnn-recurrent"])
def test_a_copy_under_another_name_trains_as_the_original(
    tmp_path: Path, plug_in: PlugIn, pair: str, phi_steps: str
) -> None:
    """Weight by weight, bit for bit: what a procedure is called makes no difference."""
    settings = PAIRS[pair]
    kind = settings["inference"]["kind"]
    source = Path(str({"direct": direct, "iterative": iterative}[kind].__file__)).read_text()
    name = plug_in(f"copied_{kind}", source)
    assert name in kinds(inference)
    copied = {**settings, "inference": {**settings["inference"], "kind": name}}
    assert type(configuration.build(copied).inference).__module__ == f"avf_core.inference.{name}"
    original = weights_of(tmp_path / "original", settings, phi_steps=phi_steps)
    copy = weights_of(tmp_path / "copy", copied, phi_steps=phi_steps)
    assert original.keys() == copy.keys()
    for key, tensor in original.items():
        assert torch.equal(tensor, copy[key]), key


WITHOUT_A_WAY = '''
"""A procedure with a network, and no word on how it learns."""

from dataclasses import dataclass

from torch import nn

from avf_core.distributions import Gaussian
from avf_core.inference import base


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing to configure."""


class Inference(base.Inference):
    """Shifts the prior's mean."""

    def __init__(self, config, model):
        super().__init__()
        self.shift = nn.Linear(model.latent_size, model.latent_size)

    def infer(self, objective, state, *, effort=base.CONFIGURED):
        prior = objective.prior
        return base.Inferred(
            posterior=Gaussian(self.shift(prior.mean), prior.log_variance),
            state=state,
            free_energies=prior.mean.new_zeros(len(prior.mean), 0),
            iterations=objective.step.new_zeros(len(prior.mean)),
        )
'''


def run_with(tmp_path: Path, kind: str, **changes: Any) -> Any:
    """A training run of an SRNN with this procedure."""
    settings = {"model": PAIRS["srnn-direct"]["model"], "inference": {"kind": kind}}
    run = make_run(tmp_path / "run", epochs=1, **changes)
    return type(run)(**{**vars(run), "settings": settings})


def test_parameters_that_nothing_trains_are_refused_by_name(tmp_path: Path, plug_in: PlugIn) -> None:
    """Before the first update: the error names the procedure and its parameters, and says what to do."""
    name = plug_in("silent", WITHOUT_A_WAY)
    words = rf"avf_core\.inference\.{name} has parameters \(shift\.weight, shift\.bias\).*'in the E-step'.*'with theta'"
    with pytest.raises(ConfigurationError, match=words):
        trainer_of(run_with(tmp_path, name))


def test_one_line_lets_such_a_procedure_learn(tmp_path: Path, plug_in: PlugIn) -> None:
    """Told that it learns with theta, its parameters do, through the posteriors that it gives."""
    said = WITHOUT_A_WAY.replace('mean."""\n', 'mean."""\n\n    learns = "with theta"\n')
    trainer = trainer_of(run_with(tmp_path, plug_in("willing", said)))
    before = trainer.filter.inference.get_parameter("shift.weight").detach().clone()
    trainer.train(stop=never)
    assert trainer.progress.updates > 0
    assert not torch.equal(before, trainer.filter.inference.get_parameter("shift.weight"))


def test_frozen_parameters_need_no_way_to_learn(tmp_path: Path, plug_in: PlugIn) -> None:
    """They are not to be trained, and stay as they are while theta learns."""
    frozen = WITHOUT_A_WAY.replace("latent_size)\n", "latent_size).requires_grad_(False)\n")
    trainer = trainer_of(run_with(tmp_path, plug_in("frozen", frozen)))
    before = {name: tensor.clone() for name, tensor in trainer.filter.state_dict().items()}
    trainer.train(stop=never)
    changed = {name for name, tensor in trainer.filter.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("model.") for name in changed)


@pytest.mark.parametrize(
    ("pair", "learns", "changes"),
    [
        ("srnn-direct", "'with theta'", {}),
        ("srnn-gated", "'in the E-step'", {"phi_steps": "online"}),
        ("srnn-gated", "'in the E-step'", {"phi_steps": "clip"}),
    ],
)
def test_a_parameter_without_a_gradient_is_refused_by_name(
    tmp_path: Path, pair: str, learns: str, changes: dict[str, Any]
) -> None:
    """A procedure that learns, but for one layer that its posteriors make no use of, says which."""
    run = make_run(tmp_path, pair, epochs=1, **changes)
    trainer = trainer_of(run)
    trainer.filter.inference.idle = nn.Linear(2, 2)
    with pytest.raises(TrainingError, match=rf"{learns}.*idle\.weight, idle\.bias no gradient"):
        trainer.train(stop=never)


def test_a_study_that_learns_nothing_is_refused(tmp_path: Path, plug_in: PlugIn) -> None:
    """To say that it learns in the E-step is not enough: its study has to."""
    said = WITHOUT_A_WAY.replace('mean."""\n', 'mean."""\n\n    learns = "in the E-step"\n')
    trainer = trainer_of(run_with(tmp_path, plug_in("idle", said)))
    with pytest.raises(TrainingError, match=r"avf_core\.inference\.idle learns 'in the E-step'.*shift\.weight"):
        trainer.train(stop=never)


def test_a_procedure_says_how_often_it_updates_a_posterior() -> None:
    """The configured number, or none where it does not iterate: what filtering spends where it is told nothing."""
    configured = {"iterative": 1, "direct": 0, "exact": 0, "kalman": 0, "forward": 0, "deterministic": 0}
    for name, pair in PAIRS.items():
        settings = pair["inference"]
        told = settings["iterations"] if "iterations" in settings else configured[settings["kind"]]
        assert make(name).inference.iterations == told


def test_each_shipped_procedure_says_how_it_learns() -> None:
    """Those without parameters nothing; an update model in the E-step; a recognition network, and what is exact of
    theta, with theta.
    """
    assert gradient.Inference.learns == exact.Inference.learns == base.Inference.learns == "nothing"
    assert iterative.Inference.learns == "in the E-step"
    assert direct.Inference.learns == kalman.Inference.learns == "with theta"


def test_training_knows_no_procedure_by_name() -> None:
    """No module of training imports one: what it has to know, procedures say."""
    folder = Path(avf_core.training.__path__[0])
    procedures = set(kinds(inference))
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("avf_core.inference"):
                named = {*node.module.split("."), *(alias.name for alias in node.names)}
                assert not named & procedures, path.name
