"""The contract of `Filter.step`, for every pair of model and inference procedure."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from avf_core import beliefs
from avf_core.belief_rows import BeliefRows
from avf_core.errors import BeliefFormatError, ObservationError
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.native import running
from avf_core.trees import take, tree_map, where
from tests.support.comparing import FIVE, assert_finite, close, exact

from .pairs import observations

pytestmark = pytest.mark.slow


def of_rows(estimates: Estimate, rows: slice) -> Estimate:
    """These rows of estimates with a time axis."""
    return tree_map(lambda t: t[:, rows], estimates)


def test_step_is_pure(pair: Filter) -> None:
    """The same arguments give the same result, and the arguments are as before."""
    x = observations(pair, 1, 5)[0]
    belief, _ = pair.step(pair.initial(FIVE), x)
    before = copy.deepcopy((belief, x))
    first, second = pair.step(belief, x), pair.step(belief, x)
    exact(first, second)
    exact(before, (belief, x))


def made_exact(pair: Filter) -> float:
    """To which difference a row is the same in another batch: natively to the last bit.

    By torch in double precision: single rounds differently by the size of a batch, and Adam makes whole steps of
    gradients that are little more than that.
    """
    if running.chosen() == "float32":
        return 0.0
    pair.double()
    return 1e-8


def test_any_batch_size_gives_the_same_rows(pair: Filter) -> None:
    """Any row of any batch, from 1 row to 257, is what it is in any other."""
    tolerance = made_exact(pair)
    xs = observations(pair, 3, 257)
    seeds = 1000 + torch.arange(257)
    _, together = pair.scan(pair.initial(seeds), xs)
    for first, size in ((0, 1), (128, 1), (256, 1), (3, 2), (5, 3), (20, 17), (100, 64), (57, 131)):
        rows = slice(first, first + size)
        _, apart = pair.scan(pair.initial(seeds[rows]), xs[:, rows])
        close(of_rows(together, rows), apart, tolerance=tolerance)


EFFORTS: dict[str, dict[str, Any]] = {
    "configured": {},
    "tolerance": {"iterations": 8, "tolerance": 0.05},
    "a number a row": {"iterations": torch.tensor([3, 0, 5, 1, 4])},
}


@pytest.mark.parametrize("effort", sorted(EFFORTS))
def test_rows_are_isolated(pair: Filter, effort: str) -> None:
    """Changing all other rows to extremes changes nothing in a row, whatever limits its inference."""
    xs = observations(pair, 3, 5)
    _, calm = pair.scan(pair.initial(FIVE), xs, **EFFORTS[effort])
    wild = xs.clone()
    wild[:, 1:] = 1.0 if pair.model.observation.high == 1.0 else 1e4
    _, stormy = pair.scan(pair.initial(FIVE), wild, **EFFORTS[effort])
    reached = int(calm.iterations[:, 0].max()) + 1
    first = (of_rows(replace(e, free_energies=e.free_energies[..., :reached]), slice(0, 1)) for e in (calm, stormy))
    exact(*first)


def test_resumed_from_bytes_equals_uninterrupted(pair: Filter) -> None:
    """A belief survives the way through bytes, row by row, bit for bit."""
    xs = observations(pair, 6, 5)
    end, whole = pair.scan(pair.initial(FIVE), xs)
    middle, _ = pair.scan(pair.initial(FIVE), xs[:3])
    stored = [beliefs.to_bytes(row, provenance={"model": "m"}) for row in beliefs.unstack(middle)]
    restored = beliefs.stack([beliefs.from_bytes(data, expected={"model": "m"}) for data in stored])
    resumed_end, rest = pair.scan(restored, xs[3:])
    exact(take(whole, slice(3, None)), rest)
    exact(end, resumed_end)


def test_a_belief_shares_no_memory_with_the_model(pair: Filter) -> None:
    """Changing the parameters later changes no belief that was made before."""
    belief, _ = pair.step(pair.initial(FIVE), observations(pair, 1, 5)[0])
    kept = [pair.initial(FIVE), belief]
    before = copy.deepcopy(kept)
    for parameter in pair.parameters():
        parameter.add_(1.0)
    for held, copied in zip(kept, before, strict=True):
        exact(held, copied)


def test_rows_of_bytes_are_what_to_bytes_writes_of_each_row(pair: Filter) -> None:
    """The shared header says the same, the tensors are the same bytes, and come back as they were; also from files."""
    belief, _ = pair.step(pair.initial(FIVE), observations(pair, 1, 5)[0])
    provenance = {"model": "m"}
    form = BeliefRows(pair.initial(FIVE), provenance=provenance)

    def parts(data: bytes) -> tuple[object, bytes]:
        length = 8 + int.from_bytes(data[:8], "little")
        return json.loads(data[8:length]), data[length:]

    expected = [parts(beliefs.to_bytes(row, provenance=provenance)) for row in beliefs.unstack(belief)]
    rows = form.rows(belief)
    files = [form.to_bytes(row.numpy().tobytes()) for row in rows]
    assert [parts(data) for data in files] == expected
    exact(form.belief(rows), belief)
    others = [beliefs.to_bytes(row, provenance=provenance) for row in beliefs.unstack(belief)]
    assert [form.from_bytes(data) for data in files + others] == [row.numpy().tobytes() for row in rows] * 2
    assert form.finite(rows.numpy()).all()


def test_reset_is_a_row_of_the_batch(pair: Filter) -> None:
    """Rows replaced by the initial belief in the middle go on as fresh sequences."""
    tolerance = made_exact(pair)
    xs = observations(pair, 5, 5)
    middle, _ = pair.scan(pair.initial(FIVE), xs[:2])
    reset = torch.tensor([False, True, False, False, True])
    mixed = where(reset, pair.initial(FIVE), middle)
    _, after = pair.scan(mixed, xs[2:])
    _, fresh = pair.scan(pair.initial(FIVE), xs[2:])
    _, whole = pair.scan(pair.initial(FIVE), xs)
    for row in range(5):
        one = slice(row, row + 1)
        expected = fresh if reset[row] else take(whole, slice(2, None))
        close(of_rows(after, one), of_rows(expected, one), tolerance=tolerance)


def test_nothing_observed_leaves_the_prior(pair: Filter) -> None:
    """Where all is missing the posterior is the prior and F is 0, NaN in the gap or not."""
    xs = observations(pair, 2, 5)
    belief, _ = pair.step(pair.initial(FIVE), xs[0])
    gap = torch.full_like(xs[1], float("nan"))
    following, estimate = pair.step(belief, gap, observed=torch.zeros_like(gap, dtype=torch.bool))
    torch.testing.assert_close(estimate.posterior.mean, estimate.prior.mean)
    torch.testing.assert_close(estimate.posterior.log_variance, estimate.prior.log_variance, rtol=1e-5, atol=1e-5)
    for value in (estimate.free_energy, estimate.kl, estimate.reconstruction):
        torch.testing.assert_close(value, torch.zeros(5), atol=1e-5, rtol=0)
    assert all(bool(t.isfinite().all()) for t in following.model.values())


def test_missing_dimensions_do_not_enter(pair: Filter) -> None:
    """What stands in a masked dimension changes nothing; a mask of ones is no mask."""
    x = observations(pair, 1, 5)[0]
    observed = torch.ones_like(x, dtype=torch.bool)
    exact(pair.step(pair.initial(FIVE), x), pair.step(pair.initial(FIVE), x, observed=observed))
    observed[:, 1] = False
    other = x.clone()
    other[:, 1] = float("nan")
    exact(
        pair.step(pair.initial(FIVE), x, observed=observed),
        pair.step(pair.initial(FIVE), other, observed=observed),
    )


def test_free_energy_is_reconstruction_plus_kl(pair: Filter) -> None:
    """And the last of the iterates' energies is the final one; KL is never negative."""
    _, e = pair.scan(pair.initial(FIVE), observations(pair, 4, 5))
    torch.testing.assert_close(e.free_energy, e.reconstruction + e.kl)
    torch.testing.assert_close(e.free_energies[..., -1], e.free_energy)
    assert float(e.kl.min()) >= -1e-5
    assert e.free_energies.shape[-1] == int(e.iterations[0, 0]) + 1


