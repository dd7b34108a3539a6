"""Observations with what came with them, as rows of words, and as users give them."""

import math
import struct

import numpy as np
import pytest
from avf_client.errors import InvalidArgument, InvalidInputs, InvalidObservation, InvalidTime
from avf_client.observations import Sent, Step, steps_of, to_sent
from avf_wire.rows import Observed, RowForm
from hypothesis import given
from hypothesis import strategies as st

FORM = RowForm(size=2, input_size=3, timed=True)


def test_a_row_has_the_layout_that_is_documented() -> None:
    """Observation and inputs as f32, then the time as f64, little-endian; NaN where it was not said."""
    observed = Observed(x=np.float32([1.5, np.nan]), inputs=np.float32([1, 2, 3]), time=1.7e9 + 0.1)
    row = FORM.row(observed)
    assert len(row) == FORM.words == 7
    assert row.tobytes() == struct.pack("<5fd", 1.5, math.nan, 1, 2, 3, 1.7e9 + 0.1)
    assert FORM.row(Observed(x=observed.x, inputs=observed.inputs)).tobytes().endswith(struct.pack("<d", math.nan))
    assert RowForm(size=2).row(Observed(x=observed.x)) is observed.x


@given(
    time=st.none() | st.floats(allow_nan=False),
    numbers=st.lists(st.floats(width=32, allow_nan=False), min_size=5, max_size=5),
)
def test_what_is_in_a_row_comes_out_of_it(time: float | None, numbers: list[float]) -> None:
    """To the bit, whatever the time is: its words are no numbers of 32 bits."""
    x, inputs = np.float32(numbers[:2]), np.float32(numbers[2:])
    read = FORM.observed(FORM.row(Observed(x=x, inputs=inputs, time=time)))
    assert read.inputs is not None
    assert (read.x.tobytes(), read.inputs.tobytes(), read.time) == (x.tobytes(), inputs.tobytes(), time)


WIDE = RowForm(size=2, input_size=3, timed=True, wide=True)


def test_a_row_of_a_model_of_64_bits_is_wide() -> None:
    """All of its numbers are f64, and one of 32 bits is read, too, for what it says."""
    observed = Observed(x=np.array([0.1, np.nan]), inputs=np.array([1.1, 2, 3]), time=1.7e9 + 0.1)
    row = WIDE.row(observed)
    assert row.tobytes() == struct.pack("<6d", 0.1, math.nan, 1.1, 2, 3, 1.7e9 + 0.1)
    read, narrow = WIDE.observed(row), WIDE.observed(FORM.row(observed))
    assert read.inputs is not None
    assert narrow.inputs is not None
    assert (read.x[0], *read.inputs, read.time) == (0.1, 1.1, 2.0, 3.0, 1.7e9 + 0.1)
    assert (narrow.x[0], *narrow.inputs, narrow.time) == (np.float32(0.1), np.float32(1.1), 2.0, 3.0, 1.7e9 + 0.1)


@pytest.mark.parametrize("length", [0, 2, 5, 6, 8])
def test_a_row_of_another_length_is_handed_on_as_it_is(length: int) -> None:
    """It is refused by whoever checks observations, by its length."""
    read = FORM.observed(np.zeros(length, dtype=np.float32))
    assert (len(read.x), read.inputs, read.time) == (length, None, None)


def test_users_give_steps_in_any_form() -> None:
    """Arrays, lists, masks; numbers come to the wire as they are, and a model without inputs takes an empty list."""
    assert to_sent(Step([1, None], np.array([1, 2, 3]), 5), FORM) == Sent([1.0, None], [1.0, 2.0, 3.0], 5.0)
    assert to_sent(Step(None, [1, 2, 3]), FORM) == Sent(None, [1.0, 2.0, 3.0], None)
    assert to_sent([1, 2], RowForm(size=2)) == Sent([1.0, 2.0])
    assert to_sent(Step([1, 2], []), RowForm(size=2)) == Sent([1.0, 2.0])


@pytest.mark.parametrize(
    ("step", "form", "error", "words"),
    [
        (Step([1, 2]), FORM, InvalidInputs, "takes 3 inputs a step, none came"),
        (Step([1, 2], [1, 2]), FORM, InvalidInputs, r"shape \(2,\), the model takes \(3,\)"),
        (Step([1, 2], [1, math.nan, 2]), FORM, InvalidInputs, "missing, or not finite"),
        (Step([1, 2], [1, 1e39, 2]), FORM, InvalidInputs, "missing, or not finite"),
        (Step([1, 2], ["a", "b", "c"]), FORM, InvalidInputs, "not numbers"),  # type: ignore[list-item]
        (Step([1, 2], [1]), RowForm(size=2), InvalidInputs, r"the model takes \(0,\)"),
        (Step([1, 2], [1, 2, 3], math.inf), FORM, InvalidTime, "expected a finite number"),
        (Step([1, 2], time=1.0), RowForm(size=2), InvalidTime, "all alike"),
        (Step([1], [1, 2, 3]), FORM, InvalidObservation, "shape"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(
    step: Step, form: RowForm, error: type[Exception], words: str
) -> None:
    """By the problem that the server would have for it."""
    with pytest.raises(error, match=words):
        to_sent(step, form)


def test_columns_beside_observations_are_as_many() -> None:
    """And are not given twice."""
    xs = [[0.0, 1.0], None]
    steps = steps_of(xs, inputs=np.zeros((2, 3)), times=iter([1.0, None]))
    assert [each.time for each in steps if isinstance(each, Step)] == [1.0, None]
    assert steps_of(xs) == xs
    with pytest.raises(InvalidArgument, match="1 inputs and 2 times for 2 observations"):
        steps_of(xs, inputs=[[0.0]])
    with pytest.raises(InvalidArgument, match="leave inputs and times out"):
        steps_of([Step(None)], times=[1.0])
