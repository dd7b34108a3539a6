"""Beliefs in slots: a tick gives what the filter gives, touches no other slot, and looks at no number on its way."""

import pytest
import torch

from avf_core import beliefs, checkpoints, intervals
from avf_core.drives import FREE
from avf_core.errors import ConfigurationError, ObservationError
from avf_core.inference.base import CONFIGURED
from avf_core.native import running
from avf_core.slots import Slots
from avf_core.trees import concatenate, take

from .pairs import make, observations

PAIRS = ["srnn-gated", "srnn-speech", "vrnn-iterative", "svg-dcgan"]


@pytest.mark.parametrize("name", PAIRS)
def test_ticks_are_steps_of_the_beliefs_in_their_slots(name: str) -> None:
    """In any order, with others between, padded or not; what was in no tick is as it was put."""
    filter = make(name).eval().requires_grad_(False)
    slots, xs = Slots(filter, 6), observations(filter, 3, 5)
    at = [4, 0, 5, 2, 3]
    expected = [filter.initial(torch.tensor([seed])) for seed in range(5)]
    slots.put(at, concatenate(expected))
    for x, who in zip(xs, ([0, 1, 2], [3, 1], [4, 2, 0, 1, 3]), strict=True):
        found = slots.tick([at[one] for one in who], x[who])
        together = filter.step(concatenate([expected[one] for one in who]), x[who])[1]
        for row, one in enumerate(who):
            expected[one], alone = filter.step(expected[one], x[one : one + 1])
            for ours, theirs in ((found, alone), (found, together)):
                place = 0 if theirs is alone else row
                torch.testing.assert_close(ours.free_energy[row], theirs.free_energy[place])
                torch.testing.assert_close(ours.posterior.mean[row], theirs.posterior.mean[place])
                torch.testing.assert_close(ours.prior.log_variance[row], theirs.prior.log_variance[place])
    for one in range(5):
        kept, other = beliefs.named(slots.take([at[one]])), beliefs.named(expected[one])
        for key, value in other.items():
            torch.testing.assert_close(kept[key], value)


def test_what_a_tick_cannot_do_is_refused() -> None:
    """A slot twice or out of range, observations that do not fit, no capacity."""
    filter = make("srnn-gated").eval()
    slots, x = Slots(filter, 2), observations(filter, 1, 2)[0]
    with pytest.raises(ConfigurationError, match="each at most once"):
        slots.tick([1, 1], x)
    with pytest.raises(ConfigurationError, match="numbers from 0 to 1"):
        slots.tick([0, 2], x)
    with pytest.raises(ObservationError, match="one a slot"):
        slots.tick([0], x)
    with pytest.raises(ObservationError, match="finite"):
        slots.tick([0, 1], x * float("nan"))
    with pytest.raises(ConfigurationError, match="from 1 up"):
        Slots(filter, 0)


@pytest.mark.parametrize("name", checkpoints.available())
def test_a_step_looks_at_no_number_on_the_device(name: str) -> None:
    """Tensors without numbers go through it, which is what a graph can hold."""
    filter = checkpoints.load(name).filter.eval().requires_grad_(False).to("meta")
    belief = filter.initial(torch.zeros(3, dtype=torch.int64, device="meta"))
    x = torch.zeros(3, filter.model.observation.size, device="meta")
    with running.using("off"):
        following, estimate = filter.step_rows(belief, x, observed=None, drive=FREE, effort=CONFIGURED)
    assert estimate.free_energy.shape == (3,)
    assert take(following, slice(0, 1)).step.shape == (1,)


def test_on_a_device_every_form_of_an_intervals_probability_is_chosen_by_element() -> None:
    """The same as where the forms are written over each other: narrow, wide and far ones."""
    generator = torch.Generator().manual_seed(0)
    a = 30.0 * torch.rand(1000, generator=generator)
    h = 10.0 ** (-4.0 + 5.0 * torch.rand(1000, generator=generator))
    found = intervals._everywhere(a, h, intervals._narrow(a, h, sloped=True))
    for ours, theirs in zip(found, intervals._parts(a, h, sloped=True), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", PAIRS)
def test_graphs_on_a_gpu_give_what_the_cpu_gives(name: str) -> None:
    """To 1e-3, over ticks of two sizes."""
    filter = make(name).eval().requires_grad_(False)
    xs, beside = observations(filter, 4, 3), Slots(filter, 3)
    beside.put([0, 1, 2], filter.initial(torch.arange(3)))
    expected = [beside.tick(list(range(3 - t % 2)), x[: 3 - t % 2]) for t, x in enumerate(xs)]
    on_gpu = make(name).eval().requires_grad_(False).to("cuda")
    slots = Slots(on_gpu, 3)
    slots.put([0, 1, 2], on_gpu.initial(torch.arange(3, device="cuda")))
    for t, x in enumerate(xs):
        found = slots.tick(list(range(3 - t % 2)), x[: 3 - t % 2])
        torch.testing.assert_close(found.free_energy, expected[t].free_energy, rtol=1e-3, atol=1e-3)
