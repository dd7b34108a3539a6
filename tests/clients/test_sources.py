"""What can be streamed: arrays, piano rolls, MIDI and MusicXML; and what cannot, told clearly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from avf_client import sources
from avf_client.errors import SourceError
from avf_client.sources import Options, music
from avf_client.sources.music import Note
from music21 import chord, harmony, instrument, key, meter, note, stream


def names(frame: np.ndarray) -> list[int]:
    """The MIDI notes of a frame."""
    return [int(column) + 21 for column in np.flatnonzero(frame)]


@pytest.mark.parametrize("kind", sources.kinds())
def test_every_kind_of_source_keeps_the_contract(kind: str, tmp_path: Path) -> None:
    """Each file of the folder names what it reads, and refuses an empty, a damaged and an absent file."""
    plugin = sources.load(kind)
    assert plugin.SUFFIXES or plugin.SCHEMES
    assert plugin.__doc__
    for suffix in plugin.SUFFIXES:
        empty, damaged = tmp_path / f"empty{suffix}", tmp_path / f"damaged{suffix}"
        empty.touch()
        damaged.write_bytes(b"\x00damaged\xff" * 20)
        with pytest.raises(SourceError, match="is empty"):
            sources.read(str(empty))
        with pytest.raises(SourceError, match=r"cannot be read|no notes"):
            sources.read(str(damaged))
        with pytest.raises(SourceError, match="is no file"):
            sources.read(str(tmp_path / f"absent{suffix}"))


def test_an_unknown_ending_lists_the_known_ones() -> None:
    """The error says what could be streamed."""
    with pytest.raises(SourceError, match=r"\*\.npy.*\*\.mid.*corpus:NAME"):
        sources.read("speech.flac")


# --- arrays


def test_an_npy_array_is_its_rows(tmp_path: Path) -> None:
    """(T, D) numbers of any kind become float64, and NaN stays."""
    path = tmp_path / "x.npy"
    np.save(path, np.array([[1, 2.5], [np.nan, 4]], dtype=np.float32))
    recording = sources.read(str(path))
    np.testing.assert_array_equal(recording.frames, [[1, 2.5], [np.nan, 4]])
    assert recording.frames.dtype == np.float64
    assert not recording.piano_roll


def test_an_archive_with_one_array_needs_no_key(tmp_path: Path) -> None:
    """The only array is the one; several need a key, and a wrong key lists them."""
    np.savez(tmp_path / "one.npz", x=np.ones((3, 2)))
    np.savez(tmp_path / "two.npz", x=np.ones((3, 2)), y=np.zeros((4, 2)))
    assert sources.read(str(tmp_path / "one.npz")).frames.shape == (3, 2)
    assert sources.read(str(tmp_path / "two.npz"), Options(key="y")).frames.shape == (4, 2)
    with pytest.raises(SourceError, match="--key: x, y"):
        sources.read(str(tmp_path / "two.npz"))
    with pytest.raises(SourceError, match="'z'; there are x, y"):
        sources.read(str(tmp_path / "two.npz"), Options(key="z"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(5), r"\(5,\).*reshape"),
        (np.ones((2, 3, 4)), r"\(2, 3, 4\)"),
        (np.ones((0, 4)), r"\(0, 4\)"),
        (np.array([["a"]]), "expected numbers"),
        (np.array([[1 + 2j]]), "expected numbers"),
        (np.array([[None]], dtype=object), "cannot be read"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    """One or three axes, nothing at all, text, complex numbers; and pickled objects are never loaded."""
    path = tmp_path / "x.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(SourceError, match=message):
        sources.read(str(path))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_truncated_array_is_refused(tmp_path: Path, suffix: str) -> None:
    """A file that was not copied to its end."""
    path = tmp_path / f"x{suffix}"
    with path.open("wb") as file:
        (np.save if suffix == ".npy" else np.savez)(file, np.random.default_rng(0).random((50, 8)))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(SourceError, match="cannot be read"):
        sources.read(str(path))


@pytest.fixture
def rolls(tmp_path: Path) -> Path:
    """An archive of two pieces, of two and three frames."""
    rows = np.zeros((5, 88), dtype=np.uint8)
    rows[[0, 1, 2, 3, 4], [39, 40, 41, 42, 43]] = 1
    bits, offsets = np.packbits(rows, axis=1), np.array([0, 2, 5])
    np.savez(tmp_path / "rolls.npz", test_bits=bits, test_offsets=offsets, midi_low=np.int64(21))
    return tmp_path / "rolls.npz"


def test_a_piece_of_an_archive_of_piano_rolls(rolls: Path) -> None:
    """ "test:1" is the second piece of the split."""
    recording = sources.read(str(rolls), Options(key="test:1"))
    assert [names(frame) for frame in recording.frames] == [[62], [63], [64]]
    assert recording.piano_roll
    assert recording.name == "rolls test:1"


@pytest.mark.parametrize("wrong", [None, "test", "test:x", "train:0", "test:2", "test:-1", "test:1:2"])
def test_a_wrong_piece_is_refused(rolls: Path, wrong: str | None) -> None:
    """The error says which pieces there are."""
    with pytest.raises(SourceError, match="pieces"):
        sources.read(str(rolls), Options(key=wrong))


# --- music


def test_a_note_counts_where_it_sounds_at_a_frames_beginning() -> None:
    """Rule by hand: 60 sounds at 0 and 1, 64 begins at 1.5 and sounds at 2, 67 lies between two beginnings."""
    notes = [Note(60, 0.0, 2.0), Note(64, 1.5, 3.0), Note(67, 0.25, 0.75)]
    frames, outside = music.roll(notes, frame=1.0)
    assert [names(frame) for frame in frames] == [[60], [60], [64]]
    assert outside == 0


def test_triplets_and_half_frames_are_cut_exactly() -> None:
    """Thirds that are not quite thirds begin where they should; a frame may be half a quarter note."""
    thirds = [Note(60 + i, i / 3 + 1e-9, (i + 1) / 3 + 1e-9) for i in range(6)]
    frames, _ = music.roll(thirds, frame=0.5)
    assert [names(frame) for frame in frames] == [[60], [61], [63], [64]]


def test_notes_beyond_the_keyboard_are_counted() -> None:
    """20 and 109 have no key."""
    frames, outside = music.roll([Note(20, 0, 1), Note(21, 0, 1), Note(108, 0, 1), Note(109, 0, 1)], frame=1.0)
    assert names(frames[0]) == [21, 108]
    assert outside == 2


def test_a_length_that_no_piece_has_is_refused() -> None:
    """A damaged file may claim a note of a year."""
    with pytest.raises(SourceError, match="damaged"):
        music.roll([Note(60, 0.0, 1e9)], frame=1.0)


@pytest.mark.parametrize(
    ("tonic", "shift"), [(0, 0), (1, -1), (2, -2), (4, -4), (5, -5), (6, -6), (7, 5), (9, 3), (10, 2), (11, 1)]
)
def test_the_shift_to_c_is_the_smallest(tonic: int, shift: int) -> None:
    """As the JSB arrays were made: down to six semitones, up to five."""
    assert music.shift_to_c(tonic) == shift


def scale_in_g() -> Any:
    """A scale, a chord, a rest and a note."""
    part = stream.Part([instrument.Piano(), key.Key("G"), meter.TimeSignature("4/4")])
    for pitch in ("G4", "A4", "B4", "C5", "D5", "E5", "F#5", "G5"):
        part.append(note.Note(pitch, quarterLength=1.0))
    part.append(chord.Chord(["G3", "B3", "D4"], quarterLength=2.0))
    part.append(note.Rest(quarterLength=1.0))
    part.append(note.Note("G4", quarterLength=1.0))
    return stream.Score([part])


@pytest.mark.parametrize("suffix", [".mid", ".musicxml", ".mxl"])
def test_files_of_music_become_frames(tmp_path: Path, suffix: str) -> None:
    """A scale, a chord, a rest: moved from G to C by +5, and up an octave for models of the JSB arrays."""
    path = scale_in_g().write("midi" if suffix == ".mid" else suffix[1:], tmp_path / f"scale{suffix}")
    recording = sources.read(str(path), Options(transpose="none"))
    expected = [[67], [69], [71], [72], [74], [76], [78], [79], [55, 59, 62], [55, 59, 62], [], [67]]
    assert [names(frame) for frame in recording.frames] == expected
    assert recording.piano_roll
    in_c = sources.read(str(path), Options(transpose="c"))
    assert names(in_c.frames[0]) == [72]
    assert "moved by +5" in in_c.remarks[0]
    assert names(sources.read(str(path)).frames[0]) == [84]
    halves = sources.read(str(path), Options(transpose="none", frame=0.5))
    assert len(halves.frames) == 2 * len(expected)


@pytest.mark.parametrize("suffix", [".mid", ".musicxml", ".mxl"])
def test_a_truncated_file_of_music_is_refused(tmp_path: Path, suffix: str) -> None:
    """Half a file says that it may be truncated, and no parser's exception leaves."""
    path = Path(scale_in_g().write("midi" if suffix == ".mid" else suffix[1:], tmp_path / f"scale{suffix}"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="truncated"):
        sources.read(str(path))


def test_a_piece_without_notes_is_refused(tmp_path: Path) -> None:
    """Rests and chord symbols are no notes."""
    part = stream.Part([note.Rest(quarterLength=4.0), harmony.ChordSymbol("C")])
    path = stream.Score([part]).write("musicxml", tmp_path / "rest.musicxml")
    with pytest.raises(SourceError, match="no notes"):
        sources.read(str(path))


def test_a_chorale_of_the_corpus() -> None:
    """BWV 102.7 is in C minor: 48 quarter notes that begin on C, C, E flat, G (an octave up)."""
    recording = sources.read("corpus:bach/bwv102.7")
    assert recording.frames.shape == (48, 88)
    assert names(recording.frames[0]) == [60, 72, 75, 79]
    assert recording.frame == 1.0


def test_an_unknown_piece_and_a_frame_of_nothing_are_refused() -> None:
    """The corpus says so; a frame has a length."""
    with pytest.raises(SourceError, match="no piece"):
        sources.read("corpus:bach/bwv9999")
    with pytest.raises(SourceError, match="more than 0"):
        sources.read("corpus:bach/bwv102.7", Options(frame=0.0))
