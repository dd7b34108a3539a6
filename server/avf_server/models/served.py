"""The models that this server holds: their checkpoints, what is normal for them, and beliefs of theirs.

The law: what is asked of a model that is not here is one problem, which names those there are.
"""

from collections.abc import Iterator, Mapping, Sequence

import avf_wire as wire
import torch
from avf_wire.rows import RowForm

from avf_core import beliefs, checkpoints
from avf_core.belief_rows import BeliefRows
from avf_core.beliefs import Belief
from avf_core.checkpoints import Checkpoint
from avf_core.errors import BeliefFormatError
from avf_core.filtering import Filter
from avf_core.inference import _descent
from avf_core.trees import tree_map
from avf_server import problems
from avf_server.models.catalogue import calendar_of, model_info, points_of
from avf_server.models.references import Reference
from avf_server.models.setups import QUANTILES, WIDEST, Setup

FORMS_KEPT = 64
"""Forms of beliefs, by particles and lag, that are remembered beside the models' own."""


class Models:
    """Checkpoints by their names, on one device."""

    def __init__(self, names: Sequence[str], *, device: str) -> None:
        """Raises CheckpointError where a model cannot be read."""
        found = (checkpoints.load(name, device=device, dtype=None) for name in names)
        self._checkpoints = {checkpoint.name: checkpoint for checkpoint in found}
        self._references = {name: Reference.of(checkpoint) for name, checkpoint in self._checkpoints.items()}
        self._calendars = {name: calendar_of(checkpoint) for name, checkpoint in self._checkpoints.items()}
        self._forms = {name: _form_of(checkpoint) for name, checkpoint in self._checkpoints.items()}
        self._binary = {name for name, found in self._checkpoints.items() if _is_binary(found.filter)}
        self._setups = {
            name: _setup_of(checkpoint, binary=name in self._binary) for name, checkpoint in self._checkpoints.items()
        }
        self._points = {name: points_of(checkpoint) for name, checkpoint in self._checkpoints.items()}
        self._rows: dict[tuple[str, int, int], BeliefRows] = {}
        self.device = device
        for setup in self._setups.values():
            self.belief_rows(setup)

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

    def calendar(self, name: str) -> tuple[str, ...]:
        """The inputs of a model that are made of an observation's time. Raises UnknownModelError."""
        self.checkpoint(name)
        return self._calendars[name]

    def usual_dt(self, name: str) -> float:
        """The time between two observations of which nothing is said. Raises UnknownModelError."""
        return self.checkpoint(name).filter.model.reader.usual_dt

    def of_digest(self, digest: str) -> Checkpoint | None:
        """The model with these weights; None where there is none."""
        return next((found for found in self._checkpoints.values() if found.digest == digest), None)

    def reference(self, name: str) -> Reference | None:
        """What is normal for a model; None where that is not known."""
        return self._references[name]

    def setup(self, name: str) -> Setup:
        """How sessions of a model are filtered that ask for nothing. Raises UnknownModelError."""
        self.checkpoint(name)
        return self._setups[name]

    def has_deviations(self, name: str) -> bool:
        """Whether predictions of a model have a mean and a deviation. Raises UnknownModelError."""
        self.checkpoint(name)
        return name not in self._binary

    def points(self, name: str) -> Mapping[str, wire.Point]:
        """The operating points of a model, by their names. Raises UnknownModelError."""
        self.checkpoint(name)
        return self._points[name]

    def row_bytes(self, name: str) -> int:
        """What a belief of one particle, without a lag, takes. Raises UnknownModelError."""
        return self.belief_rows(self.setup(name)).width

    def samples(self, name: str, iterations: int, *, most: int | None = None) -> int:
        """The gradient samples that so many iterations of a model take of a row together, `most` of each at most."""
        config = self._descent(name)
        return iterations if config is None else config.at_most(most).samples_before(iterations)

    def gradient_samples(self, name: str) -> tuple[int, int]:
        """The most gradient samples of an iteration of a model, and the fewest that it can do with."""
        config = self._descent(name)
        return (1, 1) if config is None else (config.most_samples, 2 if config.antithetic else 1)

    def _descent(self, name: str) -> _descent.Config | None:
        config = getattr(self.checkpoint(name).filter.inference, "config", None)
        return config if isinstance(config, _descent.Config) else None

    def info(self, name: str) -> wire.ModelInfo:
        """A model as clients see it. Raises UnknownModelError."""
        checkpoint = self.checkpoint(name)
        return model_info(checkpoint, setup=self.setup(name), reference=self.reference(name))

    def belief_rows(self, setup: Setup) -> BeliefRows:
        """How the beliefs of a setup lie in bytes. On the models' thread."""
        key = (setup.model, setup.particles, setup.lag)
        if key not in self._rows:
            if len(self._rows) >= len(self) + FORMS_KEPT:
                del self._rows[next(each for each in self._rows if each[1:] != (1, 0))]
            provenance = {"model": self.checkpoint(setup.model).digest}
            self._rows[key] = BeliefRows(self.belief(setup, None, seed=0), provenance=provenance)
        return self._rows[key]

    def belief_row(self, setup: Setup, saved: bytes | None, *, seed: int) -> bytes:
        """A saved belief as a row; None is the prior. On the models' thread. Raises BeliefUnreadableError."""
        form = self.belief_rows(setup)
        try:
            if saved is not None:
                return form.from_bytes(saved)
        except BeliefFormatError as error:
            raise problems.BeliefUnreadableError(str(error)) from error
        return form.rows(self.belief(setup, None, seed=seed)).cpu().numpy().tobytes()

    def belief(self, setup: Setup, saved: bytes | None, *, seed: int) -> Belief:
        """A saved belief on the device; None is the prior. On the models' thread. Raises BeliefUnreadableError."""
        checkpoint = self.checkpoint(setup.model)
        if saved is None:
            seeds = torch.tensor([seed], device=self.device)
            with torch.no_grad():
                return checkpoint.filter.initial(seeds, particles=setup.particles, lag=setup.lag)
        try:
            found = beliefs.from_bytes(saved, expected={"model": checkpoint.digest})
        except BeliefFormatError as error:
            raise problems.BeliefUnreadableError(str(error)) from error
        return tree_map(lambda tensor: tensor.to(self.device), found)


def _form_of(checkpoint: Checkpoint) -> RowForm:
    model = checkpoint.filter.model
    return RowForm(
        size=model.observation.size,
        input_size=model.input_size - len(calendar_of(checkpoint)),
        timed=model.timed or bool(calendar_of(checkpoint)),
        wide=model.dtype == torch.float64,
    )


def _is_binary(filter: Filter) -> bool:
    """Whether observations are zeros and ones, of which the mean says all."""
    size = filter.model.input_size
    with torch.no_grad():
        belief = filter.initial(torch.zeros(1, dtype=torch.int64, device=next(filter.parameters()).device))
        inputs = next(iter(belief.model.values())).new_zeros(1, size) if size else None
        return filter.prediction(belief, inputs=inputs, samples=1).discrete


def _setup_of(checkpoint: Checkpoint, *, binary: bool) -> Setup:
    filter = checkpoint.filter
    told = filter.model.observation.size <= WIDEST and not binary
    return Setup(
        model=checkpoint.name,
        iterations=filter.inference.iterations,
        samples=filter.prediction_samples,
        quantiles=QUANTILES if told else (),
    )
