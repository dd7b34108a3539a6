"""Observations for the tiny music model, and estimates that should be the same."""

import numpy as np
from avf_client import Estimate


def frames(count: int) -> np.ndarray:
    """Random chords of four notes, (T, 88)."""
    rng = np.random.default_rng(count)
    rolled = np.zeros((count, 88))
    for row in rolled:
        row[rng.choice(88, size=4, replace=False)] = 1.0
    return rolled


def same(a: list[Estimate], b: list[Estimate]) -> None:
    """The same estimates, to the last bit."""
    assert [(e.epoch, e.seq) for e in a] == [(e.epoch, e.seq) for e in b]
    for x, y in zip(a, b, strict=True):
        assert (x.free_energy, x.reconstruction, x.kl) == (y.free_energy, y.reconstruction, y.kl)
        np.testing.assert_array_equal(x.posterior_mean, y.posterior_mean)
        np.testing.assert_array_equal(x.prediction, y.prediction)
