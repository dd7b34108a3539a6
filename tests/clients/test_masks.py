"""Arrays as science has them: what a mask covers is missing, wherever an observation enters; what is no number is told.

The truth of each is the same array with NaN written in, where numpy's own promises end.
"""

import datetime
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from avf_client import Client, errors
from avf_client.gym import BeliefObservation, FilterEnv, FilterVectorEnv
from avf_client.observations import to_wire
from avf_client.sound import to_bytes
from avf_sources import NotNumbersError, numbers
from hypothesis import given
from hypothesis import strategies as st

from avf_core.data import numbers as sequence_of

BEHIND = (0.0, 1e30, -1e300, float("nan"), float("inf"))


def masked(values: Any, mask: Any, behind: float) -> np.ma.MaskedArray:
    """An array with `behind` in the place of what the mask covers."""
    data = np.where(mask, behind, np.asarray(values, dtype=np.float64))
    return np.ma.masked_array(data, mask=mask)


class Framed:
    """What a table library's column looks like to numpy: no array, but `__array__`."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array if dtype is None else self.array.astype(dtype)


@given(
    cells=st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=1, max_size=8),
    behind=st.sampled_from(BEHIND),
)
def test_what_a_mask_covers_reaches_nothing(cells: list[tuple[float, bool]], behind: float) -> None:
    """Whatever stands there, bit for bit: as one array, as a list of cells, as a row of a list."""
    values, mask = [v for v, _ in cells], [m for _, m in cells]
    expected = np.where(mask, np.nan, values)
    array = masked(values, mask, behind)
    rows: list[Any] = [array, list(array), tuple(array), [array][0], Framed(expected)]
    for row in rows:
        np.testing.assert_array_equal(numbers(row), expected)
        assert to_wire(row, size=len(values)) == [None if m else v for v, m in cells]
    for matrix in ([array, array], np.ma.stack([array, array]), [list(array), array], [array, values]):
        np.testing.assert_array_equal(numbers(matrix)[0], expected)
    np.testing.assert_array_equal(sequence_of(np.ma.stack([array])), expected[None])


REAL = {
    "booleans": np.array([True, False]),
    "bytes": np.array([1, 200], dtype=np.uint8),
    "signed bytes at their end": np.array([-128, 127], dtype=np.int8),
    "unsigned, large": np.array([0, 2**63], dtype=np.uint64),
    "half floats": np.array([0.5, 65504], dtype=np.float16),
    "big-endian": np.array([1.5, -2.5], dtype=">f8"),
    "big-endian integers": np.array([1, -2], dtype=">i4"),
    "long doubles": np.array([1.5, 2.5], dtype=np.longdouble),
    "every second one": np.arange(4.0)[::2],
    "a column in Fortran's order": np.asfortranarray(np.arange(4.0).reshape(2, 2))[:, 1],
    "read-only": np.frombuffer(np.array([1.0, 2.0]).tobytes()),
    "a table's column": Framed(np.array([1, 2])),
    "fractions and decimals": [Fraction(1, 2), Decimal("0.25")],
    "objects": np.array([1, 2.5], dtype=object),
    "masked integers": np.ma.masked_array([1, 99], mask=[False, True]),
    "masked booleans": np.ma.masked_array([True, True], mask=[False, True]),
    "masked objects": np.ma.masked_array(np.array([1.0, "behind"], dtype=object), mask=[False, True]),
    "a masked cell in a list": [1.0, np.ma.masked],
    "None in a list": [None, 1.0],
    "None in an array": np.array([None, 1.0], dtype=object),
    "nothing masked": np.ma.masked_array([1.0, 2.0], mask=False),
}


@pytest.mark.parametrize("kind", REAL)
def test_numbers_of_any_kind_are_the_same_numbers(kind: str) -> None:
    """One by one, in Python's own arithmetic."""
    x = REAL[kind]
    cells = x.array.tolist() if isinstance(x, Framed) else x.tolist() if isinstance(x, np.ndarray) else x
    expected = [None if v is None or v is np.ma.masked else float(v) for v in cells]
    assert to_wire(x, size=2) == expected


UNREAL: dict[str, tuple[Any, str]] = {
    "complex": (np.array([1 + 2j, 0]), "complex numbers"),
    "complex without imaginary parts": (np.array([1 + 0j, 0]), "complex numbers"),
    "complex in a list": ([1 + 2j, 0.0], "complex numbers"),
    "complex objects": (np.array([1 + 2j, 0.0], dtype=object), "no real number"),
    "masked complex": (np.ma.masked_array([1 + 2j, 0], mask=[True, False]), "complex numbers"),
    "digits as text": (["1.0", "2.0"], "text"),
    "digits as bytes": (np.array([b"1", b"2"]), "text"),
    "text among numbers": (np.array([1.0, "2"], dtype=object), "no real number"),
    "dates": (np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"), "dates"),
    "spans of time": (np.array([1, 2], dtype="m8[s]"), "spans of time"),
    "Python's dates": ([datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)] * 2, "no real number"),
    "records": (np.zeros(2, dtype=[("x", "f4")]), "records"),
    "dictionaries": ([{}, {}], "no real number"),
    "of rows of two lengths": ([[1.0], [1.0, 2.0]], "not an array"),
    "an integer without end": ([10**400, 1], "not an array"),
}


