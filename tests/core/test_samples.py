"""Gradient samples may differ from iteration to iteration."""

import pytest
import torch

from avf_core import configuration, noise
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference import _descent

from .pairs import ITERATIVE, SRNN, observations

pytestmark = pytest.mark.usefixtures("shapes_unchecked")

ROWS = torch.arange(5)


def made(samples: int | list[int], *, antithetic: bool = False, iterations: int = 4) -> Filter:
    """A small SRNN whose inference takes these samples, with the weights of all others here."""
    torch.manual_seed(0)
    inference = ITERATIVE | {"iterations": iterations, "samples": samples, "antithetic": antithetic}
    return configuration.build({"model": SRNN, "inference": inference}).eval().requires_grad_(False)


@torch.no_grad()
@pytest.mark.parametrize("antithetic", [False, True])
def test_one_number_is_the_same_as_that_number_each_time(antithetic: bool) -> None:
    """Bit for bit, also where fewer numbers are given than there are iterations: the last one holds on."""
    one, each, last = (made(samples, antithetic=antithetic) for samples in (4, [4, 4, 4, 4], [4, 4]))
    xs = observations(one, 3, 5)
    _, found = one.scan(one.initial(ROWS), xs)
    for other in (each, last):
        _, again = other.scan(other.initial(ROWS), xs)
        assert torch.equal(found.free_energies, again.free_energies)
        assert torch.equal(found.posterior.mean, again.posterior.mean)


@torch.no_grad()
@pytest.mark.parametrize("antithetic", [False, True])
def test_each_iteration_takes_its_own_number_from_streams_of_its_own(antithetic: bool) -> None:
    """As many as it was told, the same together as one by one, and none of them twice."""
    filter = made([2, 2, 4, 8], antithetic=antithetic)
    xs = observations(filter, 1, 5)
    objective = filter.objective(filter.initial(ROWS), xs[0])
    inference = filter.inference
    assert isinstance(inference, _descent.Inference)
    together = inference.draws(objective, range(6))
    assert [len(each) for each in together] == [2, 2, 4, 8, 8, 8]
    for iteration, each in enumerate(together):
        assert torch.equal(each, inference.draw(objective, iteration))
    streams = inference.streams(range(6))
    assert len(streams) == len(set(streams)) == (16 if antithetic else 32)
    assert min(streams) == noise.ITERATION
    assert inference.config.samples_before(6) == 32


@torch.no_grad()
def test_a_step_that_is_cut_short_is_the_beginning_of_the_whole_one() -> None:
    """What iterations there are does not depend on how many there will be."""
    filter = made([2, 4, 6])
    xs = observations(filter, 1, 5)
    _, whole = filter.step(filter.initial(ROWS), xs[0])
    _, cut = filter.step(filter.initial(ROWS), xs[0], iterations=2)
    assert torch.equal(cut.free_energies[:, :2], whole.free_energies[:, :2])


@pytest.mark.parametrize("samples", [0, [], [2, 0], [4, 3]])
def test_numbers_that_make_no_sense_are_refused(samples: int | list[int]) -> None:
    """None, and odd ones in pairs."""
    with pytest.raises(ConfigurationError, match="samples"):
        made(samples, antithetic=True)
