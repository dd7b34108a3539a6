"""What the library saves, as cases for `tests.support.killing`: a state before, a state after, and how it is read."""

import hashlib
import json
from pathlib import Path

import avf_sources
import numpy as np
import torch

from avf_core import checkpoints
from avf_core.commands import train
from avf_core.reproduction import records
from avf_core.training import publish
from avf_core.training.listeners import METRICS, Metrics
from tests.core.pairs import PAIRS, make
from tests.support.training import make_run, trainer_of

SMALL = (
    "model.observation_size=3", "model.likelihood=gaussian", "model.hidden_size=8", "model.latent_size=4",
    "model.prior_widths=[8]", "model.decoder_widths=[8]", "inference.units=8", "inference.iterations=2",
    "training.epochs=1", "training.clip_length=6", "training.phi_steps=clip",
)  # fmt: skip


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


def _as_text(tensors: dict[str, torch.Tensor]) -> str:
    return _digest(*(name.encode() + tensor.numpy().tobytes() for name, tensor in sorted(tensors.items())))


class Files:
    """Files that belong together, one of them new."""

    def prepare(self, folder: Path) -> None:
        avf_sources.replace_set(folder, {"a": "1" * 100, "b": "1" * 100})

    def save(self, folder: Path) -> None:
        avf_sources.replace_set(folder, dict.fromkeys("abc", "2" * 100))

    def read(self, folder: Path) -> str:
        return json.dumps({name: data.decode() for name, data in avf_sources.read_set(folder, "abc").items()})


class Record:
    """The record of a run, in a folder that there is not yet for the new one."""

    def prepare(self, folder: Path) -> None:
        records.write(folder / "music" / "one.json", {"format": records.FORMAT, "entry": 1})

    def save(self, folder: Path) -> None:
        records.write(folder / "music" / "one.json", {"format": records.FORMAT, "entry": list(range(100))})

    def read(self, folder: Path) -> str:
        return json.dumps(records.load(folder, "music"))


class Checkpoint:
    """A checkpoint: weights, settings and card must be of one another."""

    def _save(self, folder: Path, number: int) -> None:
        filter = make("srnn-gated")
        with torch.no_grad():
            for parameter in filter.parameters():
                parameter.fill_(number / 8)
        checkpoints.save(folder, filter=filter, settings=PAIRS["srnn-gated"], card={"number": number})

    def prepare(self, folder: Path) -> None:
        self._save(folder, 1)

    def save(self, folder: Path) -> None:
        self._save(folder, 2)

    def read(self, folder: Path) -> str:
        found = checkpoints.load(folder)
        assert float(next(found.filter.parameters()).flatten()[0]) == found.card["number"] / 8
        return f"{found.card['number']} {found.digest}"


class FirstCheckpoint(Checkpoint):
    """A checkpoint where there was none."""

    def prepare(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    def read(self, folder: Path) -> str:
        return super().read(folder) if avf_sources.holds(folder, checkpoints.CONFIG) else "none"


class Training:
    """Epochs of a run, with its best checkpoint: whatever is read is gone on with to the same end."""

    def _train(self, folder: Path, epochs: int) -> str:
        trainer = trainer_of(make_run(folder, "srnn-gated", epochs=4, validate_every=1))
        trainer.listener = Metrics(folder)
        trainer.resume()
        trainer.train(stop=lambda: trainer.progress.epoch >= epochs)
        return _as_text(trainer.filter.state_dict())

    def prepare(self, folder: Path) -> None:
        self._train(folder, 1)

    def save(self, folder: Path) -> None:
        self._train(folder, 2)

    def read(self, folder: Path) -> str:
        checkpoints.load(folder)
        ended = self._train(folder, 4)
        epochs = [json.loads(line)["epoch"] for line in (folder / METRICS).read_text().splitlines()]
        return f"{ended} {checkpoints.load(folder).digest} {epochs}"


class Published:
    """A checkpoint of the zoo that is published anew from another run: weights, figures and both cards."""

    def _train(self, folder: Path, seed: int) -> Path:
        run = folder / f"run{seed}"
        options = [word for change in (*SMALL, f"training.seed={seed}") for word in ("--set", change)]
        data = ["--data", str(folder / "sensors.npy"), "--data-option", "length=20", "--data-option", "valid=0.4"]
        arguments = ["paper-jsb", *data, "--out", str(run), "--precision", "float32", *options]
        train.command(arguments, standalone_mode=False)
        return run

    def _publish(self, folder: Path, seed: int) -> None:
        run, data = folder / f"run{seed}", folder / "sensors.npy"
        publish.publish(run, "walks", data=data, title=f"Walks {seed}", zoo=folder / "zoo")

    def prepare(self, folder: Path) -> None:
        walks = np.cumsum(np.random.default_rng(0).normal(size=(400, 3)), axis=0)
        np.save(folder / "sensors.npy", walks.astype(np.float32))
        for seed in (1, 2):
            self._train(folder, seed)
        self._publish(folder, 1)

    def save(self, folder: Path) -> None:
        self._publish(folder, 2)

    def read(self, folder: Path) -> str:
        found = checkpoints.load(folder / "zoo" / "walks")
        text = avf_sources.read_set(folder / "zoo" / "walks", [publish.MODEL_CARD])[publish.MODEL_CARD].decode()
        assert found.card["title"] == f"Walks {found.card['seed']}"
        assert found.card["command"] in text
        return f"{found.card['title']} {found.digest} {text}"
