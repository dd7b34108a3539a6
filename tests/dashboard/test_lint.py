"""The page's scripts are checked: with the types of the messages as they are, each of them, and nothing is shipped."""

import importlib.util
import json
import os
import shutil
import subprocess
import types
from pathlib import Path

import avf_dashboard
import avf_wire as wire
import msgspec
import pytest

from tests.support.pages import LINT, NODE, TSC

ROOT = Path(__file__).parents[2]
SHIPPED = {".css", ".html", ".js", ".py", ".svg", ".typed"}


def _script() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("wire_types", LINT / "wire_types.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WIRE = _script()


def test_the_types_of_messages_are_those_of_the_messages() -> None:
    """wire.d.ts is what avf_wire says now."""
    stale = f"tests/dashboard/lint/wire.d.ts is not of these messages: run `{WIRE.COMMAND}` and commit what it writes"
    assert WIRE.TARGET.read_text() == WIRE.written(), stale


def test_every_message_has_a_type() -> None:
    """Of each struct that avf_wire hands on, every field by the name that it has on the wire."""
    text = WIRE.written()
    named = [getattr(wire, name) for name in wire.__all__]
    structs = [
        each for each in named if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__struct_fields__
    ]
    assert len(structs) > 25
    for struct in structs:
        body = text.split(f"  interface {struct.__name__} {{\n")[1].split("  }\n")[0]
        assert [line.strip().split(":")[0].rstrip("?") for line in body.splitlines() if "type:" not in line] == [
            name for name in struct.__struct_encode_fields__ if name != "type"
        ]


def test_what_has_no_word_is_an_error() -> None:
    """A field of a kind that is not known is not passed over."""
    with pytest.raises(WIRE.UnknownTypeError, match="complex"):
        WIRE.said(complex)


@pytest.mark.parametrize(("renamed", "told"), [("free_energy", "trace.js"), ("next_seq", "streamer.js")])
def test_a_renamed_field_fails_the_lint(tmp_path: Path, renamed: str, told: str) -> None:
    """The compiler names the script that still asks for the old name."""
    if not NODE.exists() or not TSC.exists():
        pytest.skip("TypeScript is not set up here: make lint")
    page = tmp_path / "clients" / "avf_dashboard" / "page"
    shutil.copytree(avf_dashboard.PAGE, page)
    lint = tmp_path / "tests" / "dashboard" / "lint"
    shutil.copytree(LINT, lint, ignore=shutil.ignore_patterns("node_modules"))
    command = [str(NODE), str(TSC), "--project", str(lint), "--pretty", "false"]
    types_ = lint / "wire.d.ts"
    types_.write_text(types_.read_text().replace(f"    {renamed}: ", f"    {renamed}_told: "))
    broken = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"})
    assert broken.returncode != 0
    assert any(told in line and f"'{renamed}'" in line for line in broken.stdout.splitlines()), broken.stdout


@pytest.mark.parametrize("name", sorted(name for name in avf_dashboard.files() if name.endswith(".js")))
def test_every_script_is_checked(name: str) -> None:
    """It asks for it itself, for editors, and switches off nothing."""
    text = (avf_dashboard.PAGE / name).read_text()
    assert "// @ts-check\n" in text
    assert not {"@ts-ignore", "@ts-expect-error", "@ts-nocheck", "eslint-disable"} & set(text.split())


def test_the_lock_names_no_host() -> None:
    """Packages come from whatever registry npm is set to; the lock holds what they are, not where they were found."""
    lock = json.loads((LINT / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages.values())
    wanted = json.loads((LINT / "package.json").read_text())["devDependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_none_of_it_is_shipped() -> None:
    """The packages of the wheel hold pages, scripts and Python only, and nothing of npm."""
    for package in ("avf_wire", "avf_sources", "avf_client", "avf_dashboard"):
        found = {path for path in (ROOT / "clients" / package).rglob("*") if path.is_file() and path.suffix != ".pyc"}
        assert {path.suffix or path.name.removeprefix("py") for path in found} <= SHIPPED
        assert not [path for path in found if "node_modules" in path.parts]
