"""docs/api.md is the whole map, and the reference it leads into is made without a warning."""

import importlib
import operator
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import avf_core

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
ROWS = re.findall(r"^\| `(avf_core[\w.]*)` \|(.*?)\| ", PAGE, flags=re.MULTILINE)


def public_modules() -> set[str]:
    """Every module of the package without a private part in its name."""
    found = {module.name for module in pkgutil.walk_packages(avf_core.__path__, "avf_core.")}
    return {"avf_core"} | {name for name in found if "._" not in name}


def test_every_public_module_has_one_row() -> None:
    """A new module needs its line in docs/api.md."""
    named = [module for module, _ in ROWS]
    assert sorted(named) == sorted(public_modules())


@pytest.mark.parametrize(("module", "names"), ROWS, ids=[module for module, _ in ROWS])
def test_every_name_exists_and_says_what_it_is(module: str, names: str) -> None:
    """Functions, classes and methods of the map have a docstring of their own."""
    found = importlib.import_module(module)
    assert found.__doc__
    for name in re.findall(r"`([\w.]+)`", names):
        value = operator.attrgetter(name)(found)
        assert not callable(value) or value.__doc__, name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, as `make docs` makes them."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "docs" / "reference.py"), "--output", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder


@pytest.mark.long
def test_the_reference_has_a_page_a_module(site: Path) -> None:
    """Of the library and of the client, and a page to begin with."""
    for module in public_modules():
        assert (site / Path(*module.split("."))).with_suffix(".html").is_file(), module
    assert (site / "avf_client.html").is_file()
    assert (site / "index.html").is_file()


@pytest.mark.long
def test_shapes_and_mathematics_are_on_the_pages(site: Path) -> None:
    """Shapes stand in signatures; x_<t stays text, and swallows nothing that follows it."""
    page = (site / "avf_core" / "models" / "base.html").read_text()
    assert "prior p(z_t | x_&lt;t, z_&lt;t) and likelihood p(x_t | x_&lt;t, z_&lt;=t)" in page
    assert "batch observation" in page
    for path in site.rglob("*.html"):
        for docstring in re.findall(r'<div class="docstring">(.*?)</div>', path.read_text(), flags=re.DOTALL):
            assert "_<t" not in docstring, path.name


def test_a_warning_is_an_error(tmp_path: Path) -> None:
    """A module that cannot be imported ends the build, with exit code 1."""
    (tmp_path / "avf_client").mkdir()
    (tmp_path / "avf_client" / "__init__.py").write_text("")
    (tmp_path / "avf_client" / "broken.py").write_text("import no_such_module")
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['reference', '--output', 'out']\n"
        f"runpy.run_path({str(ROOT / 'docs' / 'reference.py')!r}, run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "no_such_module" in result.stderr
