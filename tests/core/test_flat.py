"""A step from rows of bytes to rows of bytes is the filter's own, with its predictions, bit for bit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from avf_core import flat
from avf_core.belief_rows import BeliefRows
from avf_core.filtering import Filter
from avf_core.flat import FlatStep
from avf_core.native import running
from tests.support.comparing import exact
from tests.support.native import needed

from .pairs import DESCRIBED, make, observations

ROWS, DRAWS = 3, 5


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    needed()
    with torch.no_grad(), running.using("float32"):
        yield


def flat_step(pair: Filter, *arguments: Any, **options: Any) -> FlatStep | None:
    engine = flat.executor(pair)
    return None if engine is None else flat.step(pair, engine, *arguments, **options)


def form_of(pair: Filter, **options: int) -> BeliefRows:
    return BeliefRows(pair.initial(torch.zeros(1, dtype=torch.int64), **options), provenance={"model": "m"})


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_flat_step_is_the_filter_s(name: str) -> None:
    """Two steps, the second from what the first left: beliefs to the byte, estimates and predictions to the bit."""
    pair, form = make(name), form_of(make(name))
    belief = pair.initial(torch.arange(ROWS))
    rows = form.rows(belief).numpy()
    for x in observations(pair, 2, ROWS):
        belief, estimate = pair.step(belief, x)
        done = flat_step(pair, form, rows, x.numpy(), iterations=None, samples=None, draws=DRAWS)
        assert done is not None
        rows = done.beliefs
        assert rows.tobytes() == form.rows(belief).numpy().tobytes()
        assert np.array_equal(done.score, estimate.score.numpy())
        assert np.array_equal(done.signs, estimate.signs.numpy())
        exact(done.likelihood, estimate.likelihood)
        exact(done.prediction, estimate.outlook.prediction(DRAWS))
        exact(done.prediction_at_prior_mean, estimate.prediction_at_prior_mean)
        told = (estimate.prior.mean, estimate.prior.log_variance, estimate.posterior.mean)
        for ours, theirs in zip(done.did.moments, told, strict=False):
            assert np.array_equal(ours, theirs.numpy())
        for field in ("z", "free_energy", "reconstruction", "kl", "free_energies", "iterations"):
            assert np.array_equal(getattr(done.did, field), getattr(estimate, field).numpy())


def test_fewer_iterations_and_samples_are_the_filter_s_too() -> None:
    """As deadlines ask for."""
    pair = make(DESCRIBED[0])
    form, x = form_of(pair), observations(pair, 1, ROWS)[0]
    belief = pair.initial(torch.arange(ROWS))
    following, _ = pair.step(belief, x, iterations=2, samples=2)
    done = flat_step(pair, form, form.rows(belief).numpy(), x.numpy(), iterations=2, samples=2, draws=DRAWS)
    assert done is not None
    assert done.beliefs.tobytes() == form.rows(following).numpy().tobytes()


def test_what_the_executor_does_not_compute_is_no_flat_step() -> None:
    """By torch, in double precision, with particles, and with something to look back on."""
    pair = make("srnn-whitened")
    x = observations(pair, 1, ROWS)[0].numpy()

    def taken(form: BeliefRows, x: np.ndarray = x, **options: int) -> bool:
        rows = form.rows(pair.initial(torch.arange(ROWS), **options)).numpy()
        return flat_step(pair, form, rows, x, iterations=None, samples=None, draws=DRAWS) is not None

    assert taken(form_of(pair))
    assert not taken(form_of(pair), x.astype(np.float64))
    assert not taken(form_of(pair, particles=4), particles=4)
    assert not taken(form_of(pair, particles=4, lag=2), particles=4, lag=2)
    with running.using("off"):
        assert not taken(form_of(pair))
