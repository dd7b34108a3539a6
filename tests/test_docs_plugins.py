"""The how-tos of plug-ins are true: each page's file, dropped where the page says, keeps the contract of its folder."""

import contextlib
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import dropped

HOWTO = Path(__file__).parents[1] / "docs" / "howto"
PAGES = {
    "add_an_inference_procedure": (
        "avf_core.inference",
        ["tests/core/test_conformance.py", "tests/core/test_plugins.py"],
    ),
    "add_a_data_set": ("avf_core.data", ["tests/core/test_data_contract.py"]),
    "add_a_source": ("avf_sources", ["tests/clients/test_sources_contract.py"]),
    "add_a_codec": ("avf_server.codecs", ["tests/server/test_codecs_contract.py"]),
    "add_a_store": ("avf_server.stores", ["tests/server/test_stores.py"]),
}

pytestmark = pytest.mark.slow


def blocks(page: str) -> tuple[str, str, str]:
    """The name of the file that a page adds, the file, and how it is used."""
    text = (HOWTO / f"{page}.md").read_text()
    source, use = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    (name,) = set(re.findall(r"`(\w+)\.py` in\s+`", text))
    return name, source, use


@pytest.fixture
def added(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The page's file in a folder that is part of its package; gives how the page uses it."""
    package = importlib.import_module(PAGES[request.param][0])
    name, source, use = blocks(request.param)
    (tmp_path / f"{name}.py").write_text(source)
    package.__path__.append(str(tmp_path))
    try:
        yield use
    finally:
        package.__path__.remove(str(tmp_path))
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


@pytest.mark.long
def test_every_folder_s_file_keeps_its_contract_unasked(tmp_path: Path) -> None:
    """Each is met by every test of its suite, and none fails."""
    files = {package: {blocks(page)[0]: blocks(page)[1]} for page, (package, _) in PAGES.items()}
    suites = sorted({suite for _, each in PAGES.values() for suite in each})
    named = " or ".join(name for sources in files.values() for name in sources)
    found = dropped.outcomes(tmp_path, files, suites=suites, named=named)
    assert {name: outcome for name, outcome in found.items() if outcome == "failed"} == {}
    for page, (_, mine) in PAGES.items():
        name = blocks(page)[0]
        passed = {test.partition("[")[0] for test, end in found.items() if name in test and end == "passed"}
        assert len({test for test in passed if test.partition("::")[0] in mine}) >= 3, (page, passed)


@pytest.mark.parametrize(("page", "added"), [(page, page) for page in PAGES], indirect=["added"])
def test_the_page_uses_what_it_added(page: str, added: str, tmp_path: Path) -> None:
    """As it stands there, on files of the names that it speaks of."""
    (tmp_path / "weather").mkdir()
    for name in "abcdef":
        (tmp_path / "weather" / f"{name}.station").write_text("1,2\n3,\n")
    (tmp_path / "x.columns").write_text("1 2\n3 4\n")
    if page == "add_a_codec":
        importlib.import_module("avf_server.codecs.negotiation").readers.cache_clear()
    names: dict[str, Any] = {}
    with contextlib.chdir(tmp_path):
        exec(compile(added, page, "exec"), names)
    if page == "add_an_inference_procedure":
        assert bool((names["estimate"].free_energy < names["estimate"].free_energies[:, 0]).all())
    if page == "add_a_data_set":
        assert [sequence.tolist()[0] for sequence in names["train"]] == [[1.0, 2.0]] * 4
    if page == "add_a_source":
        np.testing.assert_array_equal(names["recording"].frames, [[1, 2], [3, 4]])
    if page == "add_a_codec":
        importlib.import_module("avf_server.codecs.negotiation").readers.cache_clear()
        assert np.array(names["steps"].observations).shape == (3, 6)
    if page == "add_a_store":
        assert names["found"] == 1


def test_the_page_on_plug_ins_names_every_group_and_how_to() -> None:
    """One row a folder, with its page."""
    text = (HOWTO / "plugins.md").read_text()
    for page, (package, _) in PAGES.items():
        assert f"]({page}.md)" in text
        assert f"`avf.{package.rpartition('.')[2].removeprefix('avf_')}`" in text
