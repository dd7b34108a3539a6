"""Plug-ins dropped into their folders, and what the suites say of them, unasked: nothing but the file tells them."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNNER = """
import importlib, json, sys
import pytest

folders, arguments, answer = json.loads(sys.argv[1])


class Dropped:
    found = {}

    def pytest_load_initial_conftests(self):  # before conftest.py files list the folders
        for package, folder in folders.items():
            importlib.import_module(package).__path__.append(folder)

    def pytest_collectreport(self, report):
        if report.failed:
            self.found[report.nodeid] = "failed"

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            self.found[report.nodeid] = report.outcome


pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments], plugins=[Dropped()])
with open(answer, "w") as file:
    json.dump(Dropped.found, file)
"""


def outcomes(
    tmp_path: Path, files: Mapping[str, Mapping[str, str]], *, suites: Sequence[str], named: str
) -> dict[str, str]:
    """How the tests of `suites` whose names have `named` in them end, by their ids, with these files dropped.

    `files` holds sources by package and name, {"avf_core.models": {"gru": "..."}}. Each lies in a folder that is part
    of its package while the suites run, in a process of their own.
    """
    folders = {}
    for package, sources in files.items():
        folder = tmp_path / package
        folder.mkdir()
        folders[package] = str(folder)
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
    answer = tmp_path / "outcomes.json"
    told = json.dumps([folders, [*suites, "-k", named], str(answer)])
    done = subprocess.run([sys.executable, "-c", RUNNER, told], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.is_file(), done.stdout + done.stderr
    found: dict[str, str] = json.loads(answer.read_text())
    assert found, f"no test of {', '.join(suites)} has {named} in its name\n{done.stdout}{done.stderr}"
    return found
