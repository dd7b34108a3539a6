"""Observations on their way to the wire."""

import numpy as np
import pytest
from avf_client.errors import InvalidObservation
from avf_client.observations import ObservationLike, to_wire


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([1, 0.5], [1.0, 0.5]),
        ((True, False), [1.0, 0.0]),
        (np.array([1, 2], dtype=np.uint8), [1.0, 2.0]),
        ([float("nan"), 2.0], [None, 2.0]),
        ([None, 2.0], [None, 2.0]),
        (np.array([np.nan, np.nan], dtype=np.float32), [None, None]),
        (None, None),
    ],
)
def test_numbers_pass_and_missing_ones_become_null(x: ObservationLike, expected: list[float | None] | None) -> None:
    """NaN and None in a dimension mean that it is missing; None alone that all of it is."""
    assert to_wire(x, size=2) == expected


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0], r"\(1,\)"),
        (np.zeros((2, 1)), r"\(2, 1\)"),
        (np.float64(3.0), r"\(\)"),
        ([1.0, float("inf")], "dimension 1 .* infinite"),
        (["a", "b"], "not of numbers"),
        ([[1.0], [1.0, 2.0]], "not of numbers"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(x: ObservationLike, message: str) -> None:
    """A wrong dimension, an infinity, or no numbers at all; the error is that of the server's own refusal."""
    with pytest.raises(InvalidObservation, match=message) as caught:
        to_wire(x, size=2)
    assert caught.value.problem.status == 422
