"""Data sets: every kind keeps its contract; paths are recognised; what is wrong is told."""

import contextlib
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from music21 import chord, key, note, stream

from avf_core import data
from avf_core.errors import ConfigurationError, DataError
from avf_core.plugins import kinds, plugin


def rolls(path: Path, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Write a piano-roll file of three splits; gives its sequences."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {"midi_low": np.array(21)}
    sequences = {}
    for number, split in enumerate(("train", "valid", "test")):
        lengths = [3 + number, 5, 2]
        sequences[split] = [(generator.random((n, 88)) > 0.9).astype(np.uint8) for n in lengths]
        arrays[f"{split}_bits"] = np.packbits(np.concatenate(sequences[split]), axis=1)
        arrays[f"{split}_offsets"] = np.cumsum([0, *lengths])
    np.savez(path, **arrays)
    return sequences


# --- recognising and loading


def test_a_piano_roll_is_recognised_and_read(tmp_path: Path) -> None:
    """Bit for bit what was packed; the description counts without reading."""
    written = rolls(tmp_path / "rolls.npz")
    described = data.describe(tmp_path / "rolls.npz")
    assert (described.kind, described.splits) == ("pianoroll", {"train": 3, "valid": 3, "test": 3})
    assert (described.observation_size, described.selection, described.reported) == (88, "valid", "test")
    for split, sequences in written.items():
        found = data.load(tmp_path / "rolls.npz", split)
        assert all(a.dtype == np.uint8 for a in found)
        assert all(np.array_equal(a, b) for a, b in zip(found, sequences, strict=True))


def test_bits_become_keys(tmp_path: Path) -> None:
    """By hand: the highest bit of a byte is its first key, the lowest its last."""
    np.savez(tmp_path / "x.npz", test_bits=np.array([[128] + 9 * [0] + [129]], np.uint8), test_offsets=np.array([0, 1]))
    (sequence,) = data.load(tmp_path / "x.npz", "test")
    assert list(np.flatnonzero(sequence[0])) == [0, 80, 87]
    assert data.describe(tmp_path / "x.npz").splits == {"test": 1}


def test_what_no_kind_recognises_is_told(tmp_path: Path) -> None:
    """The error lists the kinds, or says that there is nothing."""
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(DataError, match=r"no kind that is known.*arrays.*pianoroll"):
        data.load(tmp_path / "x.txt", "train")
    with pytest.raises(DataError, match="no file or folder"):
        data.load(tmp_path / "nothing", "train")
    with pytest.raises(ConfigurationError, match=r"'tape'; there are arrays.*"):
        data.load(tmp_path / "x.txt", "train", kind="tape")


def test_unknown_splits_and_options_are_told(tmp_path: Path) -> None:
    """With those there are."""
    rolls(tmp_path / "rolls.npz")
    with pytest.raises(DataError, match="no split 'dev'; it has train, valid, test"):
        data.load(tmp_path / "rolls.npz", "dev")
    with pytest.raises(ConfigurationError, match="has no colour"):
        data.load(tmp_path / "rolls.npz", "train", options={"colour": 1})


@pytest.mark.parametrize("spoil", ["truncate", "offsets", "shape"])
def test_a_damaged_piano_roll_is_refused(tmp_path: Path, spoil: str) -> None:
    """Truncated, cut wrongly, or of another width."""
    path = tmp_path / "rolls.npz"
    rolls(path)
    if spoil == "truncate":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        arrays = dict(np.load(path))
        wrong = {"offsets": np.array([0, 4, 2]), "shape": np.zeros((10, 9), dtype=np.uint8)}[spoil]
        arrays["train_offsets" if spoil == "offsets" else "train_bits"] = wrong
        np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"completely|do not cut|expected uint8"):
        data.load(path, "train", kind="pianoroll")


# --- sources and cards


def test_a_source_is_read_as_its_card_says(tmp_path: Path) -> None:
    """Kind and options come from the card where the kind fits the path; what the user says comes first."""
    np.save(tmp_path / "x.npy", np.arange(40.0))
    card = data.Source(path=tmp_path / "x.npy", options={"frame": 2, "length": 3}).as_card()
    assert card == {"name": "x.npy", "kind": "arrays", "options": {"frame": 2, "length": 3}}
    plain = data.Source(path=tmp_path / "x.npy")
    assert plain.like(card).load("train")[0].shape == (3, 2)
    mine = data.Source(path=tmp_path / "x.npy", options={"frame": 4})
    assert mine.like(card).load("train")[0].shape == (3, 4)
    rolls(tmp_path / "rolls.npz")
    assert data.Source(path=tmp_path / "rolls.npz").like(card).load("train")[0].shape == (3, 88)
    assert plain.like("jsb_chorales.npz") is plain
    other = data.Source(path=tmp_path / "x.npy", kind="pianoroll")
    assert other.like(card) is other


