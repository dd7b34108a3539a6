"""How a filter is trained: one frozen dataclass beside the trainer that reads it."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from avf_core.errors import ConfigurationError

Annealing = Literal["linear", "quadratic"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The schedule of a training run.

    An epoch has as many random clips of `clip_length` steps as there are training sequences. `draw`: one clip of each
    of the `sequences`, or clips of sequences drawn in proportion to their `frames`, as averages over all steps weigh
    them: with the former, what is said in long sequences is learned least; or so drawn, as many as all `steps` fill,
    for data of few and long sequences. `samples`: the latents a step that theta
    learns from (see `latents`; for procedures whose phi learns apart from theta). In the first `theta_waits` epochs
    phi alone learns: on a trained model, a new update model would lead theta away. `outlier`, in nats, where above 0:
    the gradients of frames whose free energy is beyond it are scaled down in proportion. One frame that the prior is
    sure of, and wrong about, can otherwise weigh more than all others of its batch.
    `phi_steps`: the inference model's optimiser steps `online` at every time step (the authors'), or once per `clip`.
    `kl_anneal_epochs`: the KL weight rises from 0 to 1 over so many epochs, but is never below `kl_weight_floor`; it is
    1 in every reported number. `kl_anneal`: it is the part of these epochs that is over (`linear`, the paper's words),
    or its square (`quadratic`, the authors' code). `learning_rate_decay` is per epoch.
    `average_decay`: validation and the checkpoint use an exponential average of the weights where it is
    above 0. `validate_start`: what is trained is a checkpoint before its first update, too: for models that begin as
    something. `patience`: stop after so many validations without a better one. `transpose`: the chance that a clip of
    a piano roll is moved by up to six semitones either way.
    """

    epochs: int = 800
    clip_length: int = 25
    draw: Literal["sequences", "frames", "steps"] = "sequences"
    batch_size: int = 16
    theta_rate: float = 1e-4
    phi_rate: float = 1e-4
    theta_waits: int = 0
    samples: int = 1
    outlier: float = 0.0
    learning_rate_decay: float = 0.999
    kl_anneal_epochs: int = 0
    kl_anneal: Annealing = "linear"
    kl_weight_floor: float = 0.0
    phi_steps: Literal["online", "clip"] = "online"
    clip_norm: float = 0.0
    weight_decay: float = 0.0
    average_decay: float = 0.0
    transpose: float = 0.0
    validate_every: int = 5
    validate_start: bool = False
    patience: int = 20
    seed: int = 1

    def __post_init__(self) -> None:
        positive = (
            "epochs",
            "clip_length",
            "batch_size",
            "theta_rate",
            "phi_rate",
            "validate_every",
            "patience",
            "samples",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"training.{name} is {getattr(self, name)}, expected more than 0")
        for name in ("theta_waits", "outlier"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"training.{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("average_decay", "kl_weight_floor"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigurationError(f"training.{name} is {getattr(self, name)}, expected within [0, 1)")
        if self.kl_anneal not in get_args(Annealing):
            raise ConfigurationError(
                f"training.kl_anneal is {self.kl_anneal!r}, expected one of {', '.join(get_args(Annealing))}"
            )
        if not 0.0 <= self.transpose <= 1.0:
            raise ConfigurationError(f"training.transpose is {self.transpose}, expected within [0, 1]")

    def kl_weight(self, epoch: int) -> float:
        """The weight of KL in epoch `epoch`, counted from 0."""
        if epoch >= self.kl_anneal_epochs:
            return 1.0
        part = epoch / self.kl_anneal_epochs
        return max(self.kl_weight_floor, part if self.kl_anneal == "linear" else part**2)


TO_THE_END = 1_000_000
"""A `patience` that no run outlasts: it trains all of its epochs."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What `avf train NAME` builds and how it trains it; the same of its baseline, where there is one.

    `sized`: what its model's settings do not say of sizes is decided by the data (`sizes`).
    """

    model: dict[str, Any]
    inference: dict[str, Any]
    training: TrainingConfig
    baseline: dict[str, Any] | None = None
    baseline_training: TrainingConfig | None = None
    sized: bool = False

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """What `configuration.build` takes."""
        return {"model": dict(self.model), "inference": dict(self.inference)}
