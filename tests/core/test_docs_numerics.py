"""docs/numerics.md is true where a test can look: its constants are the code's, its tests exist, its formulas parse."""

import importlib
import re
from pathlib import Path

import pytest
import torch
from matplotlib.mathtext import MathTextParser

from avf_core import intervals, noise

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "numerics.md").read_text()
FORMULAS = re.findall(r"\$\$(.+?)\$\$", PAGE, flags=re.DOTALL)
INLINE = re.findall(r"\$([^$]+?)\$", re.sub(r"\$\$.+?\$\$", "", PAGE, flags=re.DOTALL))
CONSTANTS = re.findall(r"^\| `(avf_core\.[\w.]+)` \| (.+?) \|$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("name", "value"), CONSTANTS, ids=[name for name, _ in CONSTANTS])
def test_constants_are_those_of_the_code(name: str, value: str) -> None:
    """Each row of the table names one and gives its value."""
    module, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(module), attribute) == eval(value)


def test_the_text_gives_the_same_constants() -> None:
    """Where a figure stands in a sentence or in a table of its own."""
    assert "clamped to $[-15, 5]$" in PAGE
    for dtype, name in ((torch.float32, "(float32)"), (torch.float64, "(float64)")):
        assert f"{intervals.SMALL[dtype]:g} {name}" in PAGE
    streams = re.findall(r"^\| (?:from )?([\d, ]+|\$2\^\{\d+\}\$) \| ", PAGE, flags=re.MULTILINE)
    numbers = {int(n) for row in streams for n in re.findall(r"\d+", row) if "^" not in row}
    powers = {2 ** int(re.findall(r"\{(\d+)\}", row)[0]) for row in streams if "^" in row}
    named = {v for k, v in vars(noise).items() if k.isupper() and isinstance(v, int) and v < 2**63}
    assert numbers | powers == named - {noise.MULTIPLIER_1, noise.MULTIPLIER_2}


def test_every_claim_has_its_test() -> None:
    """Each section but the lists names a test file, and each suite of the library's heart is named somewhere."""
    for section in PAGE.split("\n## ")[1:-2]:
        assert re.search(r"`tests/core/test_\w+\.py`", section), section.splitlines()[0]
    for suite in ("identity", "gradients", "descent", "anytime", "noise", "discretized", "gaps", "lgssm", "bounds"):
        assert f"`tests/core/test_{suite}.py`" in PAGE


def test_formulas_parse() -> None:
    """Every one of them is LaTeX that matplotlib can set, whose repertoire is a part of what a browser knows."""
    assert len(FORMULAS) >= 15
    assert len(INLINE) >= 60
    parser = MathTextParser("path")
    for formula in [*FORMULAS, *INLINE]:
        parser.parse(f"${' '.join(formula.split())}$")


def test_anchors_lead_to_headings() -> None:
    """Those of the page itself."""
    headings = {
        re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-")
        for line in re.findall(r"^#+ (.+)$", PAGE, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings
