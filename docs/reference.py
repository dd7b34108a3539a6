"""The API reference as HTML, from the docstrings of the packages: nothing in it is typed by hand.

    python docs/reference.py [--output site]      what `make docs` runs

docs/api.md is the map that leads into it. Anything that pdoc warns of is an error here.
"""

import argparse
import importlib
import pkgutil
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pdoc
from jinja2 import pass_context
from jinja2.runtime import Context
from pdoc import extract, render, render_helpers

PACKAGES = ("avf_core", "avf_client", "avf_sources", "avf_wire")
CODE = "    "  # what a line of a code block begins with
LESS_THAN = re.compile(r"(?<=_)<(?=\w)")  # that of x_<t, which a browser would take for the start of a tag


@pass_context
def to_markdown(context: Context, docstring: str) -> Any:
    """A docstring as pdoc's Markdown, with the subscripts of our mathematics kept as text."""
    lines = (line if line.startswith(CODE) else LESS_THAN.sub("&lt;", line) for line in docstring.splitlines())
    return render_helpers.to_markdown_with_context(context, "\n".join(lines))


def hidden() -> list[str]:
    """Public modules that pdoc leaves out by itself, as the `__all__` of their package lists names only."""
    found = set(extract.walk_specs(PACKAGES))
    every = []
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        every += [module.name for module in pkgutil.walk_packages(path, f"{package}.")]
    missing = [name for name in every if "._" not in name and name not in found]
    return [name for name in missing if name.rpartition(".")[0] not in missing]


def hand_on() -> None:
    """Ask for every public name of the packages: pdoc does not see those that are handed on when first asked for."""
    for package in map(importlib.import_module, PACKAGES):
        vars(package).update({name: getattr(package, name) for name in getattr(package, "__all__", ())})


def build(output: Path) -> None:
    """Write the pages. Raises pdoc's warnings, say of a module that cannot be imported, as errors."""
    render.configure(docformat="markdown", math=True, footer_text="avf", show_source=True)
    render.env.filters["to_markdown"] = to_markdown
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hand_on()
        pdoc.pdoc(*PACKAGES, *hidden(), output_directory=output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; gives the exit code."""
    parser = argparse.ArgumentParser(description="Write the API reference as HTML.")
    parser.add_argument("--output", type=Path, default=Path("site"), help="the folder of the pages")
    output = parser.parse_args(arguments).output
    build(output)
    print(f"reference: {output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
