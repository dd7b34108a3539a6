"""docs/client.md is true: its code blocks run, in order, and its tables are whole."""

import dataclasses
import re
from pathlib import Path

import pytest
from avf_client import Estimate, sources
from avf_client.commands.stream import command

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


@pytest.fixture(scope="module")
def page() -> str:
    """The page."""
    return PAGE.read_text()


def test_the_code_blocks_run(page: str, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one namespace, against the real server; the tiny model stands for the zoo's."""
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {"URL": server}
    for block in blocks:
        exec(compile(block.replace('"srnn-jsb"', '"tiny"'), str(PAGE), "exec"), names)
    assert "no model 'no-such-model'" in capsys.readouterr().out


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
    """The options of `avf stream` that the page names."""
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z]+", page[page.index("## The command") :])) <= known


def test_the_readmes_five_lines_run(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As they stand, against the real server."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    code = block.replace('"srnn-jsb"', '"tiny"').replace("http://127.0.0.1:8000", server)
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 72
