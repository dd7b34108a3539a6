"""docs/howto/add_a_chart.md is true: its chart, put where the page says, is checked, served, drawn and right."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import avf_dashboard
import httpx
import pytest

from tests.support import pages
from tests.support.pages import LINT, NODE, TSC
from tests.support.processes import Nursery
from tests.support.servers import Server

from .conftest import Looking, Stream

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add_a_chart.md"
BLOCKS = re.findall(r"^```(?:js|python)\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
CHART, IMPORT, LINE, TEST = BLOCKS

_names = vars(pages) | {
    "__name__": __name__,
    "httpx": httpx,
    "Callable": Callable,
    "Looking": Looking,
    "Server": Server,
    "Stream": Stream,
}
exec(compile(TEST, str(PAGE), "exec"), _names)
test_the_gain_of_a_step_is_that_of_the_interface = _names["test_the_gain_of_a_step_is_that_of_the_interface"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dashboard with the chart in it, as a folder of packages: only what the page says is done."""
    clients = tmp_path_factory.mktemp("tree") / "clients"
    package = clients / "avf_dashboard"
    shutil.copytree(Path(avf_dashboard.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "page" / "charts" / "gain.js").write_text(CHART)
    view = package / "page" / "views" / "charts.js"
    text = view.read_text()
    assert text.count("\nimport { Figure }") == 1
    assert text.count("\nconst SMALL = [\n") == 1
    text = text.replace("\nimport { Figure }", f"\n{IMPORT}import {{ Figure }}")
    view.write_text(text.replace("\nconst SMALL = [\n", f"\nconst SMALL = [\n{LINE}"))
    return clients


@pytest.fixture(scope="module")
def server(tree: Path, folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of that page, and of the tiny model of numbers."""
    path = os.pathsep.join([str(tree), *filter(None, [os.environ.get("PYTHONPATH")])])
    data = tmp_path_factory.mktemp("data")
    options = ("--data-dir", str(data), "--model", str(folders[-1]))
    with Nursery(PYTHONPATH=path) as nursery:
        running = Server(nursery, *options, log=data.with_suffix(".log"))
        yield running
        running.stop()


def test_what_is_drawn_is_said_in_words(looking: Looking, server: Server, streaming: Callable[..., Stream]) -> None:
    """The canvas has the description that the chart gives, and the pointer finds the figures of a step."""
    stream = streaming("numbers")
    looking.page.goto(f"{server.url}/#/session/{stream.id}")
    pages.reached(looking, 5)
    assert looking.page.inner_text("[data-chart=gain] h2") == "Gain of inference"
    described = "(pattern) => RegExp(pattern).test(document.querySelector('[data-chart=gain] canvas').ariaLabel)"
    looking.page.wait_for_function(described, arg=r"^Gain of inference over \d+ steps: mean -?[\d.]+ nats\.$")
    said = "(pattern) => RegExp(pattern).test(document.querySelector('[data-chart=gain] .readout').textContent)"
    looking.page.wait_for_function(said, arg=r"^gained -?[\d.]+ nats$")


def test_the_chart_passes_the_lint(tree: Path) -> None:
    """ESLint and TypeScript find nothing in the chart, nor in the view that has it."""
    if not NODE.exists() or not TSC.exists():
        pytest.skip("ESLint and TypeScript are not set up here: make lint")
    lint = tree.parent / "tests" / "dashboard" / "lint"
    shutil.copytree(LINT, lint, ignore=shutil.ignore_patterns("node_modules"))
    (lint / "node_modules").symlink_to(LINT / "node_modules")
    eslint = lint / "node_modules" / "eslint" / "bin" / "eslint.js"
    for command in (
        [eslint, "--config", lint / "eslint.config.js", "--max-warnings", "0", "clients/avf_dashboard/page"],
        [TSC, "--project", lint, "--pretty", "false"],
    ):
        found = subprocess.run(
            [str(part) for part in (NODE, *command)], cwd=tree.parent, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stdout + found.stderr
