"""docs/files.md and docs/design.md are true: the index is that of the tree, and finds what a stranger looks for."""

import importlib.util
import re
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"^- `([^`]+\.\w+)`: (.+)$", re.MULTILINE)


def _script() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("docs_index", ROOT / "docs" / "index.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INDEX = _script()


def test_the_index_of_files_is_that_of_the_tree() -> None:
    """What docs/files.md lists is what the files say of themselves now."""
    page = INDEX.PAGE.read_text()
    stale = f"docs/files.md is not the index of this tree: run `{INDEX.COMMAND}` and commit what it writes"
    assert page == INDEX.renewed(page, INDEX.index()), stale


def test_the_way_of_imports_is_that_of_the_contracts() -> None:
    """The packages, and the parts of each that has an order, from above to below as import-linter is told."""
    lines = [line for line in INDEX.index().splitlines() if line.startswith(("- packages:", "- `avf_"))]
    ordered = {
        line.split(":")[0].strip("- `"): line.split(": ")[1].strip("`").split(" > ") for line in lines if " > " in line
    }
    assert {"packages", "avf_core", "avf_client", "avf_server"} <= set(ordered)
    assert ordered["packages"][0] == "avf_server"
    assert ordered["avf_core"].index("models") < ordered["avf_core"].index("errors")


def test_every_file_is_listed_once() -> None:
    """Whatever can say what it is for has a line; a package speaks for its folder, in its heading."""
    found = [path for folder in INDEX.FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in INDEX.READERS]
    names = [path.relative_to(ROOT).as_posix() for path in found if path.name != "__init__.py"]
    assert sorted(name for name, _ in LINE.findall(INDEX.index())) == sorted(names)
    assert len(names) > 150


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("update model inputs", "avf_core/inference/iterative.py"),
        ("problem types", "server/avf_server/problems.py"),
        ("codec bytes", "server/avf_server/codecs/base.py"),
        ("codec media types", "server/avf_server/codecs/negotiation.py"),
        ("new chart dashboard", "clients/avf_dashboard/page/views/charts.js"),
        ("redis commands", "server/avf_server/stores/redis.py"),
        ("tick queue reply", "server/avf_server/stepping/service.py"),
        ("tick decisions", "server/avf_server/stepping/decisions.py"),
    ],
)
def test_a_stranger_finds_the_file_by_its_words(words: str, wanted: str) -> None:
    """Few lines of the index have all of these words, and the file that one wants is among them."""
    lines = [(name, f"{name} {said}".lower()) for name, said in LINE.findall(INDEX.index())]
    found = [name for name, line in lines if all(word in line for word in words.split())]
    assert wanted in found
    assert len(found) <= 5, found


def test_a_file_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    """It names the file and says what to do."""
    (tmp_path / "silent.py").write_text("x = 1\n")
    with pytest.raises(INDEX.SilentError, match=r"silent\.py.*write one sentence at its top"):
        INDEX.sentence(tmp_path / "silent.py")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.py", '"""One thing (Marino et al. 2018). And more.\n\nRest.\n"""\n', "One thing (Marino et al. 2018)."),
        ("a.py", '"""No stop\nat all\n\nRest.\n"""\n', "No stop at all"),
        ("a.js", "// Two lines that\n// are one. More.\n// @ts-check\n\nlet x;\n", "Two lines that are one."),
        ("a.css", "/* Colours. More. */\n", "Colours."),
        ("a.html", "<!doctype html>\n<!-- The page. -->\n", "The page."),
    ],
)
def test_the_first_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    """Of docstrings and comments alike, on one line, whatever abbreviations it holds."""
    (tmp_path / name).write_text(text)
    assert INDEX.sentence(tmp_path / name) == said


def test_the_map_names_every_folder() -> None:
    """Each folder of the packages that holds files stands in docs/design.md, and each that stands there exists."""
    layout = (ROOT / "docs" / "design.md").read_text().split("## Layout")[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `([\w/]+)/` \|", layout, flags=re.MULTILINE))
    wanted = set(re.findall(r"^## ([\w/]+)/$", INDEX.index(), flags=re.MULTILINE))
    assert named == wanted, "the table under Layout in docs/design.md has a row for each folder: add, or take away"
