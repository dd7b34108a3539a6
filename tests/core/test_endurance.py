"""Long streams in float32: 100,000 online steps, with what real streams hold. `benchmarks/endurance.py` runs longer."""

import pytest
import torch

from avf_core.trees import tree_map
from tests.support.comparing import assert_finite

from .pairs import make, observations

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]


@pytest.mark.parametrize("name", ["srnn-gated", pytest.param("srnn-gaussian", marks=pytest.mark.long)])
def test_a_hundred_thousand_steps_stay_finite(name: str) -> None:
    """200 streams of 500 steps: noise, constants, gaps, and bursts of extremes; F does not drift."""
    filter = make(name)
    xs = observations(filter, 500, 200)
    bounded = filter.model.observation.high == 1.0
    xs[100:200, :40] = 1.0  # a constant
    xs[200:203, 40:80] = 1.0 if bounded else 1e6
    observed = torch.ones_like(xs, dtype=torch.bool)
    observed[250:300, 80:120] = False
    observed[250:300, 120:160, ::2] = False
    xs[~observed] = float("nan")
    belief = filter.initial(torch.arange(200))
    energies = []
    with torch.no_grad():
        for x, mask in zip(xs, observed, strict=True):
            belief, estimate = filter.step(belief, x, observed=None if bool(mask.all()) else mask)
            energies.append(estimate.free_energy)
    tree_map(assert_finite, (belief, torch.stack(energies)))
    early, late = torch.stack(energies[20:100]).mean(), torch.stack(energies[-80:]).mean()
    assert float(late) == pytest.approx(float(early), rel=0.05)
