"""docs/client.md is true: its code blocks run, in order, and its tables are whole."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import avf_sources as sources
import pytest
from avf_client import Estimate, errors
from avf_client.commands import bench, sessions, stream

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


@pytest.fixture(scope="module")
def page() -> str:
    """The page."""
    return PAGE.read_text()


def test_the_code_blocks_run(page: str, server: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one namespace, against the real server; the tiny model stands for the zoo's."""
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {"URL": server}
    for block in blocks:
        code = block.replace('local("srnn-jsb"', f"local({str(checkpoint)!r}").replace('"srnn-jsb"', '"tiny"')
        exec(compile(code, str(PAGE), "exec"), names)
    assert "no model 'no-such-model'" in capsys.readouterr().out


def test_the_shell_blocks_run(page: str, server: str) -> None:
    """With curl and `python -m websockets`; a shell that fails, or a reply that is a problem, fails."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in blocks:
        with subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block.replace("srnn-jsb", "tiny")],
            env={**os.environ, "URL": server, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            said = ""
            while part := shell.stdout.readline():
                said += part
                # What `cat` waits for in the last block, however that ends.
                if re.search('"ended"|Connection closed|Failed to connect', part):
                    shell.stdin.close()
            shell.stdin.close()
        assert shell.returncode == 0
        assert "urn:avf:problem" not in said
        assert '"free_energy":' in said


def test_every_class_of_the_tree_is_documented(page: str) -> None:
    """By its name, so that it can be found."""
    tree = page[page.index("AvfClientError\n") : page.index("## Sources")]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 20
    for kind in kinds:
        assert re.search(rf"\b{kind.__name__}\b", tree), kind.__name__


def test_every_field_of_an_estimate_is_documented(page: str) -> None:
    """A new field needs its row."""
    for field in dataclasses.fields(Estimate):
        assert f"`{field.name}`" in page


def test_every_kind_of_source_is_documented(page: str) -> None:
    """By its endings and schemes."""
    for kind in sources.kinds():
        for suffix in sources.load(kind).SUFFIXES:
            assert f"`{suffix}`" in page
        for scheme in sources.load(kind).SCHEMES:
            assert f"`{scheme}:" in page


def test_every_documented_option_exists(page: str) -> None:
    """The options of commands that the page names."""
    ours = [stream.command, bench.command, *sessions.command.commands.values()]
    known = {option for command in ours for parameter in command.params for option in parameter.opts} | {"--help"}
    page = page[: page.index("## Without the SDK")]
    assert set(re.findall(r"--[a-z][a-z-]*", page[page.index("## The command") :])) <= known


def test_the_readmes_five_lines_run(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As they stand, against the real server."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    code = block.replace('"chorales"', '"tiny"').replace("http://127.0.0.1:8000", server)
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 72
