"""Gaps: steps of which nothing was observed, one by one under a mask or skipped."""

from typing import Any

import pytest
import torch
from torch import Tensor

from avf_core.beliefs import Belief
from avf_core.errors import ObservationError
from avf_core.filtering import Filter
from avf_core.models import lgssm
from avf_core.trees import take
from tests.support.comparing import FIVE, exact

from .pairs import make, observations


def masked(filter: Filter, belief: Belief, count: int) -> Belief:
    """The belief after this many steps with nothing observed."""
    gap = torch.full((belief.batch_size, filter.model.observation.size), float("nan"))
    for _ in range(count):
        belief, _ = filter.step(belief, gap, observed=torch.zeros_like(gap, dtype=torch.bool))
    return belief


@pytest.fixture
def belief(pair: Filter) -> Belief:
    """The belief of five sequences after two observations."""
    return pair.scan(pair.initial(FIVE), observations(pair, 2, 5))[0]


def test_skipping_is_filtering_with_nothing_observed(pair: Filter, belief: Belief) -> None:
    """Bit for bit, for any number of steps, the state of a recurrent procedure included."""
    for count in (0, 1, 3):
        exact(pair.skip(belief, count), masked(pair, belief, count))


def test_every_row_may_skip_its_number_of_steps(pair: Filter, belief: Belief) -> None:
    """A row is what it would be if all were told its number; the argument is as before."""
    counts = torch.tensor([2, 0, 3, 1, 0])
    skipped = pair.skip(belief, counts)
    assert (skipped.step - belief.step).tolist() == counts.tolist()
    for row in range(5):
        one = slice(row, row + 1)
        exact(take(skipped, one), take(pair.skip(belief, int(counts[row])), one))


@pytest.mark.parametrize("count", [-1, torch.tensor([1, -1, 0, 0, 0]), torch.tensor([1, 2])])
def test_what_cannot_be_skipped_is_refused(count: int | Tensor) -> None:
    """The error says what is expected."""
    filter = make("srnn-gated")
    with pytest.raises(ObservationError, match="a number from 0 up, or one a row"):
        filter.skip(filter.initial(FIVE), count)


def test_a_gap_is_a_sample_of_the_model() -> None:
    """After skipping, the next prior's moments are those of the linear Gaussian model run on without observations."""
    filter = make("lgssm-exact", torch.float64)
    model = filter.model
    assert isinstance(model, lgssm.Model)
    with torch.no_grad():
        model.dynamics.copy_(torch.tensor([[0.9, 0.4], [-0.2, 0.7]]))
        model.initial_mean.copy_(torch.tensor([1.0, -2.0]))
        model.process_log_variance.copy_(torch.tensor([0.3, -0.5]))
        count, rows = 4, 200_000
        belief = filter.skip(filter.initial(torch.arange(rows)), count)
        mean, covariance = model.initial_mean.clone(), torch.diag(model.initial_log_variance.exp())
        for _ in range(count - 1):
            mean = model.dynamics @ mean
            covariance = model.dynamics @ covariance @ model.dynamics.T + torch.diag(model.process_log_variance.exp())
        mean, covariance = model.dynamics @ mean, model.dynamics @ covariance @ model.dynamics.T
    found = belief.model["mean"]
    error = (covariance.diagonal() / rows).sqrt()
    assert bool(((found.mean(0) - mean).abs() < 4.0 * error).all())
    # Var of a sample covariance's entry (Isserlis): (S_ii S_jj + S_ij^2) / n.
    scale = ((torch.outer(covariance.diagonal(), covariance.diagonal()) + covariance**2) / rows).sqrt()
    assert bool(((found.T.cov() - covariance).abs() < 4.0 * scale).all())


def test_the_prediction_is_decoded_once_under_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step without iterations decodes twice, at the prior's mean and at the sample; skipping once."""
    filter = make("lgssm-exact")
    decoded: list[int] = []
    original = filter.model.decode

    def counting(*arguments: Any) -> Any:
        decoded.append(1)
        return original(*arguments)

    monkeypatch.setattr(filter.model, "decode", counting)
    x = observations(filter, 1, 5)[0]
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[:, 0] = False
    filter.step(filter.initial(FIVE), x, observed=observed)
    assert len(decoded) == 2
    filter.skip(filter.initial(FIVE), 1)
    assert len(decoded) == 3


def test_the_belief_after_a_gap_filters_on(pair: Filter, belief: Belief) -> None:
    """The next estimate is finite, and its noise is that of its own step."""
    x = observations(pair, 1, 5, seed=9)[0]
    _, after = pair.step(pair.skip(belief, 2), x)
    assert bool(after.free_energy.isfinite().all())
    exact(after, pair.step(masked(pair, belief, 2), x)[1])