# --- arrays


def test_a_stream_is_split_by_time(tmp_path: Path) -> None:
    """The first eight tenths train, the last tenth tests; together they are the stream, NaN included."""
    stream = np.random.default_rng(0).normal(size=(50, 3))
    stream[7, 1] = np.nan
    np.save(tmp_path / "x.npy", stream)
    parts = {split: data.load(tmp_path / "x.npy", split) for split in ("train", "valid", "test")}
    assert [len(parts[s][0]) for s in ("train", "valid", "test")] == [40, 5, 5]
    joined = np.concatenate([parts[s][0] for s in ("train", "valid", "test")])
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, stream.astype(np.float32))
    cut = data.load(tmp_path / "x.npy", "train", options={"length": 16})
    assert [len(s) for s in cut] == [16, 16, 8]
    assert data.describe(tmp_path / "x.npy", options={"length": 16}).splits["train"] == 3


def test_sequences_are_split_by_their_order(tmp_path: Path) -> None:
    """Of ten sequences, eight, one and one, each whole."""
    array = np.random.default_rng(0).normal(size=(10, 6, 2))
    np.savez(tmp_path / "x.npz", x=array, rate=np.float64(360.0))
    loaded = [s for split in ("train", "valid", "test") for s in data.load(tmp_path / "x.npz", split)]
    np.testing.assert_array_equal(np.stack(loaded), array.astype(np.float32))
    halves = data.describe(tmp_path / "x.npz", options={"valid": 0.5, "test": 0.0})
    assert halves.splits == {"train": 5, "valid": 5}


def test_named_splits_and_offsets_are_kept(tmp_path: Path) -> None:
    """Arrays named after splits are these splits; offsets cut their rows."""
    rows = np.arange(12.0).reshape(6, 2)
    np.savez(tmp_path / "x.npz", train=rows, train_offsets=[0, 4, 6], valid=rows[None], test=rows[:2])
    assert [len(s) for s in data.load(tmp_path / "x.npz", "train")] == [4, 2]
    assert data.describe(tmp_path / "x.npz").splits == {"train": 2, "valid": 1, "test": 1}
    np.testing.assert_array_equal(data.load(tmp_path / "x.npz", "train")[1], rows[4:])


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": np.ones(9)}, {}, r"one axis.*frame=N"),
        ({"x": np.ones((2, 2)), "y": np.ones((2, 2))}, {}, r"several arrays.*key=NAME: x, y"),
        ({"x": np.ones((2, 2))}, {"key": "z"}, "no array 'z'"),
        ({"x": np.ones((2, 2, 2, 2))}, {}, r"expected \(T, D\)"),
        ({"x": np.ones((20, 2), dtype=complex)}, {}, "expected numbers"),
        ({"x": np.array([["a"] * 2] * 20)}, {}, "expected numbers"),
        ({"x": np.full((20, 2), np.inf)}, {}, "infinities"),
        ({"x": np.full((20, 2), 1e300)}, {}, "infinities"),
        ({"train": np.ones((6, 2)), "train_offsets": [0, 9]}, {}, "do not cut 6 rows"),
        ({"train": np.ones((6, 2)), "valid": np.ones((6, 3))}, {}, r"\[2, 3\] numbers"),
        ({"x": np.array([[None] * 2] * 20, dtype=object)}, {}, "damaged"),
        ({"x": np.ones((0, 2))}, {}, "no steps"),
        ({"x": np.ones((9, 0))}, {}, "no numbers"),
        ({"x": np.float64(3.0)}, {}, "holds no array"),
        ({"train": np.ones((6, 2)), "train_offsets": ["a", "b"]}, {}, "do not cut 6 rows"),
        ({"train": np.ones((2, 6, 2)), "train_offsets": [0, 6]}, {}, r"expected \(rows, D\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_arrays_of_another_form_are_refused(
    tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    """Nothing is guessed, and nothing pickled is read."""
    np.savez(tmp_path / "x.npz", allow_pickle=True, **arrays)
    with pytest.raises(DataError, match=message):
        data.load(tmp_path / "x.npz", "train", kind="arrays", options=options)


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """A hundred bytes that say they are a terabyte: refused before any memory is taken."""
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 34, 8)})
        file.write(b"\0" * 100)
    with pytest.raises(DataError, match="raise max_bytes"):
        data.load(path, "train")


