"""What can be streamed: arrays, piano rolls, MIDI and MusicXML; and what cannot, told clearly."""

import sys
from pathlib import Path
from typing import Any

import av
import avf_sources as sources
import numpy as np
import pytest
import soundfile
from avf_client.errors import MissingExtra, SourceError
from avf_sources import Options, audio, music
from avf_sources._piece import Note
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
        sources.read("speech.mp3")


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


# --- sound


def noise(count: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Samples of 16 bits."""
    values = np.random.default_rng(seed).integers(-(1 << 15), 1 << 15, (count, channels))
    return values.astype(np.int16)


FORMATS = [("WAV", ".wav"), ("NIST", ".WAV"), ("NIST", ".sph"), ("FLAC", ".flac")]


@pytest.mark.parametrize(("form", "suffix"), FORMATS)
def test_sound_of_16_bits_is_read_bit_for_bit(tmp_path: Path, form: str, suffix: str) -> None:
    """Every level k / 32768 as it was written, the loudest ones too; what fills no frame is counted."""
    path, written = tmp_path / f"x{suffix}", noise(1050)
    written[:2, 0] = (-32768, 32767)
    soundfile.write(path, written, 16000, format=form, subtype="PCM_16")
    recording = sources.read(str(path))
    assert recording.frames.shape == (5, 200)
    np.testing.assert_array_equal(recording.frames.ravel(), written[:1000, 0] / 32768)
    assert recording.remarks == ("The last 50 samples fill no frame and are left out.",)
    assert sources.read(str(path), Options(samples=7)).frames.shape == (150, 7)
    assert (recording.rate, recording.piano_roll) == (16000, False)


def test_channels_are_averaged(tmp_path: Path) -> None:
    """Left and right, to the nearest level; the remark says so."""
    written = noise(400, channels=2)
    soundfile.write(tmp_path / "x.wav", written, 16000)
    recording = sources.read(str(tmp_path / "x.wav"))
    expected = written.astype(float).mean(1) / 32768
    assert np.abs(recording.frames.ravel() - expected).max() <= 0.5 / 32768
    assert "average of 2 channels" in recording.remarks[0]


def test_sound_is_resampled(tmp_path: Path) -> None:
    """A tone at 44.1 kHz is the same tone at 16 kHz: its values where the new samples lie."""
    seconds = np.arange(44100) / 44100
    soundfile.write(tmp_path / "x.flac", 0.5 * np.sin(2 * np.pi * 440.0 * seconds), 44100)
    recording = sources.read(str(tmp_path / "x.flac"))
    assert recording.frames.shape == (80, 200)
    expected = 0.5 * np.sin(2 * np.pi * 440.0 * np.arange(16000) / 16000)
    middle = slice(1000, 15000)  # away from the ends, where there is nothing to interpolate with
    assert np.abs(recording.frames.ravel() - expected)[middle].max() < 1e-3
    assert "Resampled from 44100 to 16000 Hz." in recording.remarks
    levels = recording.frames * 32768
    np.testing.assert_array_equal(levels, np.rint(levels))


def test_sound_beyond_full_scale_is_clipped_and_counted(tmp_path: Path) -> None:
    """A file of floats may be too loud; NaN is refused."""
    soundfile.write(tmp_path / "x.wav", np.array([0.5, 1.5, -2.0, 0.25]), 16000, subtype="FLOAT")
    recording = sources.read(str(tmp_path / "x.wav"), Options(samples=4))
    np.testing.assert_array_equal(recording.frames[0], [0.5, 32767 / 32768, -1.0, 0.25])
    assert recording.remarks == ("2 samples beyond [-1, 1] are clipped.",)
    soundfile.write(tmp_path / "nan.wav", np.array([0.5, np.nan]), 16000, subtype="FLOAT")
    with pytest.raises(SourceError, match="NaN"):
        sources.read(str(tmp_path / "nan.wav"))


@pytest.mark.parametrize(("form", "suffix"), FORMATS)
@pytest.mark.parametrize("kept", [20, 0.1, 0.5, 0.999])
def test_truncated_sound_is_refused(tmp_path: Path, form: str, suffix: str, kept: float) -> None:
    """A file cut in its header, in its samples, or by its last bytes; soundfile alone would read what is left."""
    path = tmp_path / f"x{suffix}"
    soundfile.write(path, noise(5000), 16000, format=form, subtype="PCM_16")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    with pytest.raises(SourceError, match="truncated"):
        sources.read(str(path))


def test_other_wrong_sound_is_refused(tmp_path: Path) -> None:
    """Too short for a frame, nothing at all, compressed SPHERE, and options that cannot be."""
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(199), 16000)
    with pytest.raises(SourceError, match="fewer than the 200"):
        sources.read(str(path))
    for options in (Options(samples=0), Options(rate=0)):
        with pytest.raises(SourceError, match="at least 1"):
            sources.read(str(path), options)
    soundfile.write(path, noise(0), 16000)
    with pytest.raises(SourceError, match="no samples"):
        sources.read(str(path))
    soundfile.write(path, noise(500), 16000, format="NIST", subtype="PCM_16")
    data = path.read_bytes()
    coded = data.replace(b"sample_coding -s3 pcm\n", b"sample_coding -s26 pcm,embedded-shorten-v2.00\n")[:1024]
    path.write_bytes(coded + data[1024:])
    with pytest.raises(SourceError, match="sph2pipe"):
        sources.read(str(path))


def test_a_wav_of_unknown_length_is_read(tmp_path: Path) -> None:
    """Programs that write to a pipe leave 0xFFFFFFFF where the length belongs."""
    path, written = tmp_path / "x.wav", noise(400)
    soundfile.write(path, written, 16000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    position = data.index(b"data") + 4
    data[position : position + 4] = data[4:8] = b"\xff" * 4
    path.write_bytes(bytes(data))
    np.testing.assert_array_equal(sources.read(str(path)).frames.ravel(), written[:, 0] / 32768)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without soundfile, or without soxr where a file must be resampled."""
    soundfile.write(tmp_path / "x.wav", noise(8000), 8000)
    for module in ("soxr", "soundfile"):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtra, match=r"avf\[audio\]"):
            sources.read(str(tmp_path / "x.wav"))


