"""The contract of the filter holds for beliefs of particles: pure, rows by themselves, stored, forked, in any batch."""

import copy
from dataclasses import replace

import pytest
import torch

from avf_core import beliefs
from avf_core.belief_rows import BeliefRows
from avf_core.filtering import Filter
from avf_core.inference import deterministic
from avf_core.trees import take, tree_map
from tests.support.comparing import close, exact

from .pairs import observations

pytestmark = pytest.mark.slow


def test_particles_keep_the_contract(pair: Filter) -> None:
    """In double precision, with a past; forks with the same seed agree, one with another goes its own way."""
    pair.double()
    xs = observations(pair, 3, 3)
    begun = pair.spread(torch.arange(3), particles=4, lag=0 if pair.inference.exact else 2)
    middle, _ = pair.step(begun, xs[0])
    kept = copy.deepcopy(middle)
    end, whole = pair.scan(middle, xs[1:])
    exact(middle, kept)
    exact((end, whole), pair.scan(middle, xs[1:]))

    stored = [beliefs.to_bytes(row, provenance={"model": "m"}) for row in beliefs.unstack(middle)]
    exact(beliefs.stack([beliefs.from_bytes(data, expected={"model": "m"}) for data in stored]), middle)
    form = BeliefRows(begun, provenance={"model": "m"})
    exact(form.belief(form.rows(middle)), middle)

    alone_end, alone = pair.scan(take(middle, slice(1, 2)), xs[1:, 1:2])
    close(alone_end, take(end, slice(1, 2)), tolerance=1e-8)
    close(alone, tree_map(lambda tensor: tensor[:, 1:2], whole), tolerance=1e-8)
    if not (pair.inference.exact or isinstance(pair.inference, deterministic.Inference)):
        _, other = pair.scan(replace(middle, seed=middle.seed + 100), xs[1:])
        assert not torch.equal(other.z, whole.z)
