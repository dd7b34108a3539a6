"""Beliefs as rows of bytes: what is no belief of the model is refused, and numbers that are not finite are found."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from avf_core import beliefs
from avf_core.belief_rows import BeliefRows
from avf_core.beliefs import Belief
from avf_core.errors import BeliefFormatError

MADE_BY = {"model": "m"}


def belief(*, rows: int = 3) -> Belief:
    """Some numbers of two types and a flag, in shapes of no axis to two."""
    generator = torch.Generator().manual_seed(rows)
    return Belief(
        model={
            "h": torch.randn(rows, 2, 3, generator=generator),
            "gate": torch.tensor([[True, False]]).expand(rows, 2),
        },
        inference={"rate": torch.rand(rows, generator=generator, dtype=torch.float64)},
        seed=torch.arange(rows),
        step=torch.full((rows,), 2**40),
    )


FORM = BeliefRows(belief(), provenance=MADE_BY)


def written(of: Belief, **provenance: str) -> bytes:
    """The file of the first row."""
    return beliefs.to_bytes(beliefs.unstack(of)[0], provenance=MADE_BY | provenance)


def test_rows_are_the_bodies_of_files() -> None:
    """Of every row, in the order in which the format lays tensors out; and they come back as they were."""
    rows = FORM.rows(belief())
    for row, one in zip(rows, beliefs.unstack(belief()), strict=True):
        file = beliefs.to_bytes(one, provenance=MADE_BY)
        assert file.endswith(row.numpy().tobytes())
        assert FORM.from_bytes(file) == row.numpy().tobytes()
        assert (
            beliefs.named(beliefs.from_bytes(FORM.to_bytes(row.numpy().tobytes()))).keys() == beliefs.named(one).keys()
        )
    found = beliefs.named(FORM.belief(rows))
    for name, tensor in beliefs.named(belief()).items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype


def test_a_belief_made_of_rows_shares_no_memory_with_them() -> None:
    """What is written into the rows afterwards changes nothing."""
    rows = FORM.rows(belief())
    made = FORM.belief(rows)
    rows.zero_()
    assert torch.equal(made.seed, belief().seed)


OTHERS: dict[str, Callable[[Belief], Belief]] = {
    "a shape": lambda of: replace(of, model=of.model | {"h": of.model["h"][:, :1]}),
    "a type": lambda of: replace(of, model=of.model | {"h": of.model["h"].double()}),
    "a tensor too many": lambda of: replace(of, inference=of.inference | {"more": of.seed}),
    "a tensor too few": lambda of: replace(of, inference={}),
}


@pytest.mark.parametrize("change", OTHERS)
def test_a_belief_of_another_form_is_refused(change: str) -> None:
    """Whether it is there, or in a file with the right header; the error names what is not as expected."""
    other = OTHERS[change](belief())
    with pytest.raises(BeliefFormatError, match=r"model\.h|inference"):
        FORM.rows(other)
    with pytest.raises(BeliefFormatError, match=r"model\.h|inference"):
        FORM.from_bytes(written(other))


@pytest.mark.parametrize("data", [written(belief())[:-1], b"", b"\0" * 40, written(belief(), model="other")])
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    """Cut, empty, no file at all, or of another model."""
    with pytest.raises(BeliefFormatError):
        FORM.from_bytes(data)


@pytest.mark.parametrize("name", ["model.h", "inference.rate"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_rows_that_are_not_finite_are_found(name: str, value: float) -> None:
    """In every tensor of numbers, and in no other row."""
    spoiled = belief()
    beliefs.named(spoiled)[name].view(3, -1)[1, -1] = value
    assert FORM.finite(FORM.rows(spoiled).numpy()).tolist() == [True, False, True]
