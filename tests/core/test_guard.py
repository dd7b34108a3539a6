"""Updates beyond those that are trusted: what is compared is what inference stands at, and the prior."""

import pytest
import torch
from torch import Tensor

from avf_core.distributions import Gaussian
from avf_core.inference import _descent
from avf_core.inference.base import Effort
from avf_core.objectives import Gradient
from tests.core.pairs import make, observations

FAR = 40.0  # deviations of the prior


class Detour(_descent.Inference):
    """The first update, which is trusted, leaves the prior by far; each later one leads back by this factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.config = _descent.Config()
        self.factor = factor

    def trusted(self) -> int:
        return 1

    def begin(self, objective: object) -> dict[str, Tensor]:
        return {}

    def propose(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, memory: dict[str, Tensor], *, iteration: int
    ) -> tuple[Gaussian, dict[str, Tensor]]:
        away = FAR * prior.deviation if iteration == 0 else self.factor * (posterior.mean - prior.mean)
        return Gaussian(prior.mean + away, posterior.log_variance), memory


@pytest.mark.parametrize(("factor", "left"), [(0.5, 0.25), (2.0, 1.0)])
def test_what_is_worse_than_the_prior_may_still_be_better_than_before(factor: float, left: float) -> None:
    """Two updates that lead back half the way each are made, though the prior is better; those that lead on are not."""
    filter = make("lgssm-iterative", torch.float64)
    xs = observations(filter, 3, 8)
    belief, _ = filter.scan(filter.initial(torch.arange(8)), xs[:2], iterations=1)
    objective = filter.objective(belief, xs[2])
    found = Detour(factor).infer(objective, {}, effort=Effort(iterations=3))
    away = (found.posterior.mean - objective.prior.mean) / objective.prior.deviation
    torch.testing.assert_close(away, torch.full_like(away, left * FAR))
    assert found.iterations.tolist() == [3] * 8
