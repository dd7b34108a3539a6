"""The contract of data sets, for every file of the folder and each of its examples: dropping one in tests it."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from avf_core import data
from avf_core.data.base import Modality, Plugin
from avf_core.errors import ConfigurationError, DataError
from avf_core.plugins import kinds, plugin

CASES = [(kind, name) for kind in kinds(data) for name in getattr(plugin(data, kind), "EXAMPLES", {})]
Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Write a kind's example, the same each time."""

    def write(kind: str) -> Path:
        folder = tmp_path / kind
        folder.mkdir()
        path: Path = plugin(data, kind).write_example(folder, np.random.default_rng(5))
        return path

    return write


def source(path: Path, kind: str, name: str) -> data.Source:
    """The example, read by its options of this name."""
    options = dataclasses.asdict(plugin(data, kind).EXAMPLES[name])
    return data.Source(path=path, kind=kind, options=options)


@pytest.mark.parametrize("kind", kinds(data))
def test_every_kind_says_what_it_is(kind: str) -> None:
    """Its options, their examples, and its modality."""
    found = plugin(data, kind)
    assert isinstance(found, Plugin)
    assert found.EXAMPLES
    assert found.MODALITY in get_args(Modality)
    assert found.GENERAL in (True, False)
    assert dataclasses.is_dataclass(found.Options)
    assert all(type(example) is found.Options for example in found.EXAMPLES.values())


@pytest.mark.parametrize("kind", kinds(data))
def test_every_example_is_recognised_as_what_it_is(kind: str, written: Written) -> None:
    """By its own kind, and by no other."""
    assert data.recognise(written(kind)) == kind


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_every_example_keeps_the_law_of_its_modality(kind: str, name: str, written: Written) -> None:
    """Shapes, numbers and units of every sequence of every split; as many of them as its description says."""
    found = source(written(kind), kind, name)
    described = found.describe()
    assert described.modality == plugin(data, kind).MODALITY
    assert {"train", described.selection, described.reported} <= set(described.splits)
    for split, count in described.splits.items():
        sequences = found.load(split, observation_size=described.observation_size)
        assert len(sequences) == count >= 1
        for sequence in sequences:
            keeps(sequence, described)


def keeps(sequence: np.ndarray, described: data.Description) -> None:
    """Assert that a sequence has the form of its modality."""
    assert sequence.ndim == 2
    assert sequence.shape[1] == described.observation_size
    assert not np.isinf(sequence).any()
    if described.modality == "music":
        assert sequence.dtype == np.uint8
        assert set(np.unique(sequence)) <= {0, 1}
        return
    assert sequence.dtype == np.float32
    if described.modality == "audio":
        assert described.rate is not None
        assert float(np.abs(sequence).max()) <= 1.0
    if described.modality == "video":
        assert described.shape is not None
        assert np.prod(described.shape) == described.observation_size
        assert 0.0 <= float(sequence.min()) <= float(sequence.max()) <= 1.0


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_reading_again_gives_the_same(kind: str, name: str, written: Written, tmp_path: Path) -> None:
    """Also from a copy elsewhere: what is in a split follows from the files alone. Splits have nothing in common."""
    path = written(kind)
    moved = tmp_path / "elsewhere" / kind
    shutil.copytree(tmp_path / kind, moved)
    again = moved / path.relative_to(tmp_path / kind)
    seen: set[bytes] = set()
    for split in source(path, kind, name).describe().splits:
        first, second = (source(p, kind, name).load(split) for p in (path, again))
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
        mine = {a.tobytes() for a in first}
        assert not mine & seen
        seen |= mine


@pytest.mark.parametrize("keep", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("kind", kinds(data))
def test_files_that_were_not_copied_completely_are_refused(kind: str, keep: float, written: Written) -> None:
    """Each file of an example, cut short by itself: a DataError, or all that is read is whole; never another error."""
    path = written(kind)
    folder = path if path.is_dir() else path.parent
    name = next(iter(plugin(data, kind).EXAMPLES))
    refused = []
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        whole = file.read_bytes()
        file.write_bytes(whole[: int(keep * len(whole))])
        try:
            found = source(path, kind, name)
            for split in found.describe().splits:
                for sequence in found.load(split):
                    keeps(sequence, found.describe())
        except DataError as error:
            refused.append(str(error))
        file.write_bytes(whole)
    assert refused
    assert min(map(len, refused)) > 20


@pytest.mark.parametrize("kind", kinds(data))
def test_what_is_not_there_is_told(kind: str, tmp_path: Path) -> None:
    """Nothing else is recognised; what is absent, or has no such option, is told."""
    found = plugin(data, kind)
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("text")
    for path in (tmp_path / "absent.npz", tmp_path / "absent", tmp_path / "empty", tmp_path / "x.txt"):
        assert not found.recognises(path)
        with pytest.raises(DataError):
            [list(split.read()) for split in found.survey(path, found.Options()).splits.values()]
    with pytest.raises(ConfigurationError, match="has no nonsense"):
        data.load(tmp_path, "train", kind=kind, options={"nonsense": 1})
