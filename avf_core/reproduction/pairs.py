"""What is ahead of what, by paired tests: the records in `pairs/` as `avf compare --json` writes them, as a table.

The law: of two, one is called ahead where both p-values, of Student's t and of flipped signs, are below 0.01, and
nowhere else; all other differences are called unproven.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avf_core.analysis import student
from avf_core.analysis.comparison import is_proven
from avf_core.reproduction.measurements import Kind

PAIRS = Kind(
    folder="pairs",
    keys=("a", "b", "data", "split", "sequences", "difference", "standard_error", "p_t", "p_flips"),
    command="avf compare A B --data PATH --json",
)


def verdict(found: Mapping[str, Any]) -> str:
    """Which of the two is ahead, where that is proven."""
    if not is_proven(found["p_t"], found["p_flips"]):
        return "unproven"
    return f"{found['a' if found['difference'] < 0.0 else 'b']['model']} is ahead"


def section(results: Path) -> str:
    """The table; empty where there is no record."""
    found = PAIRS.load(results)
    if not found:
        return ""
    return "\n".join(
        [
            "## What is ahead of what\n",
            "First less second, nats per step, paired by sequence (± over sequences). `avf compare` writes the records",
            "in `results/pairs/`, of codecs and textbooks `python -m benchmarks.codecs --against`. One is ahead where",
            "both p-values are below 0.01; they are about these checkpoints: another training is another draw.\n",
            "| first | second | data | sequences | difference | p, Student's t | p, flipped signs | |",
            "|---|---|---|---|---|---|---|---|",
            *map(_row, found),
            "",
        ]
    )


def _row(found: Mapping[str, Any]) -> str:
    cells = [
        found["a"]["model"],
        found["b"]["model"],
        f"{found['data']}, {found['split']}",
        str(found["sequences"]),
        student.told(found["difference"], found["standard_error"]),
        f"{found['p_t']:.2g}",
        f"{found['p_flips']:.2g}",
        verdict(found),
    ]
    return f"| {' | '.join(cells)} |"
