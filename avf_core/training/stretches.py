"""Long sequences as stretches that are filtered side by side.

To validate then takes an eighth of the steps one after another, and costs less than the training that it validates.

A stretch begins without a past, so that its first steps are told worse: the law is that none is shorter than a thousand
steps, of which those are few, and that all who are compared are validated on the same.
"""

import itertools

import numpy as np

from avf_core.data import Sequences

LEAST = 1000  # steps
MOST = 8  # stretches of a sequence


def stretches(sequences: Sequences) -> Sequences:
    """These sequences, the long ones in up to eight parts of like length; what drives them stays beside."""
    found = []
    for sequence in sequences:
        parts = max(1, min(MOST, len(sequence) // LEAST))
        ends = np.linspace(0, len(sequence), parts + 1).astype(int)
        found += [sequence[start:end] for start, end in itertools.pairwise(ends)]
    return found
