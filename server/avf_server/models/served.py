"""The models that this server holds: their checkpoints, what is normal for them, and beliefs of theirs.

The law: what is asked of a model that is not here is one problem, which names those there are.
"""

from collections.abc import Iterator, Sequence

import avf_wire as wire
import torch
from avf_wire.rows import RowForm

from avf_core import beliefs, checkpoints
from avf_core.belief_rows import BeliefRows
from avf_core.beliefs import Belief
from avf_core.checkpoints import Checkpoint
from avf_core.errors import BeliefFormatError
from avf_core.trees import tree_map
from avf_server import problems
from avf_server.models.catalogue import model_info
from avf_server.models.references import Reference


class Models:
    """Checkpoints by their names, on one device."""

    def __init__(self, names: Sequence[str], *, device: str) -> None:
        """Raises CheckpointError where a model cannot be read."""
        found = (checkpoints.load(name, device=device) for name in names)
        self._checkpoints = {checkpoint.name: checkpoint for checkpoint in found}
        self._references = {name: Reference.of(checkpoint) for name, checkpoint in self._checkpoints.items()}
        self._rows = {name: _rows_of(checkpoint, device) for name, checkpoint in self._checkpoints.items()}
        self._forms = {name: _form_of(checkpoint) for name, checkpoint in self._checkpoints.items()}
        self.device = device

    def __len__(self) -> int:
        return len(self._checkpoints)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._checkpoints))

    def __contains__(self, name: object) -> bool:
        return name in self._checkpoints

    def checkpoint(self, name: str) -> Checkpoint:
        """The model of this name. Raises UnknownModelError."""
        if name not in self._checkpoints:
            raise problems.UnknownModelError(f"no model {name!r} on this server; there are {', '.join(self) or 'none'}")
        return self._checkpoints[name]

    def form(self, name: str) -> RowForm:
        """What a model takes with each observation. Raises UnknownModelError."""
        self.checkpoint(name)
        return self._forms[name]

    def usual_dt(self, name: str) -> float:
        """The time between two observations of which nothing is said. Raises UnknownModelError."""
        return self.checkpoint(name).filter.model.reader.usual_dt

    def of_digest(self, digest: str) -> Checkpoint | None:
        """The model with these weights; None where there is none."""
        return next((found for found in self._checkpoints.values() if found.digest == digest), None)

    def reference(self, name: str) -> Reference | None:
        """What is normal for a model; None where that is not known."""
        return self._references[name]

    def iterations(self, name: str) -> int:
        """The number of iterations that a model was configured with; 0 where its inference does not iterate."""
        return self.checkpoint(name).filter.inference.iterations

    def samples(self, name: str, iterations: int) -> int:
        """The gradient samples that so many iterations of a model take of a row together."""
        config = getattr(self.checkpoint(name).filter.inference, "config", None)
        before = getattr(config, "samples_before", None)
        return iterations if before is None else int(before(iterations))

    def info(self, name: str) -> wire.ModelInfo:
        """A model as clients see it. Raises UnknownModelError."""
        checkpoint = self.checkpoint(name)
        return model_info(checkpoint, iterations=self.iterations(name), reference=self.reference(name))

    def belief_rows(self, name: str) -> BeliefRows:
        """How the beliefs of a model lie in bytes."""
        return self._rows[name]

    def belief_row(self, name: str, saved: bytes | None, *, seed: int) -> bytes:
        """A saved belief as a row; None is the prior. On the models' thread. Raises BeliefUnreadableError."""
        try:
            if saved is not None:
                return self._rows[name].from_bytes(saved)
        except BeliefFormatError as error:
            raise problems.BeliefUnreadableError(str(error)) from error
        return self._rows[name].rows(self.belief(name, None, seed=seed)).cpu().numpy().tobytes()

    def belief(self, name: str, saved: bytes | None, *, seed: int) -> Belief:
        """A saved belief on the device; None is the prior. On the models' thread. Raises BeliefUnreadableError."""
        checkpoint = self.checkpoint(name)
        if saved is None:
            with torch.no_grad():
                return checkpoint.filter.initial(torch.tensor([seed], device=self.device))
        try:
            found = beliefs.from_bytes(saved, expected={"model": checkpoint.digest})
        except BeliefFormatError as error:
            raise problems.BeliefUnreadableError(str(error)) from error
        return tree_map(lambda tensor: tensor.to(self.device), found)


def _form_of(checkpoint: Checkpoint) -> RowForm:
    model = checkpoint.filter.model
    return RowForm(size=model.observation.size, input_size=model.input_size, timed=model.timed)


def _rows_of(checkpoint: Checkpoint, device: str) -> BeliefRows:
    with torch.no_grad():
        example = checkpoint.filter.initial(torch.zeros(1, dtype=torch.int64, device=device))
    return BeliefRows(example, provenance={"model": checkpoint.digest})
