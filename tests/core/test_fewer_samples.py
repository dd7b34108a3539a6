"""Fewer gradient samples than a procedure is configured with: what a filter of so many does, on either path."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avf_core import configuration
from avf_core.errors import ConfigurationError
from avf_core.inference._descent import Config
from avf_core.native import running
from tests.support.native import needed

MODEL: dict[str, Any] = {
    "kind": "srnn",
    "observation_size": 3,
    "likelihood": "bernoulli",
    "hidden_size": 6,
    "latent_size": 4,
    "prior_widths": [6],
    "decoder_widths": [6],
}


def filtered(
    choice: running.Choice, samples: int | tuple[int, ...], *, antithetic: bool, told: int | None
) -> torch.Tensor:
    """F and the posterior's mean over four steps of five rows."""
    inference = {"kind": "iterative", "iterations": 3, "samples": samples, "antithetic": antithetic, "units": 6}
    torch.manual_seed(0)
    filter = configuration.build({"model": MODEL, "inference": inference}).eval()
    xs = (torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    found, belief = [], filter.initial(torch.arange(5))
    with torch.no_grad(), running.using(choice):
        for x in xs:
            belief, estimate = filter.step(belief, x, samples=told)
            posterior: Any = estimate.posterior
            found.append(torch.cat([estimate.free_energy[:, None], posterior.mean], 1))
    return torch.stack(found)


@pytest.mark.parametrize("choice", ["off", "float32"])
@pytest.mark.parametrize(
    ("samples", "antithetic", "told", "left"),
    [
        (8, True, 4, 4),
        (8, True, 3, 2),
        (8, True, 1, 2),
        ((2, 4, 8), True, 4, (2, 4, 4)),
        (5, False, 3, 3),
        ((1, 5), False, 2, (1, 2)),
        (4, True, 9, 4),
    ],
)
def test_a_step_of_fewer_samples_is_that_of_a_filter_of_so_many(
    choice: running.Choice, samples: Any, antithetic: bool, told: int, left: Any
) -> None:
    """Pairs stay pairs, noise and all; more than are configured change nothing."""
    if choice != "off":
        needed()
    ours = filtered(choice, samples, antithetic=antithetic, told=told)
    theirs = filtered(choice, left, antithetic=antithetic, told=None)
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=0.0)


def test_it_does_make_a_difference() -> None:
    """Two samples are not eight."""
    assert not torch.equal(*(filtered("off", 8, antithetic=True, told=told) for told in (None, 2)))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 12), st.booleans(), st.integers(0, 9))
def test_counts_are_those_of_each_iteration(counts: list[int], most: int, antithetic: bool, iterations: int) -> None:
    """By adding them up."""
    samples = tuple(2 * count for count in counts) if antithetic else tuple(counts)
    config = Config(samples=samples, antithetic=antithetic).at_most(most)
    limit = max(2, most - most % 2) if antithetic else most
    each = [min(samples[min(i, len(samples) - 1)], limit) for i in range(iterations)]
    assert [config.samples_of(i) for i in range(iterations)] == each
    assert config.samples_before(iterations) == sum(each)


def test_none_at_all_is_refused() -> None:
    """By name."""
    with pytest.raises(ConfigurationError, match="samples is 0"):
        filtered("off", 8, antithetic=True, told=0)
