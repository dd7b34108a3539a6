"""docs/reliability.md names tests that there are, and every field that `make chaos` prints."""

import re
from pathlib import Path

from .checker import Findings
from .cluster import Cluster
from .faults import Faults
from .history import History
from .report import ZEROS, report

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_every_test_it_names_exists() -> None:
    """By file and function; and each promise names one."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
    promises = PAGE.partition("## Promises")[2].partition("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert rows
    assert all("::test_" in row for row in rows)


def test_every_field_of_the_report_is_explained() -> None:
    """What is printed stands in the page's last table; what must be zero is printed."""
    cluster = Cluster(Path(), model=Path(), servers=0, seed=0)
    counts = report(History(), {"group": Findings()}, Faults(cluster, 0, 1.0), seed=0)
    assert set(ZEROS) <= set(counts)
    explained = set(re.findall(r"`(\w+)`", PAGE.partition("## What `make chaos` prints")[2]))
    assert set(counts) | set(counts["by_durability"]["group"]) <= explained