def test_real_speech_fills_its_frames(data_dir: Path) -> None:
    """Spoken digits at 8 kHz, at their own rate and at twice that."""
    path = str(data_dir / "speech" / "fsdd8k" / "nicolas.flac")
    samples, rate = soundfile.read(path, dtype="int16")
    own = audio.listen(path)
    np.testing.assert_array_equal(own.samples, samples / np.float32(32768))
    assert (own.rate, rate) == (8000, 8000)
    twice = audio.listen(path, rate=16000)
    assert len(twice.samples) == 2 * len(samples)
    assert np.corrcoef(twice.samples[::2], own.samples)[0, 1] > 0.999


# --- video


def write_video(path: Path, frames: np.ndarray, codec: str = "ffv1") -> Path:
    """Write grey frames (T, height, width); ffv1 in grey keeps every level."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "gray" if codec == "ffv1" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode(None))
    return path


def by_hand(frame: np.ndarray, size: int) -> np.ndarray:
    """The average by area, by brute force: each pixel becomes size x size equal ones, and these are averaged."""
    height, width = frame.shape
    fine = np.repeat(np.repeat(frame.astype(float), size, axis=0), size, axis=1)
    return fine.reshape(size, height, size, width).mean(axis=(1, 3))


@pytest.mark.parametrize(("shape", "size"), [((12, 16), 4), ((15, 20), 8), ((12, 16), 16), ((9, 16), 7)])
def test_video_is_averaged_by_area(tmp_path: Path, shape: tuple[int, int], size: int) -> None:
    """Grey levels k / 255, the picture squashed into a square, at whole factors and at fractions."""
    frames = np.random.default_rng(0).integers(0, 256, (5, *shape)).astype(np.uint8)
    path = write_video(tmp_path / "x.avi", frames)
    recording = sources.read(str(path), Options(size=size))
    expected = np.stack([by_hand(frame, size).ravel() for frame in frames]) / 255.0
    np.testing.assert_allclose(recording.frames, expected, atol=0.5001 / 255)
    np.testing.assert_allclose(recording.frames * 255, np.rint(recording.frames * 255), atol=1e-9)


def test_compressed_video_is_read(tmp_path: Path) -> None:
    """MPEG-4 in an AVI, as old data sets are: black stays black and white white, all frames are there."""
    frames = np.zeros((30, 48, 64), dtype=np.uint8)
    frames[10:] = 255
    path = write_video(tmp_path / "x.avi", frames, codec="mpeg4")
    found = sources.read(str(path), Options(size=8)).frames
    assert found.shape == (30, 64)
    assert found[:9].max() < 0.02
    assert found[12:].min() > 0.98


@pytest.mark.parametrize("codec", ["ffv1", "mpeg4", "rawvideo"])
@pytest.mark.parametrize("kept", [100, 0.5, 0.8])
def test_truncated_video_is_refused(tmp_path: Path, codec: str, kept: float) -> None:
    """Cut in its header or in its frames: what is left is not taken for the whole."""
    frames = np.random.default_rng(0).integers(0, 256, (40, 48, 64)).astype(np.uint8)
    path = write_video(tmp_path / "x.avi", frames, codec=codec)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    with pytest.raises(SourceError, match="truncated"):
        sources.read(str(path))


def test_other_wrong_video_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound without pictures, frames of no pixels, and PyAV not installed."""
    with av.open(str(tmp_path / "x.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="no pictures"):
        sources.read(str(tmp_path / "x.mkv"))
    path = write_video(tmp_path / "x.avi", np.zeros((3, 8, 8), dtype=np.uint8))
    with pytest.raises(SourceError, match="at least 1"):
        sources.read(str(path), Options(size=0))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"avf\[video\]"):
        sources.read(str(path))


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
    with pytest.raises(SourceError, match="raise max_frames"):
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
