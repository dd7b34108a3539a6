"""Checkpoints: a folder with `config.json`, `weights.safetensors` and `card.json`. No pickle.

`config.json` says what `configuration.build` builds; `card.json` holds the facts of the model card (data, split,
command, seed, free energies). The zoo is the folder of checkpoints that ship with the library.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import avf_sources
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from avf_core import configuration, devices
from avf_core.emissions.base import Emission
from avf_core.errors import CheckpointError, ConfigurationError, PluginError
from avf_core.filtering import Filter
from avf_core.models.base import Model
from avf_core.recalibration import Recalibration

FORMAT = "avf-checkpoint"
VERSION = 1
CONFIG, WEIGHTS, CARD = FILES = ("config.json", "weights.safetensors", "card.json")
ZOO = Path(__file__).parent / "zoo"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained filter with its name, settings, model card's facts, digest, and the precision of its stored weights."""

    name: str
    filter: Filter
    settings: Mapping[str, Any]
    card: Mapping[str, Any]
    digest: str
    weights: str

    @property
    def data(self) -> Mapping[str, Any]:
        """What the card says of the data that the model was trained on."""
        found = self.card.get("data")
        return found if isinstance(found, Mapping) else {}

    def names(self, kind: str, *, count: int) -> list[str] | None:
        """The names of so many numbers, where a card has them all: of the data, or of what was read of it."""
        options = self.data.get("options")
        for found in (self.data.get(kind), options.get(kind) if isinstance(options, Mapping) else None):
            if isinstance(found, Sequence) and not isinstance(found, str) and 0 < len(found) == count:
                return [str(name) for name in found]
        return None


def available() -> list[str]:
    """The names of the checkpoints in the zoo."""
    return sorted(folder.name for folder in ZOO.glob("*") if avf_sources.holds(folder, CONFIG))


def load(name_or_path: str | Path, *, dtype: torch.dtype | None = torch.float32, device: str = "cpu") -> Checkpoint:
    """The checkpoint of this name in the zoo, or in this folder, ready to filter in this precision.

    None is the precision of a filter that was saved in float64, and float32 for all others.

    A checkpoint imports no module by itself: a model of another package must be installed as an entry point, be
    imported already, or be named in AVF_PLUGINS; PluginError says so. Raises CheckpointError where there is none, or
    where its files are damaged or of another version, ConfigurationError where there is no such device.
    """
    place = devices.device(device)
    folder = find(name_or_path)
    files = _read(folder, FILES)
    settings, card = _object(folder / CONFIG, files[CONFIG]), _object(folder / CARD, files[CARD])
    if settings.pop("format", None) != FORMAT or settings.pop("version", None) != VERSION:
        raise CheckpointError(f"{folder / CONFIG} is no {FORMAT} of version {VERSION}")
    try:
        data = files[WEIGHTS]
        weights = safetensors.torch.load(data)
        built = configuration.build(operated(settings, card), trusted=False)
        precision = _precision(weights)
        kind = dtype or (torch.float64 if precision == "float64" else torch.float32)
        built.to(torch.promote_types(kind, torch.float32)).load_state_dict(weights)  # whatever the stored precision
        if card.get("recalibration") is not None:
            built.recalibration = Recalibration.from_dict(card["recalibration"])
    except PluginError:
        raise  # nothing is wrong with the folder
    except (safetensors.SafetensorError, ConfigurationError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"the checkpoint in {folder} is damaged: {error}") from error
    return Checkpoint(
        name=folder.name,
        filter=built.to(device=place, dtype=kind).eval().requires_grad_(False),
        settings=settings,
        card=card,
        digest=hashlib.sha256(data + json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16],
        weights=precision,
    )


