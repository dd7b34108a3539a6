"""The state of a training run on disk: what a resumed run needs to go on as if it had not stopped. No pickle.

Tensors (weights, averaged weights, Adam's moments) go to `state.safetensors`, counters and the digest of the tensors
to `run.json`. The law: both are saved in one move, so that an interrupted save leaves the state before it; and what
does not belong together (a copy made by halves) is refused.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import avf_sources
import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from avf_core.errors import CheckpointError
from avf_core.training import versions
from avf_core.training.parallel import Group

FORMAT = "avf-run"
RUN, TENSORS = FILES = ("run.json", "state.safetensors")


@dataclass(kw_only=True)
class Progress:
    """Where a run stands. `position` counts the batches of `epoch` that are done; energies are in nats per step.

    `seconds` are those of the updates: the processor's where it trains (all threads together), else the wall clock's.
    """

    epoch: int = 0
    position: int = 0
    updates: int = 0
    skipped: int = 0  # updates left out because a gradient was not finite
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    validations_since_best: int = 0
    finished: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)


def save(
    folder: Path,
    *,
    modules: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
    progress: Progress,
    run: dict[str, Any],
) -> None:
    """Write the state of a run; `run` says what is being trained, and is compared on resuming."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value.detach().contiguous() for key, value in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{key}": torch.as_tensor(value).contiguous() for key, value in moments.items()}
    data = safetensors.torch.save(tensors)
    document = {"format": FORMAT, "run": run, "progress": dataclasses.asdict(progress), "tensors": _digest(data)}
    avf_sources.replace_set(folder, {TENSORS: data, RUN: json.dumps(document, indent=1) + "\n"})


def load(
    folder: Path,
    *,
    modules: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
    run: dict[str, Any],
    group: Group,
) -> Progress | None:
    """Restore a run into `modules` and `optimizers`; None where the folder holds none.

    The leader of the group reads the files; the others need not see its disk.

    Raises CheckpointError where the run is of other settings or data, or where its files are damaged, and
    TrainingError where a newer version wrote them.
    """
    files = avf_sources.read_set(folder, FILES) if group.leads else {}
    written = group.of_leader(files.get(RUN))
    if written is None:
        return None
    data = group.of_leader(files.get(TENSORS)) or b""
    document, progress = _read(written, folder)
    try:
        found = document["run"]
        if document.get("tensors", _digest(data)) != _digest(data):  # runs of earlier releases have none
            raise ValueError(f"{TENSORS} is not of this {RUN}")
        tensors = safetensors.torch.load(data)
    except (ValueError, KeyError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"the run in {folder} is damaged ({error}): delete the folder or choose another"
        ) from error
    if found != json.loads(json.dumps(run)):
        changed = sorted(key for key in run if found.get(key) != json.loads(json.dumps(run[key])))
        raise CheckpointError(
            f"{folder} holds a run of another {', '.join(changed)}: give the options it was started with, "
            "or another --out"
        )
    for name, module in modules.items():
        module.load_state_dict(_section(tensors, f"{name}/"))
    for name, optimizer in optimizers.items():
        _restore_optimizer(optimizer, _section(tensors, f"{name}/"))
    return progress


def reached(folder: Path) -> Progress | None:
    """How far the run in a folder is, as it was last saved; None where the folder holds none.

    Raises CheckpointError where that is damaged, and TrainingError where a newer version wrote it.
    """
    written = avf_sources.read_set(folder, [RUN]).get(RUN)
    return None if written is None else _read(written, folder)[1]


def _read(written: bytes, folder: Path) -> tuple[dict[str, Any], Progress]:
    """What counters were saved with, and the counters."""
    path = folder / RUN
    try:
        document = json.loads(written)
        versions.check(Progress, document["progress"], path)
        return document, msgspec.convert(document["progress"], Progress)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}): delete the folder, or give another --out") from error


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, moment = key.partition("/")
        state.setdefault(int(index), {})[moment] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _section(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