@pytest.mark.parametrize("kind", UNREAL)
def test_what_is_no_real_number_is_refused(kind: str) -> None:
    """With what it is; at every door of the client in the same words."""
    bad, message = UNREAL[kind]
    with pytest.raises(NotNumbersError, match=message):
        numbers(bad)
    with pytest.raises(errors.InvalidObservation, match=message):
        to_wire(bad, size=2)
    with pytest.raises(errors.InvalidObservation, match=message):
        to_bytes(bad, encoding="s16")


@pytest.mark.parametrize("far", [3.5e38, -1e300, np.longdouble("1e4000"), 10**39])
def test_what_float32_cannot_hold_is_refused(far: Any) -> None:
    """It would be an infinity where the model computes."""
    with pytest.raises(errors.InvalidObservation, match=r"dimension 1 .* beyond float32"):
        to_wire(np.array([0, far]), size=2)


@pytest.mark.parametrize("kind", ["f2", ">f2", "f4", ">f4", "f8", "g"])
def test_full_scale_is_the_loudest_level_of_every_float(kind: str) -> None:
    """1 is 32767 and never -32768; the rest are the nearest levels, found in Python's integers."""
    x = np.array([1.0, -1.0, 0.99951, -0.99951, 0.5, 2.0**-15, 0.0], dtype=kind)
    levels = np.frombuffer(to_bytes(x, encoding="s16"), "<i2").tolist()
    assert levels == [max(-32768, min(32767, round(float(v) * 32768))) for v in x]
    np.testing.assert_array_equal(np.frombuffer(to_bytes(x, encoding="f32"), "<f4"), x.astype(np.float32))


def test_samples_of_16_bits_may_be_in_either_order_of_bytes() -> None:
    """What a big-endian file holds is the same sound; sound that is masked is none."""
    levels = np.array([-32768, 32767, 1, -2])
    for encoding in ("s16", "f32"):
        big, little = (to_bytes(levels.astype(kind), encoding=encoding) for kind in (">i2", "<i2"))
        assert big == little
    assert to_bytes(np.ma.masked_array([0.5, 0.25]), encoding="s16") == to_bytes([0.5, 0.25], encoding="s16")
    for behind in (np.ma.masked_array([0.5, 9.0], mask=[False, True]), np.ma.masked_array([1, 2], mask=True)):
        with pytest.raises(errors.InvalidObservation, match="masked samples"):
            to_bytes(behind, encoding="s16")


def _actions(behind: float) -> np.ma.MaskedArray:
    keys = np.arange(88)
    return masked(keys % 3 == 0, keys % 5 == 0, behind)


def test_environments_take_masks_as_gaps(checkpoint: Path) -> None:
    """Energies and posteriors with NaN written in, alone and among other rows, bit for bit."""
    told = []
    for x in (np.ma.filled(_actions(0.0), np.nan), *(_actions(behind) for behind in BEHIND)):
        env, rows = FilterEnv(checkpoint), FilterVectorEnv(2, checkpoint)
        env.reset(seed=1)
        rows.reset(seed=1)
        seen, *_, info = env.step(x)
        many, *_ = rows.step(np.ma.stack([x, x]))
        told.append(
            [info["free_energy"], *(seen[name].tobytes() for name in sorted(seen)), many[sorted(many)[0]].tobytes()]
        )
        env.close()
        rows.close()
    assert all(each == told[0] for each in told)


class Gap(gymnasium.Env[Any, Any]):
    """An environment whose sensor has a gap, which it shows as a mask."""

    def __init__(self, make: Callable[[], Any], space: gymnasium.Space[Any]) -> None:
        self.make, self.observation_space = make, space
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.make(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.make(), 0.0, False, False, {}


@pytest.mark.parametrize("behind", BEHIND)
def test_beliefs_about_environments_take_masks_as_gaps(gaussian: Path, behind: float) -> None:
    """A sensor that shows a mask is one that shows NaN, alone or as a part of what is seen."""
    box = gymnasium.spaces.Box(-9, 9, (3,))
    parts = gymnasium.spaces.Dict({"a": gymnasium.spaces.Box(-9, 9, (2,)), "b": gymnasium.spaces.Box(-9, 9, (1,))})
    row = masked([1.0, 2.0, -1.0], [False, True, False], behind)
    plain = np.array([1.0, np.nan, -1.0])
    shown = [(lambda: plain, box), (lambda: row, box), (lambda: {"a": row[:2], "b": row[2:]}, parts)]
    found = []
    for make, space in shown:
        env = BeliefObservation(Gap(make, space), gaussian)
        found.append([env.reset(seed=4)[0], env.step(0)[0]])
        env.close()
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.slow
def test_a_session_filters_masks_as_gaps(server: str) -> None:
    """Steps and streams through a real server: the estimates of NaN, whatever the mask covers."""
    plain = np.ma.filled(_actions(0.0), np.nan)
    told = []
    with Client(server) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (plain, *(_actions(behind) for behind in BEHIND)):
            with client.session("tiny", seed=3) as session:
                one = session.step(x)
                several = list(session.stream(np.ma.stack([x, x])))
            told.append([one.free_energy, *(e.free_energy for e in several), one.posterior_mean.tobytes()])
    assert all(each == told[0] for each in told)
