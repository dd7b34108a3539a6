"""The index of files in docs/files.md, from the first sentence of each, and the way they import, from pyproject.toml.

    python docs/index.py        writes both between two markers

The law: nothing in it is typed by hand. A file that cannot say in one sentence what it is for is an error here, and the
index is what the tree is: a test compares them.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "files.md"
COMMAND = "python docs/index.py"
FOLDERS = (
    "avf_core",
    "server/avf_server",
    "clients/avf_wire",
    "clients/avf_sources",
    "clients/avf_client",
    "clients/avf_dashboard",
)
BEGIN, END = "<!-- index: begin -->", "<!-- index: end -->"
SENTENCE = re.compile(r".*?[.](?=\s+[A-Z`]|\s*$)", re.DOTALL)  # "et al. 2018" goes on with a figure


class SilentError(Exception):
    """A file does not begin by saying what it is for."""


def docstring(text: str) -> str:
    """The docstring of a Python module."""
    return ast.get_docstring(ast.parse(text)) or ""


def lines_of_comment(text: str) -> str:
    """The comment that a script begins with."""
    found = re.match(r"(?:[ \t]*//[^\n]*\n)+", text.replace("// @ts-check\n", "", 1))
    return re.sub(r"^[ \t]*//[ \t]?", "", found[0], flags=re.MULTILINE) if found else ""


def block_comment(text: str) -> str:
    """The comment that a style sheet begins with."""
    found = re.match(r"\s*/\*(.*?)\*/", text, re.DOTALL)
    return found[1] if found else ""


def markup_comment(text: str) -> str:
    """The first comment of a page."""
    found = re.search(r"<!--(.*?)-->", text, re.DOTALL)
    return found[1] if found else ""


READERS: dict[str, Callable[[str], str]] = {
    ".py": docstring,
    ".js": lines_of_comment,
    ".ts": lines_of_comment,
    ".css": block_comment,
    ".html": markup_comment,
}


def sentence(path: Path) -> str:
    """What a file says of itself first. Raises SilentError where it says nothing."""
    said = READERS[path.suffix](path.read_text())
    first = " ".join(said.strip().split("\n\n")[0].split())
    if not first:
        raise SilentError(f"{path}: begins with no words of what it is for; write one sentence at its top")
    found = SENTENCE.match(first)
    return found[0] if found else first


def sections(folder: Path, root: Path) -> list[str]:
    """A folder and those below it: its own sentence, then one line a file."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in READERS]
    package = folder / "__init__.py"
    lines = []
    if files:
        lines += [f"## {folder.relative_to(root).as_posix()}/", ""]
        lines += [sentence(package), ""] if package in files else []
        lines += [f"- `{path.relative_to(root).as_posix()}`: {sentence(path)}" for path in files if path != package]
        lines += [""]
    for below in sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"):
        lines += sections(below, root)
    return lines


def floors(root: Path) -> list[str]:
    """Which way files import: of each contract that orders parts, these from above to below."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    lines = [
        "## Which way they import",
        "",
        "Each part may import those after it; parts with a bar between them, not each other.",
        "",
    ]
    for contract in contracts:
        if contract["type"] == "layers":
            of = " ".join(f"`{name}`:" for name in contract.get("containers", [])) or "packages:"
            lines.append(f"- {of} `{' > '.join(contract['layers'])}`")
    return [*lines, ""]


def index(root: Path = ROOT) -> str:
    """The index of the tree under `root`, as Markdown."""
    listed = [line for folder in FOLDERS for line in sections(root / folder, root)]
    return "\n".join([*floors(root), *listed]).replace("\n\n\n", "\n\n")


def renewed(page: str, made: str) -> str:
    """The page with `made` between its markers."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{made}\n{END}{rest.split(END)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the index; gives the exit code."""
    argparse.ArgumentParser(description="Write the index of files in docs/files.md.").parse_args(arguments)
    try:
        PAGE.write_text(renewed(PAGE.read_text(), index()))
    except SilentError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
