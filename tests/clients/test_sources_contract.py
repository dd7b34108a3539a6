"""The contract of sources, for every file of the folder: dropping one in tests it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import avf_sources as sources
import numpy as np
import pytest
from avf_sources import SourceError


@pytest.fixture
def written(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of the kind's example, the same each time."""
    return sources.load(request.param).write_example(tmp_path, np.random.default_rng(5))


EVERY = pytest.mark.parametrize(("kind", "written"), [(kind, kind) for kind in sources.kinds()], indirect=["written"])


@EVERY
def test_every_example_is_found_and_read(kind: str, written: str) -> None:
    """By its suffix or its scheme; finite numbers or NaN, at least one row, the same each time."""
    found = sources.load(kind)
    assert found.SUFFIXES or found.SCHEMES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in found.SUFFIXES)
    assert sources.find(written) is found
    recording, again = sources.read(written), sources.read(written)
    assert recording.frames.dtype == np.float64
    assert recording.frames.ndim == 2
    assert 0 not in recording.frames.shape
    assert not np.isinf(recording.frames).any()
    np.testing.assert_array_equal(recording.frames, again.frames)
    assert recording.name
    if recording.piano_roll:
        assert recording.frames.shape[1] == sources.KEYS
        assert set(np.unique(recording.frames)) <= {0.0, 1.0}


@EVERY
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.95])
def test_a_file_that_was_not_copied_completely_is_told(kind: str, written: str, keep: float) -> None:
    """A SourceError that names it, or the beginning of what was there; never another error."""
    path = Path(written)
    whole, frames = path.read_bytes(), sources.read(written).frames
    path.write_bytes(whole[: int(keep * len(whole))])
    told, rest = "", None
    try:
        rest = sources.read(written).frames
    except SourceError as error:
        told = str(error)
    if rest is None:
        assert written in told
    else:
        assert keep
        np.testing.assert_array_equal(rest, frames[: len(rest)])


@EVERY
def test_what_is_not_there_is_told(kind: str, written: str, tmp_path: Path) -> None:
    """Absent, or a folder in its place."""
    path = Path(written)
    path.unlink()
    with pytest.raises(SourceError, match="is no file"):
        sources.read(written)
    path.mkdir()
    with pytest.raises(SourceError):
        sources.read(written)


PLUGIN = '''
"""Numbers, one a line."""
import numpy as np
from avf_sources import Recording

SUFFIXES = (".column",)
SCHEMES = ()


def read(name, options):
    return Recording(name=name, frames=np.loadtxt(name, ndmin=1)[:, None])


def write_example(folder, generator):
    np.savetxt(folder / "example.column", generator.normal(size=5))
    return str(folder / "example.column")
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path with the module `columnpack`, not installed, and a file for it."""
    (tmp_path / "columnpack.py").write_text(PLUGIN)
    (tmp_path / "x.column").write_text("1\n2\n3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("columnpack", None)


def test_a_source_of_another_package_is_named_by_its_place(package: Path) -> None:
    """Nothing finds it by itself; what is missing, or is none, is told."""
    name = str(package / "x.column")
    with pytest.raises(SourceError, match="no kind that can be streamed"):
        sources.read(name)
    assert sources.read(name, kind="columnpack:").frames.tolist() == [[1.0], [2.0], [3.0]]
    wrong = {"columnpack": "no kind 'columnpack' of input; there are arrays", "columnpack.more": "cannot be imported"}
    wrong |= {"os.path": "is no kind of input", "columnpack:Lost": "cannot be imported"}
    for kind, message in wrong.items():
        with pytest.raises(SourceError, match=message):
            sources.read(name, kind=kind)


def test_an_installed_source_is_found_by_the_name_of_the_file(package: Path) -> None:
    """By an entry point of the group `avf.sources`."""
    metadata = package / "columnpack-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: columnpack\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[avf.sources]\ncolumn = columnpack\n")
    assert sources.available() == [*sources.kinds(), "column"]
    assert sources.read(str(package / "x.column")).frames.shape == (3, 1)
    assert sources.read(str(package / "x.column"), kind="column").frames.shape == (3, 1)
