"""What is normal for a model: the reference distribution of its card, against which free energies become p-values.

The law: what a model's card does not say is not known: its surprise is null. A step of which nothing was observed has
no surprise either, nor have the first ones, while the model is `warming`: what it remembers is not yet of the session.
What a reference of signs keeps of a session's steps is kept with the belief, so that it goes on wherever its session
does.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import avf_wire as wire
import numpy as np
from numpy.typing import NDArray

from avf_core.analysis.conditional import ConditionalReference, measure
from avf_core.analysis.sign_reference import SignReference
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.checkpoints import Checkpoint
from avf_core.errors import DataError
from avf_core.signs import Sign

logger = logging.getLogger(__name__)

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_KEPT = np.dtype("<f4")


class Told(NamedTuple):
    """What a reference may hear of the steps of a batch: their scores, and beside these what it depends on.

    The means of priors and predictions, and times, NaN where there are none, tell the circumstances of each; signs what
    they were like.
    """

    score: NDArray[np.float64]
    prior: NDArray[np.floating]
    level: NDArray[np.floating]
    times: NDArray[np.float64]
    signs: NDArray[np.floating]


class Reference:
    """The distribution of a step's free energy on data that are normal for a model."""

    def __init__(self, reference: ReferenceDistribution | ConditionalReference | SignReference) -> None:
        self._reference = reference
        values = [round(_whole(reference).quantile(level), 6) for level in LEVELS]
        self.quantiles = wire.Quantiles(levels=list(LEVELS), values=values)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Reference | None":
        """That of a checkpoint's card; None where the card has none of free energies, or one that is unreadable."""
        facts: Any = checkpoint.card.get("reference")
        if not isinstance(facts, dict) or facts.get("score") != "free_energy":
            return None
        try:
            found = cls(_read(facts))
        except DataError as error:
            logger.warning("surprise of %s is not known: %s", checkpoint.name, error)
            return None
        listened = checkpoint.filter.model.listened
        if found.listened is not None and [sign.given for sign in found.listened] != [sign.given for sign in listened]:
            logger.warning(
                "surprise of %s is not known: its signs are %s, not %s", checkpoint.name, listened, found.listened
            )
            return None
        return found

    @property
    def listened(self) -> tuple[Sign, ...] | None:
        """What a model has to give beside scores; None where that is nothing."""
        return self._reference.listened if isinstance(self._reference, SignReference) else None

    @property
    def width(self) -> int:
        """Numbers that are kept of a session."""
        return self._reference.width if isinstance(self._reference, SignReference) else 0

    def surprise(self, told: Told, kept: Sequence[bytes | None]) -> tuple[NDArray[np.float64], Sequence[bytes | None]]:
        """How far out each step is on normal data, as a p-value in (0, 1], and what is kept of its session after it.

        NaN for a score that is NaN. What was kept and is none of this reference's is nothing.
        """
        reference = self._reference
        if isinstance(reference, ReferenceDistribution):
            return reference.p_values(told.score), [None] * len(kept)
        if isinstance(reference, ConditionalReference):
            measured = measure(reference.by, prior=told.prior, level=told.level, time=told.times)
            return reference.p_values(told.score, measured), [None] * len(kept)
        length = reference.width * _KEPT.itemsize
        nothing = bytes(length)  # zeros, as before the first step
        states = b"".join(nothing if state is None or len(state) != length else state for state in kept)
        before = np.frombuffer(states, dtype=_KEPT).reshape(len(kept), -1).astype(np.float64)
        after, p = reference.step(before, told.score, told.signs.astype(np.float64))
        return p, [row.tobytes() for row in after.astype(_KEPT)]


def _read(facts: dict[str, Any]) -> ReferenceDistribution | ConditionalReference | SignReference:
    """What a card says, by what it has."""
    if "signs" in facts:
        return SignReference.from_dict(facts)
    return (ConditionalReference if "by" in facts else ReferenceDistribution).from_dict(facts)


def _whole(reference: ReferenceDistribution | ConditionalReference | SignReference) -> ReferenceDistribution:
    """The distribution of scores of all steps."""
    return reference if isinstance(reference, ReferenceDistribution) else reference.whole
