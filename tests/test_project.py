"""What the project says of itself is so: links, commands, dependencies, pages."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from avf_client.commands import stream
from click import Command

from avf_core.analysis.evaluation import Evaluation
from avf_core.commands import compare, evaluate, fit, publish, reproduce, train
from avf_core.training import presets

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])
    if not path.parts[-2].startswith(".")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and image of a page is a file, and every test or benchmark it names exists."""
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    for named in re.findall(r"`((?:tests|docs|docker|examples|avf_core|clients|server)/[\w./]*)`", text):
        assert (ROOT / named).exists(), named


def test_the_base_install_has_no_torch() -> None:
    """The dependencies of the base install are the client's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in project["dependencies"]}
    assert names == {"click", "httpx", "httpx-sse", "msgspec", "numpy", "rich", "websockets"}


def test_the_client_imports_where_nothing_else_is_installed() -> None:
    """With torch, FastAPI and Redis out of reach, `import avf_client` and `avf --help` work."""
    blocked = "torch", "safetensors", "jaxtyping", "fastapi", "redis", "pydantic", "matplotlib", "music21"
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import avf_client\n"
        "from avf_client import Client, AsyncClient, sources\n"
        "from avf_client.commands import cli; raise SystemExit(cli.run(['--help']))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "stream" in result.stdout


def test_every_command_loads() -> None:
    """Each entry point of `avf` is a click command with a help text."""
    found = {entry.name: entry.load() for entry in entry_points(group="avf.commands")}
    assert set(found) == {
        "bench", "calibrate", "compare", "completion", "data", "evaluate", "fit", "forecast", "impute", "models",
        "publish", "reproduce", "serve", "sessions", "smooth", "stream", "train",
    }  # fmt: skip
    assert all(isinstance(command, Command) and command.help for command in found.values())


def test_ci_runs_the_readmes_test_command() -> None:
    """And nothing else."""
    assert "make test" in (ROOT / "README.md").read_text()
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line and not line.startswith(("#", "set ", "cd "))] == ["make test"]


def test_constraints_pin_torch() -> None:
    """The version whose CPU build the images and CI use."""
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_training_page_is_whole() -> None:
    """Every figure of an evaluation has its line; every option it names exists."""
    page = (ROOT / "docs" / "training.md").read_text()
    for name in Evaluation.__dataclass_fields__:
        assert f"`{name}`" in page, name
    known = {
        option
        for command in (
            compare.command,
            fit.command,
            publish.command,
            train.command,
            evaluate.command,
            reproduce.command,
            stream.command,
        )
        for p in command.params
        for option in p.opts
    }
    others = {"--nproc-per-node", "--no-deps"}  # of torchrun and pip
    assert set(re.findall(r"--[a-z][a-z-]*", page)) <= known | others
    for name in presets.PRESETS:
        assert f"`{name}`" in page, name


def test_no_test_imports_another() -> None:
    """Nor the fixtures of another folder: what tests share stands in tests/support."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    others = {path.stem for path in files if path.stem.startswith("test_")}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names)]
                parts = {part for name in names for part in name.split(".")}
                assert not parts & others, path
                assert "conftest" not in parts or node.level == 1, path
