"""Anytime inference: what a step may spend, what it spent, and that rows may differ in it."""

import copy
import itertools

import pytest
import torch

from avf_core.configuration import build
from avf_core.errors import ConfigurationError
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.inference import _descent
from avf_core.native import running
from avf_core.trees import take
from tests.support.comparing import FIVE, close, exact

from .pairs import PAIRS, make, observations

pytestmark = pytest.mark.slow


def iterates(filter: Filter) -> bool:
    """Whether the filter's procedure is one that takes iterations."""
    return isinstance(filter.inference, _descent.Inference)


def reached(estimate: Estimate, row: int) -> torch.Tensor:
    """F of the iterates that a row came to."""
    return estimate.free_energies[row, : int(estimate.iterations[row]) + 1]


def posterior(estimate: Estimate, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log-variance of a row."""
    return estimate.posterior.mean[row], estimate.posterior.log_variance[row]


def test_fewer_iterations_are_a_prefix_of_more(pair: Filter) -> None:
    """Iterative procedures spend what they are told, and the first iterates do not depend on how many follow."""
    x = observations(pair, 1, 5)[0]
    _, many = pair.step(pair.initial(FIVE), x, iterations=4)
    _, few = pair.step(pair.initial(FIVE), x, iterations=2)
    if iterates(pair):
        torch.testing.assert_close(few.free_energies[:, :2], many.free_energies[:, :2])
        assert many.free_energies.shape[-1] == 5
        assert many.iterations.tolist() == [4] * 5
    else:
        exact(many, few)


def test_every_row_may_have_its_number_of_iterations(pair: Filter) -> None:
    """A row of a mixed batch is what it would be in a batch that is told its number; the last F is carried on."""
    x = observations(pair, 1, 5)[0]
    belief = pair.initial(FIVE)
    told = torch.tensor([0, 3, 1, 7, 2])
    following, mixed = pair.step(belief, x, iterations=told)
    if iterates(pair):
        assert mixed.iterations.tolist() == told.tolist()
    for row in range(5):
        one = slice(row, row + 1)
        after, uniform = pair.step(belief, x, iterations=int(told[row]))
        exact(posterior(mixed, row), posterior(uniform, row))
        exact(take(following, one), take(after, one))
        exact(reached(mixed, row), reached(uniform, row))
        carried = mixed.free_energies[row, int(mixed.iterations[row]) :]
        assert bool((carried == mixed.free_energy[row]).all())


def test_a_tolerance_stops_each_row_where_it_would_stop_alone(pair: Filter) -> None:
    """And a step that is told the iterations spent gives the same estimate. In double precision: twelve updates of an
    untrained filter carry a rounding of the batch's size a long way."""
    pair = copy.deepcopy(pair).double()
    x = observations(pair, 1, 5)[0]
    belief = pair.initial(FIVE)
    _, together = pair.step(belief, x, iterations=12, tolerance=0.05)
    for row in range(5):
        one = slice(row, row + 1)
        _, alone = pair.step(take(belief, one), x[one], iterations=12, tolerance=0.05)
        assert int(alone.iterations) == int(together.iterations[row])
        close(posterior(alone, 0), posterior(together, row))
        close(reached(alone, 0), reached(together, row))
    _, told = pair.step(belief, x, iterations=together.iterations)
    exact(told.posterior, together.posterior)


@pytest.mark.parametrize("name", ["srnn-gated", "srnn-adam", "srnn-keep_best", "lgssm-adam"])
def test_a_tolerance_saves_iterations(name: str) -> None:
    """A wide one stops all rows at once, a narrow one none; between them rows differ."""
    filter = make(name)
    x = observations(filter, 1, 64)[0]
    belief = filter.initial(torch.arange(64))
    with torch.no_grad():
        spent = [
            filter.step(belief, x, iterations=20, tolerance=tolerance)[1].iterations for tolerance in (1e9, 0.1, 0.0)
        ]
    assert spent[0].max() == 1
    assert spent[0].sum() < spent[1].sum() < spent[2].sum()
    assert len(spent[1].unique()) > 2
    assert spent[2].min() == 20


def test_rows_that_stop_early_changed_by_less_than_the_tolerance() -> None:
    """F of the last two iterates met is closer than the tolerance, that of those before is not."""
    filter = make("srnn-adam")
    x = observations(filter, 1, 64)[0]
    belief = filter.initial(torch.arange(64))
    with torch.no_grad():
        _, all_of_them = filter.step(belief, x, iterations=20)
        _, stopped = filter.step(belief, x, iterations=20, tolerance=0.1)
    for row, spent in enumerate(stopped.iterations.tolist()):
        changes = all_of_them.free_energies[row, :20].diff().abs()
        assert bool((changes[: spent - 1] >= 0.1).all())
        assert spent == 20 or float(changes[spent - 1]) < 0.1


def test_steps_with_different_efforts_are_scanned_as_one_estimate(pair: Filter) -> None:
    """Estimates of a scan are as wide as the longest of its steps; the last column is the final F."""
    xs = observations(pair, 4, 5)
    _, scanned = pair.scan(pair.initial(FIVE), xs, iterations=9, tolerance=0.3)
    torch.testing.assert_close(scanned.free_energies[..., -1], scanned.free_energy)
    assert scanned.free_energies.shape[-1] == int(scanned.iterations.max()) + 1
    belief = pair.initial(FIVE)
    for t in range(4):
        belief, single = pair.step(belief, xs[t], iterations=9, tolerance=0.3)
        exact(take(scanned.posterior, t), single.posterior)


class Clock:
    """A clock that moves on by a second whenever it is read."""

    def __init__(self) -> None:
        self.ticks = itertools.count()

    def perf_counter(self) -> float:
        """Seconds."""
        return float(next(self.ticks))


@pytest.mark.parametrize(("budget", "spent"), [(0.0, 0), (0.9, 0), (1.1, 1), (4.2, 2), (4.6, 3), (1e9, 12)])
def test_a_budget_of_seconds(monkeypatch: pytest.MonkeyPatch, budget: float, spent: int) -> None:
    """The prior is had for nothing; an iteration that would end too late is not begun; all are made if time allows.

    The clock is read at the start and before each iteration. Before the third, say, 3 seconds have gone for 2
    iterations, so that the third is expected to end at 4.5 seconds.
    """
    filter = make("srnn-gated")
    x = observations(filter, 1, 5)[0]
    monkeypatch.setattr("avf_core.inference._policies.time", Clock())
    with torch.no_grad(), running.using("off"):  # whose clock can be set
        _, estimate = filter.step(filter.initial(FIVE), x, iterations=12, budget=budget)
        _, told = filter.step(filter.initial(FIVE), x, iterations=spent)
    assert estimate.iterations.tolist() == [spent] * 5
    exact(estimate, told)


def test_rows_of_which_nothing_was_observed_spend_nothing(pair: Filter) -> None:
    """Their F has its minimum at the prior; it is 0 from the first iterate to the last."""
    x = observations(pair, 1, 5)[0]
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[2] = False
    _, estimate = pair.step(pair.initial(FIVE), x, observed=observed, iterations=3)
    assert int(estimate.iterations[2]) == 0
    assert estimate.iterations[[0, 1, 3, 4]].tolist() == [3 if iterates(pair) else 0] * 4
    torch.testing.assert_close(
        estimate.free_energies[2], torch.zeros_like(estimate.free_energies[2]), atol=1e-5, rtol=0
    )


WRONG = {
    "negative": ({"iterations": -1}, "0 or more"),
    "negative row": ({"iterations": torch.tensor([1, 2, -3, 4, 5])}, "0 or more"),
    "one a row": ({"iterations": torch.tensor([1, 2])}, "one a row"),
    "tolerance": ({"tolerance": -0.1}, "nats"),
    "nan": ({"tolerance": float("nan")}, "nats"),
    "budget": ({"budget": -1.0}, "seconds"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_limits_that_make_no_sense_are_refused(case: str) -> None:
    """The error says what was wrong and what was expected."""
    effort, words = WRONG[case]
    filter = make("srnn-gated")
    with pytest.raises(ConfigurationError, match=words):
        filter.step(filter.initial(FIVE), observations(filter, 1, 5)[0], **effort)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iterations": 0}, "at least 1"),
        ({"samples": 3, "antithetic": True}, "even number"),
        ({"common_samples": 3}, "even number"),
        ({"learning_rate": 0.0}, "positive rate"),
        ({"decay": -1.0}, "decay from 0 up"),
        ({"optimizer": "lbfgs"}, "expected one of 'adam', 'sgd'"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(changes: dict[str, object], words: str) -> None:
    """Each names the value and what is expected."""
    settings = {**PAIRS["srnn-adam"], "inference": {"kind": "gradient", **changes}}
    with pytest.raises(ConfigurationError, match=words):
        build(settings)
