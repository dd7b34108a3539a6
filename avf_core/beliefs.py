"""A belief: all that filtering remembers of a sequence between two observations.

The law: a belief is a value. Its tensors have a leading batch axis, one row a sequence; nothing in the library holds
one, and whoever holds one can stack it with others, split it, store it and carry on elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import safetensors
import safetensors.torch
import torch
from jaxtyping import Int64
from torch import Tensor

from avf_core.errors import BeliefFormatError
from avf_core.trees import concatenate, take

FORMAT = "avf-belief"
VERSION = "1"

State = dict[str, Tensor]
"""Named tensors with a leading batch axis: the recurrent state of a model or of an inference procedure."""


@dataclass(frozen=True, kw_only=True)
class Belief:
    """The belief of `batch` sequences.

    `model` is what the model needs of the past (its last latent sample and recurrent state), `inference` what the
    inference procedure keeps of its own (empty for most). `seed` and `step` (observations filtered so far) fix all
    randomness of a row.

    With particles, the tensors of `model` and `inference` have an axis of them after that of the batch, and `particles`
    holds their weights ("log_weights", normalised); `past` is what is kept to look back. Both are empty for most. A
    stretch of beliefs, as estimates of a scan keep it, has an axis of time before all others.
    """

    model: State
    inference: State
    seed: Int64[Tensor, "*time batch"]
    step: Int64[Tensor, "*time batch"]
    particles: State = field(default_factory=dict)
    past: State = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """The number of rows."""
        return int(self.seed.shape[0])

    @property
    def particle_count(self) -> int:
        """The number of particles of a row."""
        return int(self.particles["log_weights"].shape[-1]) if self.particles else 1


def stack(beliefs: list[Belief]) -> Belief:
    """One belief of all rows, in order."""
    return concatenate(beliefs)


def unstack(belief: Belief) -> list[Belief]:
    """One belief a row; the rows share no memory with the batch."""
    return [take(belief, torch.tensor([row])) for row in range(belief.batch_size)]


def to_bytes(belief: Belief, *, provenance: Mapping[str, str] | None = None) -> bytes:
    """The belief as a safetensors file, with its version and `provenance` (say, the model's digest) in the header."""
    metadata = {"format": FORMAT, "version": VERSION, **(provenance or {})}
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in named(belief).items()}, metadata=metadata
    )


def from_bytes(data: bytes, *, expected: Mapping[str, str] | None = None) -> Belief:
    """Read what `to_bytes` wrote.

    `expected` names provenance that must be in the header with the same values. Raises BeliefFormatError where the
    bytes are truncated, are no belief, are of another version, or have other provenance.
    """
    _check_header(data, {"format": FORMAT, "version": VERSION, **(expected or {})})
    try:
        return of_named(safetensors.torch.load(data))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise BeliefFormatError(f"these {len(data)} bytes are no complete belief: {error}") from error


def named(belief: Belief) -> State:
    """All tensors of a belief, by the names under which they are stored."""
    tensors = {f"model.{name}": tensor for name, tensor in belief.model.items()}
    tensors |= {f"inference.{name}": tensor for name, tensor in belief.inference.items()}
    tensors |= {f"particles.{name}": tensor for name, tensor in belief.particles.items()}
    tensors |= {f"past.{name}": tensor for name, tensor in belief.past.items()}
    return tensors | {"seed": belief.seed, "step": belief.step}


def of_named(tensors: State) -> Belief:
    """The belief of what `named` gave. Raises KeyError where `seed` or `step` is not there."""
    return Belief(
        model=_section(tensors, "model."),
        inference=_section(tensors, "inference."),
        seed=tensors["seed"],
        step=tensors["step"],
        particles=_section(tensors, "particles."),
        past=_section(tensors, "past."),
    )


def _section(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check_header(data: bytes, expected: Mapping[str, str]) -> None:
    length = int.from_bytes(data[:8], "little")
    try:
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (ValueError, AttributeError) as error:
        raise BeliefFormatError(
            f"these {len(data)} bytes have no safetensors header; expected a belief written by avf"
        ) from error
    for key, value in expected.items():
        found = metadata.get(key)
        if found != value:
            raise BeliefFormatError(
                f"the belief's {key} is {found!r}, expected {value!r}: "
                "use the model and the release that wrote it, or reset the session"
            )
