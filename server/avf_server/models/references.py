"""What is normal for a model: the reference distribution of its card, against which free energies become p-values.

The law: what a model's card does not say is not known: its surprise is null. A step of which nothing was observed has
no surprise either.
"""

import logging
from typing import Any

import avf_wire as wire
import numpy as np
from numpy.typing import NDArray

from avf_core.analysis.conditional import ConditionalReference, measure
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.checkpoints import Checkpoint
from avf_core.errors import DataError

logger = logging.getLogger(__name__)

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class Reference:
    """The distribution of a step's free energy on data that are normal for a model."""

    def __init__(self, reference: ReferenceDistribution | ConditionalReference) -> None:
        self._reference = reference
        whole = reference.whole if isinstance(reference, ConditionalReference) else reference
        values = [round(whole.quantile(level), 6) for level in LEVELS]
        self.quantiles = wire.Quantiles(levels=list(LEVELS), values=values)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Reference | None":
        """That of a checkpoint's card; None where the card has none of free energies, or one that is unreadable."""
        facts: Any = checkpoint.card.get("reference")
        if not isinstance(facts, dict) or facts.get("score") != "free_energy":
            return None
        try:
            return cls((ConditionalReference if "by" in facts else ReferenceDistribution).from_dict(facts))
        except DataError as error:
            logger.warning("surprise of %s is not known: %s", checkpoint.name, error)
            return None

    def surprise(
        self,
        free_energies: NDArray[np.float64],
        *,
        prior: NDArray[np.floating],
        level: NDArray[np.floating],
        times: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """How far out each free energy is on normal data, on either side, as a p-value in (0, 1]; NaN for NaN.

        The means of priors and predictions, and times, NaN where there are none, tell the circumstances of each, for a
        reference that depends on them.
        """
        if isinstance(self._reference, ReferenceDistribution):
            return self._reference.p_values(free_energies)
        measured = measure(self._reference.by, prior=prior, level=level, time=times)
        return self._reference.p_values(free_energies, measured)
