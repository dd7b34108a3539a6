"""Filters that are derived from `Filter`, or changed in place: what they override is what is computed."""

import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from avf_core.beliefs import Belief, State
from avf_core.filtering import Filter
from avf_core.native import running
from avf_core.objectives import StepObjective
from tests.support.comparing import exact
from tests.support.native import needed

from .pairs import make, observations


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    needed()
    with torch.no_grad():
        yield


class Tempered(Filter):
    """F with half of its KL divergence."""

    def objective(self, belief: Belief, x: Tensor, **options: Any) -> StepObjective:
        """The same, weighted."""
        return super().objective(belief, x, **{**options, "kl_weight": 0.5})


class Forgetful(Filter):
    """A filter that feeds back half of what it sampled."""

    def advance(self, belief: Belief, objective: StepObjective, *, x: Tensor, z: Tensor, inference: State) -> Belief:
        """With the latent halved."""
        return super().advance(belief, objective, x=x, z=0.5 * z, inference=inference)


class Deaf(Filter):
    """A filter whose predictions are of observations at the first step."""

    def expecting(self, belief: Belief, drive: Any) -> StepObjective:
        """The objective of step 0."""
        return super().expecting(replace(belief, step=torch.zeros_like(belief.step)), drive)


@pytest.mark.parametrize("derived", [Tempered, Forgetful, Deaf])
def test_what_a_derived_filter_overrides_is_computed(derived: type[Filter]) -> None:
    """Steps and predictions are those of the class, whatever was asked for, and other than its base's."""
    base = make("srnn-gated")
    pair = derived(base.model, base.inference).eval().requires_grad_(False)
    xs = observations(pair, 3, 4)

    def found(filter: Filter, choice: running.Choice) -> tuple[Belief, Tensor, Tensor]:
        with running.using(choice):
            belief, estimates = filter.scan(filter.initial(torch.arange(4)), xs)
            return belief, estimates.free_energy, estimates.prediction.mean

    exact(found(pair, "off"), found(pair, "float32"))
    changed = [torch.equal(a, b) for a, b in zip(found(base, "off")[1:], found(pair, "off")[1:], strict=True)]
    assert not all(changed)


def test_what_is_overridden_on_one_filter_alone_is_computed() -> None:
    """A method that was set on an object, too."""
    pair = make("srnn-gated")
    pair.advance = types.MethodType(Forgetful.advance, Forgetful(pair.model, pair.inference))  # type: ignore[method-assign]
    x = observations(pair, 1, 4)[0]
    results = []
    for choice in ("off", "float32"):
        with running.using(choice):
            results.append(pair.step(pair.initial(torch.arange(4)), x)[0])
    exact(results[0], results[1])


def test_a_filter_that_only_adds_is_computed_natively() -> None:
    """A derived class that overrides none of these has an engine."""

    class Named(Filter):
        """A filter with a name."""

        name = "mine"

    base = make("srnn-gated")
    pair = Named(base.model, base.inference).eval().requires_grad_(False)
    belief = pair.initial(torch.arange(2))
    with running.using("float32"):
        assert pair.executor(*belief.model.values()) is not None
        assert Tempered(base.model, base.inference).executor(*belief.model.values()) is None
