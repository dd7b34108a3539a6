"""Data in other units than a model's, or in other columns, are told by the names of the channels."""

import numpy as np

from avf_core.analysis import units

SETTINGS = {"model": {"kind": "srnn", "center": (15.0, 1013.0, 3.0), "scale": (8.0, 7.0, 2.0)}}
NAMES = ["temp [C]", "pressure [hPa]", "wind"]


def rows(seed: int = 0) -> np.ndarray:
    """Numbers as the model knows them, some of them missing."""
    found = np.random.default_rng(seed).normal((15.0, 1013.0, 3.0), (8.0, 7.0, 2.0), size=(200, 3))
    found[::7, 1] = np.nan
    return found


def test_what_is_in_its_units_is_not_told() -> None:
    """Nor is what of them is missing, or what a model says that does not standardise by channel."""
    assert units.warnings(SETTINGS, NAMES, [rows(), rows(1)]) == []
    assert units.warnings({"model": {"kind": "srnn"}}, NAMES, [1e6 * rows()]) == []
    gone = rows()
    gone[:, 2] = np.nan
    assert units.warnings(SETTINGS, None, [gone]) == []


def test_another_unit_and_swapped_columns_are_told_by_name() -> None:
    """Kelvin where Celsius was; and pressure where temperature was, with a guess at which column it is."""
    kelvin = rows() + np.array([273.0, 0.0, 0.0])
    (said,) = units.warnings(SETTINGS, NAMES, [kelvin])
    assert "temp [C] lies about 28" in said
    assert "about 15" in said
    assert "are its units the model's?" in said
    swapped = units.warnings(SETTINGS, NAMES, [rows()[:, [1, 0, 2]]])
    assert [text.partition(" lies")[0] for text in swapped] == NAMES[:2]
    assert "it looks like pressure [hPa]: are columns swapped?" in swapped[0]


def test_a_spread_that_is_another_is_told() -> None:
    """Millimetres where metres were lie about the same zero, and a thousand times as far."""
    settings = {"model": {"kind": "srnn", "center": (0.0,), "scale": (1.0,)}}
    values = np.random.default_rng(0).normal(size=(200, 1))
    assert units.warnings(settings, ["x"], [values]) == []
    assert len(units.warnings(settings, ["x"], [1000.0 * values])) == 1