def operated(settings: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """The settings at which a checkpoint is run: those of its training, but for what its card says of the effort.

    Beliefs are the same at all points, so that this is no part of the digest. Raises CheckpointError.
    """
    said = card.get("operating") or {}
    if not isinstance(said, dict) or not said.keys() <= {"iterations", "samples"}:
        raise CheckpointError(f"the card's operating point is {said!r}, expected iterations and samples")
    samples = {"samples": tuple(said["samples"])} if isinstance(said.get("samples"), list) else {}
    return {**settings, "inference": {**settings["inference"], **said, **samples}} if said else dict(settings)


def read_card(folder: Path) -> dict[str, Any]:
    """The card in a checkpoint's folder. Raises CheckpointError."""
    return _object(folder / CARD, _read(folder, [CARD])[CARD])


def save(
    folder: Path,
    *,
    filter: Filter,
    settings: Mapping[str, Any],
    card: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a checkpoint, all of it or nothing.

    `dtype` is that of the stored weights: float64 for a filter that computes in it, else float32, where not given.
    Counters keep their own.
    """
    kind = torch.promote_types(filter.model.dtype, torch.float32)
    avf_sources.replace_set(folder, written(filter=filter, settings=settings, card=card, dtype=dtype or kind))


def written(
    *, filter: Filter, settings: Mapping[str, Any], card: Mapping[str, Any], dtype: torch.dtype
) -> dict[str, bytes | str]:
    """What the files of a checkpoint hold."""

    def stored(tensor: Tensor) -> Tensor:
        return tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()

    weights = {name: stored(tensor) for name, tensor in filter.state_dict().items()}
    header = {"format": FORMAT, "version": VERSION, **settings}
    return {
        WEIGHTS: safetensors.torch.save(weights),
        CONFIG: json.dumps(header, indent=2) + "\n",
        CARD: json.dumps(card, indent=2) + "\n",
    }


def start_from(filter: Filter, checkpoint: Checkpoint) -> None:
    """Give `filter` the checkpoint's weights: the model's, and the inference procedure's where it is the same one.

    A model may also start from one whose emission its own `widens`, and says then nearly what that says. Raises
    CheckpointError where the models differ otherwise.
    """
    try:
        filter.model.load_state_dict(_widened(filter.model, checkpoint.filter.model))
    except RuntimeError as error:
        raise CheckpointError(
            f"the model of {checkpoint.name} does not fit: start from a checkpoint of the same model ({error})"
        ) from error
    weights = checkpoint.filter.inference.state_dict()
    shapes = {name: tensor.shape for name, tensor in filter.inference.state_dict().items()}
    if shapes == {name: tensor.shape for name, tensor in weights.items()}:
        filter.inference.load_state_dict(weights)


def _widened(model: Model, start: Model) -> dict[str, Tensor]:
    """The weights of `start`; of a wider emission its own beside them, which are further rows and further tensors."""
    weights = start.state_dict()
    own, other = (getattr(each, "emission", None) for each in (model, start))
    if not (isinstance(own, Emission) and isinstance(other, Emission) and own.widens == _name(other)):
        return weights
    widened = {}
    for name, tensor in model.state_dict().items():
        given = weights.pop(name, tensor)
        longer = given.ndim > 0 and given.shape[1:] == tensor.shape[1:] and len(tensor) > len(given)
        widened[name] = torch.cat([given, tensor[len(given) :]]) if longer else given
    return widened | weights


def _name(emission: Emission) -> str:
    """That of its file."""
    return type(emission).__module__.rpartition(".")[2].replace("_", "-")


def find(name_or_path: str | Path) -> Path:
    """The folder of a checkpoint, given its path or its name in the zoo."""
    for folder in (Path(name_or_path), ZOO / str(name_or_path)):
        if avf_sources.holds(folder, CONFIG):
            return folder.resolve()
    raise CheckpointError(
        f"no checkpoint {str(name_or_path)!r}: expected a folder with config.json and weights.safetensors, "
        f"or one of {', '.join(available()) or 'the zoo (which is empty)'}"
    )


def _precision(weights: Mapping[str, Tensor]) -> str:
    """The precision of stored weights, "float16" say."""
    kinds = (tensor.dtype for tensor in weights.values() if tensor.is_floating_point())
    return str(next(kinds, torch.float32)).removeprefix("torch.")


def _read(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """These files of a checkpoint, as they belong together."""
    try:
        files = avf_sources.read_set(folder, names)
    except OSError as error:
        raise CheckpointError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    for name in names:
        if name not in files:
            raise CheckpointError(f"cannot read {folder / name}: it is missing")
    return files


def _object(path: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected an object")
    return value