@pytest.mark.parametrize("wrong", [{"frame": 0}, {"length": 0}, {"valid": 0.6, "test": 0.4}, {"test": -0.1}])
def test_array_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A frame and a sequence have a length, and something is left to train on."""
    np.save(tmp_path / "x.npy", np.ones((9, 2)))
    with pytest.raises(ConfigurationError, match="expected"):
        data.load(tmp_path / "x.npy", "train", options=wrong)


# --- statistics


def test_statistics_are_those_of_all_numbers() -> None:
    """Missing values are left out; a large mean does not drown a small deviation."""
    generator = np.random.default_rng(0)
    sequences = [(1e4 + generator.normal(size=(n, 3))).astype(np.float32) for n in (50, 20)]
    sequences[0][3, 1] = np.nan
    every = np.concatenate([s.ravel() for s in sequences]).astype(np.float64)
    every = every[~np.isnan(every)]
    mean, deviation = data.statistics(sequences)
    assert mean == pytest.approx(every.mean(), rel=1e-12)
    assert deviation == pytest.approx(every.std(), rel=1e-9)
    with pytest.raises(DataError, match="every value is missing"):
        data.statistics([np.full((3, 2), np.nan, dtype=np.float32)])
    with pytest.raises(DataError, match="deviation of 0"):
        data.statistics([np.ones((3, 2), dtype=np.float32)])


# --- every kind


def test_every_kind_and_option_is_documented() -> None:
    """docs/data.md has a section for each kind, and a row for each of its options."""
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    sections = {text.partition("\n")[0].partition("`")[2].partition("`")[0]: text for text in page.split("\n## ")[1:]}
    common = page[page.index("**Limits") : page.index("**Memory")]
    for kind in kinds(data):
        for field in dataclasses.fields(plugin(data, kind).Options):
            assert f"`{field.name}`" in sections[kind] + common, (kind, field.name)


def test_the_pages_examples_run(tmp_path: Path) -> None:
    """The code of docs/data.md, on files of its names."""
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    rolls(tmp_path / "jsb_chorales.npz")
    np.save(tmp_path / "sensors.npy", np.random.default_rng(0).normal(size=(100, 3)))
    for block in re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        with contextlib.chdir(tmp_path):
            exec(compile(block, "docs/data.md", "exec"), {})


# --- music


def melody(path: Path, tonic: str) -> None:
    """A file of music: a scale of eight quarter notes, and a chord on the tonic for four."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = stream.Part([key.Key(tonic)])
    for pitch in key.Key(tonic).getPitches(f"{tonic}4", f"{tonic}5"):
        part.append(note.Note(pitch, quarterLength=1.0))
    triad = [key.Key(tonic).pitchFromDegree(degree) for degree in (1, 3, 5)]
    part.append(chord.Chord([pitch.transpose("-P8") for pitch in triad], quarterLength=4.0))
    stream.Score([part]).write("midi" if path.suffix == ".mid" else "musicxml", path)


def test_a_folder_of_music_becomes_piano_rolls(tmp_path: Path) -> None:
    """MIDI and MusicXML, in sub-folders that are splits; scales in G and D are the same scale in C."""
    melody(tmp_path / "train" / "a.mid", "G")
    melody(tmp_path / "train" / "b.musicxml", "D")
    melody(tmp_path / "test" / "c.mid", "C")
    described = data.describe(tmp_path)
    assert (described.kind, described.splits) == ("music", {"train": 2, "test": 1})
    in_g, in_d = data.load(tmp_path, "train", options={"transpose": "c"})
    (in_c,) = data.load(tmp_path, "test", options={"transpose": "none"})
    assert [int(np.flatnonzero(row)[0]) + 21 for row in in_c[:8]] == [60, 62, 64, 65, 67, 69, 71, 72]
    assert (in_c.dtype, in_c.shape) == (np.dtype(np.uint8), (12, 88))
    np.testing.assert_array_equal(in_g, np.roll(in_c, 12, axis=1))
    np.testing.assert_array_equal(in_d, in_c)
    assert data.load(tmp_path / "test" / "c.mid", "test", options={"frame": 0.5})[0].shape == (24, 88)


def test_wrong_music_is_refused(tmp_path: Path) -> None:
    """A damaged file is named; a frame has a length."""
    broken = tmp_path / "train" / "a.mid"
    melody(broken, "C")
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DataError, match=r"a\.mid cannot be read as MIDI"):
        data.load(tmp_path, "train")
    with pytest.raises(ConfigurationError, match="more than 0"):
        data.load(tmp_path, "train", options={"frame": 0.0})