BAD = {
    "shape": (lambda x: x[:, :-1], "expected"),
    "batch": (lambda x: x[:-1], "one a row"),
    "nan": (lambda x: x.index_fill(1, torch.tensor([0]), float("nan")), "NaN"),
    "infinity": (lambda x: x.index_fill(1, torch.tensor([0]), float("inf")), "infinity"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_observations_that_do_not_fit_are_refused(pair: Filter, case: str) -> None:
    """The error says what was wrong and what was expected."""
    spoil, word = BAD[case]
    x = observations(pair, 1, 5)[0]
    with pytest.raises(ObservationError, match=word):
        pair.step(pair.initial(FIVE), spoil(x))


def extremes(time: int, size: int) -> Tensor:
    """A row each of 1e6, of -1e6, of the two in turns, of ones and of zeros."""
    turns = (-1.0) ** torch.arange(time)
    rows = [torch.full((time,), 1e6), torch.full((time,), -1e6), 1e6 * turns, torch.ones(time), torch.zeros(time)]
    return torch.stack(rows, dim=1)[..., None].repeat(1, 1, size)


@pytest.mark.parametrize("masked", [False, True])
def test_extreme_observations_give_finite_energies_or_a_typed_error(pair: Filter, masked: bool) -> None:
    """Neither 1e6 in every dimension, nor constants, nor NaN in a gap beside them crash or give NaN."""
    spec = pair.model.observation
    xs, observed = extremes(4, spec.size), None
    if masked:
        observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(0)) > 0.5
        xs = torch.where(observed, xs, float("nan"))
    if spec.high < 1e6:
        with pytest.raises(ObservationError, match="expected"):
            pair.scan(pair.initial(FIVE), xs, observed=observed)
        xs = xs.clamp(spec.low, spec.high)
    tree_map(assert_finite, pair.scan(pair.initial(FIVE), xs, observed=observed))


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "version", "model"])
def test_damaged_beliefs_are_refused_by_name(pair: Filter, damage: str) -> None:
    """Bytes that are no belief of this model are never misread."""
    data = beliefs.to_bytes(pair.initial(FIVE[:1]), provenance={"model": "m"})
    spoiled = {
        "truncated": data[:-3],
        "empty": b"",
        "garbage": b"\xff" * 64,
        "version": data.replace(b'"version":"1"', b'"version":"9"'),
        "model": data.replace(b'"model":"m"', b'"model":"n"'),
    }[damage]
    with pytest.raises(BeliefFormatError):
        beliefs.from_bytes(spoiled, expected={"model": "m"})
