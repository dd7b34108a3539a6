"""Training: it learns, it can be interrupted and resumed to the bit, and it survives what data brings."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avf_core import checkpoints, configuration
from avf_core.analysis.evaluation import evaluate
from avf_core.errors import CheckpointError, ConfigurationError, TrainingError
from avf_core.inference.base import Weigh
from avf_core.training import em, presets
from avf_core.training.clips import clip_batch, transposed
from avf_core.training.config import Preset, TrainingConfig
from avf_core.training.em import Clip
from avf_core.training.trainer import Run
from tests.support.training import make_run, melodies, never, trainer_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

LARGE = ("paper-vrnn-speech", "paper-srnn-speech", "paper-actions")  # at the size of the papers


@pytest.mark.parametrize(
    ("pair", "phi_steps"),
    [
        ("srnn-gated", "online"),
        pytest.param("srnn-whitened", "clip", marks=pytest.mark.long),
        ("srnn-direct", "online"),
        pytest.param("srnn-gated", "clip", marks=pytest.mark.long),
        pytest.param("srnn-whitened", "online", marks=pytest.mark.long),
        pytest.param("srnn-direct", "clip", marks=pytest.mark.long),
    ],
)
def test_training_lowers_the_free_energy(tmp_path: Path, pair: str, phi_steps: str) -> None:
    """On sequences with a rule, well below the fair coin's and the independent keys' energy."""
    run = make_run(tmp_path, pair, epochs=30, validate_every=30, phi_steps=phi_steps)
    trainer = trainer_of(run)
    before = evaluate(trainer.filter.eval(), run.valid).free_energy_pooled
    trainer.train(stop=never)
    after = evaluate(checkpoints.load(tmp_path).filter, run.valid).free_energy_pooled
    independent_keys = -(math.log(1 / 6) + 5 * math.log(5 / 6))
    assert after < before
    assert after < independent_keys


@pytest.mark.parametrize("inference", [{"kind": "exact"}, {"kind": "kalman"}, {"kind": "gradient", "iterations": 3}])
def test_models_train_with_procedures_that_have_nothing_to_learn(tmp_path: Path, inference: dict[str, Any]) -> None:
    """Variational EM without amortisation, or maximum likelihood: theta learns from posteriors of no network."""
    data = [np.cumsum(np.random.default_rng(i).normal(size=(12, 3)), axis=0) for i in range(20)]
    settings = {"model": {"kind": "lgssm", "observation_size": 3, "latent_size": 2}, "inference": inference}
    run = dataclasses.replace(make_run(tmp_path, epochs=30, validate_every=30, theta_rate=3e-2), settings=settings)
    trainer = trainer_of(dataclasses.replace(run, train=data, valid=data))
    before = evaluate(trainer.filter.eval(), data).free_energy_pooled
    progress = trainer.train(stop=never)
    assert progress.best is not None
    assert progress.best < before - 0.5


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """Stopped in the middle of an epoch and resumed by a fresh trainer: the same weights, bit for bit."""
    pair, changes = "srnn-gated", {"weight_decay": 0.01, "kl_anneal_epochs": 2}
    whole = trainer_of(make_run(tmp_path / "whole", pair, **changes))
    whole.train(stop=never)
    calls = iter(range(1000))
    first = trainer_of(make_run(tmp_path / "parts", pair, **changes))
    first.train(stop=lambda: next(calls) >= 4)
    assert (first.progress.epoch, first.progress.position) == (1, 1)
    second = trainer_of(make_run(tmp_path / "parts", pair, **changes))
    assert second.resume()
    second.train(stop=never)
    for name, tensor in whole.learner.average.state_dict().items():
        assert torch.equal(tensor, second.learner.average.state_dict()[name]), name
    whole_history = [record["valid"] for record in whole.progress.history]
    assert whole_history == [record["valid"] for record in second.progress.history]


def test_a_finished_run_goes_on_with_more_epochs(tmp_path: Path) -> None:
    """Raising the number of epochs, and nothing else, continues the run as if it had been told so at first."""
    trainer_of(make_run(tmp_path / "parts", epochs=2)).train(stop=never)
    longer = trainer_of(make_run(tmp_path / "parts", epochs=4))
    assert longer.resume()
    longer.train(stop=never)
    whole = trainer_of(make_run(tmp_path / "whole", epochs=4))
    whole.train(stop=never)
    for name, tensor in whole.filter.state_dict().items():
        assert torch.equal(tensor, longer.filter.state_dict()[name]), name


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """The error names what differs."""
    trainer_of(make_run(tmp_path, epochs=1)).train(stop=never)
    other = trainer_of(make_run(tmp_path, epochs=1, theta_rate=1e-3))
    with pytest.raises(CheckpointError, match="another training"):
        other.resume()


def test_a_damaged_run_is_refused(tmp_path: Path) -> None:
    """A truncated state is named, not read."""
    trainer_of(make_run(tmp_path, epochs=2)).train(stop=never)
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="damaged"):
        trainer_of(make_run(tmp_path, epochs=2)).resume()


def test_non_finite_gradients_are_skipped_and_counted(tmp_path: Path) -> None:
    """One bad update leaves the weights as they were; nothing but bad updates is an error."""
    trainer = trainer_of(make_run(tmp_path, "srnn-direct", epochs=1))
    clip = clip_batch(trainer.run.train, trainer.run.config, 0, 0)
    before = {k: v.clone() for k, v in trainer.filter.state_dict().items()}
    hook = next(trainer.filter.parameters()).register_hook(lambda g: g * float("nan"))
    trainer.update(clip)
    assert (trainer.progress.skipped, trainer.progress.updates) == (1, 0)
    assert all(torch.equal(before[k], v) for k, v in trainer.filter.state_dict().items())
    for _ in range(98):
        trainer.update(clip)
    with pytest.raises(TrainingError, match="diverged"):
        trainer.update(clip)
    hook.remove()


def test_online_learning_skips_non_finite_gradients_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad step of the update model's optimiser, within a clip, leaves its weights as they were and is counted."""
    trainer = trainer_of(make_run(tmp_path, "srnn-gated", phi_steps="online"))
    clip = clip_batch(trainer.run.train, trainer.run.config, 0, 0)
    inference = trainer.filter.inference
    before = {k: v.clone() for k, v in inference.state_dict().items()}
    weighing = em.weighing

    def overflowing(*arguments: Any) -> Weigh:
        weigh = weighing(*arguments)
        return lambda free_energy, real: weigh(free_energy, real) * float("nan")

    monkeypatch.setattr(em, "weighing", overflowing)
    trainer.update(clip)
    assert trainer.progress.skipped == len(clip.xs)
    assert all(torch.equal(before[k], v) for k, v in inference.state_dict().items())


