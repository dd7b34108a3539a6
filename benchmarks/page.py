"""docs/performance.md, made of what the benchmarks found.

    python -m benchmarks.page [--check]

Each section is a benchmark's own description, which says what its figures mean, and its figures from
`benchmarks/results/NAME.json`. `--check` says whether the page is what they make, and writes nothing.
"""

import argparse
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import asked, plots, results
from benchmarks.__main__ import SUITE

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEAD = """# Performance

Made by `python -m benchmarks.page` from `benchmarks/results/`, which `python -m benchmarks --full` writes; `make bench`
runs short forms of the same. Every figure can be had again by the command of its section. Processor times are of one
thread, medians of rounds in which all that is compared takes turns: what else runs on the machine disturbs them least.
On a GPU nothing was measured yet: `python -m benchmarks.gpu` does it within eight minutes where there is one, and
checks that results equal those of the CPU to 1e-3.
"""

ASKED = """## What is asked, and what there is

Each line is a figure of a section below, beside the bar that was set for it. Where a processor has no tiles for
bfloat16 (AMX), half is asked of lines that count on them.

| line | asked | found | |
| --- | --- | --- | --- |
"""


def page(folder: Path = results.FOLDER) -> str:
    """The whole page."""
    found = {name: path for name in SUITE if (path := folder / f"{name}.json").exists()}
    parts = [HEAD]
    if asked_of := list(asked.rows(folder)):
        parts.append(ASKED + "\n".join(map(_line, asked_of)) + "\n")
    parts += [section(name, json.loads(path.read_text(encoding="utf-8"))) for name, path in found.items()]
    if not found:
        parts.append("No full run was made yet.\n")
    return "\n".join(parts)


def section(name: str, found: dict[str, Any]) -> str:
    """What a benchmark asks, what its figures mean, where they were taken, and they themselves."""
    about = inspect.getdoc(importlib.import_module(f"benchmarks.{name}")) or ""
    question, _, rest = about.partition("\n\n")
    explained = "\n\n".join(part for part in rest.split("\n\n") if not part.startswith("    "))
    parts = [f"## {question}", f"`python -m benchmarks.{name} --json`", explained, where(found)]
    for title, columns, rows in results.tables(found):
        parts += [f"**{title}**"] if title else []
        parts.append("\n".join([_line(columns), _line(["---"] * len(columns)), *map(_line, rows)]))
    parts += [f"![{key}](../benchmarks/results/{name}-{key}.png)" for key in plotted(name, found)]
    return "\n\n".join(parts) + "\n"


def where(found: dict[str, Any]) -> str:
    """The machine, and what is the same for all figures of a section."""
    told = found.get("machine", {})
    here = ", ".join(f"{results.words(key)} {results.text(value)}" for key, value in told.items())
    scalars = {key: value for key, value in found.items() if isinstance(value, int | float | str) and key != "quick"}
    same = ", ".join(f"{results.words(key)} {results.text(value)}" for key, value in scalars.items())
    return f"Machine: {here}. Run: {same or 'no options'}."


def plotted(name: str, found: dict[str, Any]) -> list[str]:
    """The figures of which there are pictures."""
    return [key for key in plots.SHOWN.get(name, ()) if found.get(key)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    made = page()
    if not parser.parse_args().check:
        PAGE.write_text(made, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != made:
        sys.exit(f"{PAGE} is not what benchmarks/results makes: run python -m benchmarks.page")


if __name__ == "__main__":
    main()
