"""An LSTM over a stretch is as many calls of it, and back again: by torch, and by the native executor."""

import pytest
import torch
from torch import Tensor

from avf_core.native import recurrences, running
from avf_core.nets import LearnedStartLSTM
from tests.support.native import needed

Result = list[Tensor]


def by_calls(lstm: LearnedStartLSTM, xs: Tensor) -> tuple[Tensor, Tensor]:
    """The states before each of `xs` and after the last, one call after another."""
    states = [lstm.initial(xs.shape[1])]
    for x in xs:
        states.append(lstm(x, *states[-1]))
    return torch.stack([hidden for hidden, _ in states]), torch.stack([cell for _, cell in states])


def differentiated(lstm: LearnedStartLSTM, xs: Tensor, states: tuple[Tensor, Tensor]) -> Result:
    """States, and the gradients of a function of both with respect to parameters and inputs."""
    wave = torch.sin(torch.arange(states[0].numel(), dtype=xs.dtype)).view_as(states[0])
    total = (states[0] * wave).sum() + (states[1] ** 2 * wave).sum()
    return [*states, *torch.autograd.grad(total, [xs, *lstm.parameters()])]


def example(hidden: int, *, dtype: torch.dtype) -> tuple[LearnedStartLSTM, Tensor]:
    """An LSTM of this size that begins somewhere, and seven inputs of five rows."""
    torch.manual_seed(1)
    lstm = LearnedStartLSTM(3, hidden).to(dtype)
    with torch.no_grad():
        lstm.initial_hidden.normal_()
        lstm.initial_cell.normal_()
    return lstm, torch.randn(7, 5, 3, dtype=dtype, requires_grad=True)


def test_a_stretch_is_as_many_calls() -> None:
    """In double precision by torch, to 1e-12."""
    lstm, xs = example(6, dtype=torch.float64)
    found = differentiated(lstm, xs, lstm.trajectory(xs, *lstm.initial(5)))
    for one, other in zip(found, differentiated(lstm, xs, by_calls(lstm, xs)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("choice", ["auto", "off"])
@pytest.mark.parametrize("hidden", [6, 32, 45])
def test_a_stretch_is_as_many_calls_in_single_precision(hidden: int, choice: running.Choice) -> None:
    """By either path, whatever the number of units beside whole vectors."""
    needed()
    lstm, xs = example(hidden, dtype=torch.float32)
    with running.using(choice):
        assert recurrences.possible(xs) == (choice != "off")
        found = differentiated(lstm, xs, lstm.trajectory(xs, *lstm.initial(5)))
        assert torch.equal(lstm.scan(xs, *lstm.initial(5)), found[0][1:])
    for one, other in zip(found, differentiated(lstm, xs, by_calls(lstm, xs)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-6)


def test_nothing_heard_changes_nothing() -> None:
    """A stretch of no steps has the states that it begins with."""
    lstm, xs = example(6, dtype=torch.float32)
    hiddens, cells = lstm.trajectory(xs[:0], *lstm.initial(5))
    assert torch.equal(hiddens, lstm.initial(5)[0][None])
    assert torch.equal(cells, lstm.initial(5)[1][None])


def test_rows_have_the_same_bits_by_any_number_of_threads() -> None:
    """Rows know nothing of each other."""
    needed()
    lstm, xs = example(45, dtype=torch.float32)
    alone, before = differentiated(lstm, xs, lstm.trajectory(xs, *lstm.initial(5))), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        together = differentiated(lstm, xs, lstm.trajectory(xs, *lstm.initial(5)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(alone[:3], together[:3], strict=True))