def test_padding_trains_nothing(tmp_path: Path) -> None:
    """Gradients of a padded batch are those of its real frames, whatever stands in the padding."""
    for pair in ("srnn-gated", "srnn-direct"):
        trainer = trainer_of(make_run(tmp_path, pair, phi_steps="clip"))
        clip = clip_batch(trainer.run.train, trainer.run.config, 0, 0)
        clip.real[5:, :3] = False
        gradients = []
        for filling in (0.0, 1.0):
            clip.xs[5:, :3] = filling
            trainer.learner.zero_gradients()
            trainer.learner.backward(clip, 1.0)
            gradients.append([p.grad.clone() for p in trainer.filter.parameters() if p.grad is not None])
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("pair", ["srnn-gaussian", "srnn-direct", "vrnn-iterative"])
def test_what_is_missing_teaches_nothing(tmp_path: Path, pair: str) -> None:
    """Gradients of a clip with gaps do not depend on what stands in them, and all are finite."""
    trainer = trainer_of(make_run(tmp_path, pair, phi_steps="clip"))
    clip = clip_batch(trainer.run.train, trainer.run.config, 0, 0)
    observed = torch.rand(clip.xs.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    observed[2, 0] = False
    gradients = []
    for filling in (0.0, 1.0):
        xs = torch.where(observed, clip.xs, filling)
        trainer.learner.zero_gradients()
        trainer.learner.backward(Clip.whole(xs, clip.real, clip.seeds, clip.drive, observed), 1.0)
        gradients.append([p.grad.clone() for p in trainer.filter.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
        assert a.isfinite().all()


def test_transposed_rolls_keep_their_notes() -> None:
    """Moved as a whole, or as far as the keyboard goes; silence stays; and only with the chance that was said."""
    roll = np.zeros((3, 88), np.uint8)
    roll[0, [5, 40]] = roll[2, 84] = 1
    assert np.argwhere(transposed(roll, 2)).tolist() == [[0, 7], [0, 42], [2, 86]]
    assert np.argwhere(transposed(roll, 6)).tolist() == [[0, 8], [0, 43], [2, 87]]
    assert np.argwhere(transposed(roll, -6)).tolist() == [[0, 0], [0, 35], [2, 79]]
    assert not transposed(np.zeros_like(roll), 5).any()
    moved, still = (
        clip_batch([roll] * 16, TrainingConfig(transpose=chance, clip_length=3), 0, 0).xs for chance in (1.0, 0.0)
    )
    assert len({tuple(row.flatten().tolist()) for row in moved.transpose(0, 1)}) > 4
    assert bool((still == torch.from_numpy(roll)[:, None]).all())


def test_clips_are_drawn_by_sequences_or_by_frames() -> None:
    """One of each sequence an epoch, or as many of a sequence as it has frames; a function of seed and epoch."""
    long, short = np.zeros((90, 6), np.uint8), np.ones((10, 6), np.uint8)
    by_sequences = TrainingConfig(clip_length=5, batch_size=100)
    by_frames = dataclasses.replace(by_sequences, draw="frames")
    sequences = [long] * 50 + [short] * 50

    def share(config: TrainingConfig, epoch: int) -> float:
        return float(clip_batch(sequences, config, epoch, 0).xs[0, :, 0].mean())  # of the short

    assert all(share(by_sequences, epoch) == 0.5 for epoch in range(5))
    assert np.mean([share(by_frames, epoch) for epoch in range(20)]) == pytest.approx(0.1, abs=0.03)
    assert len({share(by_frames, epoch) for epoch in range(20)}) > 1
    assert share(by_frames, 3) == share(by_frames, 3)


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    """The checkpoint is the one with the lowest validation free energy, as its card says."""
    run = make_run(tmp_path, epochs=12, validate_every=1, patience=2, theta_rate=0.05)
    progress = trainer_of(run).train(stop=never)
    energies = [record["valid"]["free_energy_pooled"] for record in progress.history]
    best = checkpoints.load(tmp_path)
    assert best.card["valid"]["free_energy_pooled"] == min(energies) == progress.best
    found = evaluate(best.filter, run.valid, passes=1, draws=0).free_energy_pooled
    assert found == pytest.approx(progress.best, abs=1e-5)
    assert (tmp_path / "run.json").exists()
    assert json.loads((tmp_path / "run.json").read_text())["progress"]["best_epoch"] == progress.best_epoch


def a_little_data(preset: Preset) -> list[np.ndarray]:
    """Four sequences of six steps that fit the preset's model."""
    generator = np.random.default_rng(0)
    size = configuration.build_model(preset.settings["model"]).observation.size
    if size == 88:
        return [np.pad(m[:6], ((0, 0), (40, 42))) for m in melodies(4, 0)]
    return [generator.random((6, size), dtype=np.float32) for _ in range(4)]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name.removesuffix(presets.DIRECT) in LARGE else ())
        for name in presets.names()
    ],
)
def test_every_preset_trains(tmp_path: Path, name: str) -> None:
    """An update of each preset at its full size gives finite energies and a checkpoint that evaluates."""
    preset = presets.override(
        presets.get(name), {"training.epochs": 1, "training.clip_length": 2, "training.batch_size": 4}
    )
    data = a_little_data(preset)
    settings = presets.fit(preset.settings, data)
    run = Run(settings=settings, config=preset.training, train=data, valid=data[:2], facts={}, folder=tmp_path)
    progress = trainer_of(run).train(stop=never)
    assert progress.updates + progress.skipped >= 1
    assert math.isfinite(progress.history[-1]["valid"]["free_energy_pooled"])
    assert math.isfinite(evaluate(checkpoints.load(tmp_path).filter, data[:1]).free_energy_pooled)


