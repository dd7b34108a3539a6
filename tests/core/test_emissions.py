"""The law of units: what a model says of an observation does not depend on where it is standardised."""

import math
from typing import Any

import pytest
import torch

from avf_core import emissions
from avf_core.configuration import build
from avf_core.distributions import Gaussian
from avf_core.emissions import Units
from avf_core.errors import ConfigurationError
from avf_core.estimates import Estimate

from .pairs import ITERATIVE, SRNN

CENTER, SCALE, BIN = 0.02, 0.125, 2.0**-15


def filtered(xs: torch.Tensor, **changes: Any) -> Estimate:
    """Estimates of an SRNN with the same parameters each time."""
    torch.manual_seed(3)
    filter = build({"model": {**SRNN, **changes}, "inference": {**ITERATIVE, "append_observation": True}})
    filter = filter.double().requires_grad_(False)
    return filter.scan(filter.initial(torch.arange(4)), xs)[1]


@pytest.mark.parametrize("likelihood", ["gaussian", "discretized", "discretized-authors"])
def test_units_change_nothing_but_the_units(likelihood: str) -> None:
    """Natural units with a centre and a scale give what standardised data with a standardised bin give."""
    standardised = torch.randn(5, 4, 6, dtype=torch.float64)
    natural = filtered(CENTER + SCALE * standardised, likelihood=likelihood, bin=BIN, center=CENTER, scale=SCALE)
    inside = filtered(standardised, likelihood=likelihood, bin=BIN / SCALE)
    shift = 6 * math.log(SCALE) if likelihood == "gaussian" else 0.0  # a density has units, a probability has none
    torch.testing.assert_close(natural.free_energy, inside.free_energy + shift)
    torch.testing.assert_close(natural.posterior.mean, inside.posterior.mean)
    torch.testing.assert_close(natural.prediction.mean, CENTER + SCALE * inside.prediction.mean)


def test_a_small_bin_costs_its_width() -> None:
    """For bins small against the deviation the log-probability is the log-density plus log bin."""
    x, output = torch.randn(3, 6, dtype=torch.float64), Gaussian(*torch.randn(2, 3, 6, dtype=torch.float64))
    units = Units(bin=1e-6, center=CENTER, scale=SCALE)
    density, bins = (
        emissions.build(name, {}, units=units, size=6).likelihood_of(output, {}).log_prob(x)
        for name in ("gaussian", "discretized")
    )
    torch.testing.assert_close(bins, density + math.log(1e-6), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("changes", [{"bin": 0.0}, {"bin": math.inf}, {"scale": -1.0}, {"center": math.nan}])
def test_units_that_make_no_sense_are_refused(changes: dict[str, float]) -> None:
    """The error names the field, and what it should hold."""
    with pytest.raises(ConfigurationError, match=f"{next(iter(changes))} is .* expected a"):
        Units(**changes)