def test_a_models_units_are_those_of_its_training_data() -> None:
    """Center and scale are the training set's mean and deviation, where a model standardises and was not told."""
    data = [np.array([[1.0, 3.0]]), np.array([[5.0, 7.0]])]
    speech = presets.get("paper-srnn-speech").settings
    fitted = presets.fit(speech, data)["model"]
    assert (fitted["center"], fitted["scale"]) == (4.0, pytest.approx(5.0**0.5))
    told = {**speech, "model": {**speech["model"], "scale": 2.0}}
    assert presets.fit(told, data) == told
    for name in ("paper-jsb", "paper-actions"):
        assert presets.fit(presets.get(name).settings, data) == presets.get(name).settings


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("training.epochs", 0, "more than 0"),
        ("training.nonsense", 1, "has no nonsense"),
        ("inference.iterations", 0, "at least 1"),
        ("inference.rule", "sgd", "expected one of"),
        ("model.kind", "rnn", "there are"),
        ("model.latent_size", "ten", "expected int"),
        ("epochs", 3, "expected model.X"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_right(key: str, value: object, word: str) -> None:
    """Unknown names and values out of range fail, and say what there is."""
    with pytest.raises(ConfigurationError, match=word):
        configuration.build(presets.override(presets.get("paper-jsb"), {key: value}).settings)
    with pytest.raises(ConfigurationError, match="there are paper-vrnn-speech"):
        presets.get("srnn-bach")
