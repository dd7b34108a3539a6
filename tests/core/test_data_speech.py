"""Speech: TIMIT as the LDC ships it, packed sets, folders of sound; on files of the right format made here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from avf_core import data
from avf_core.errors import ConfigurationError, DataError

Speakers = dict[str, list[str]]


def noise(count: int, seed: int, channels: int = 1) -> np.ndarray:
    """Samples of 16 bits."""
    return np.random.default_rng(seed).integers(-9000, 9000, (count, channels)).astype(np.int16)


def sphere(path: Path, samples: np.ndarray, rate: int = 16000) -> None:
    """Write a NIST SPHERE file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, format="NIST", subtype="PCM_16")


def timit(root: Path, *, lower: bool = False, train: int = 12, test: int = 3) -> dict[str, np.ndarray]:
    """Write a small TIMIT, three sentences a speaker; gives the samples by upper-case path below `root`."""
    written: dict[str, np.ndarray] = {}
    sentences = ("SA1", "SI573", "SX33")
    for half, speakers in (("TRAIN", train), ("TEST", test)):
        for number in range(speakers):
            speaker = f"{'FM'[number % 2]}{half[1]}X{number:02d}"
            for sentence in sentences:
                name = f"{half}/DR{number % 2 + 1}/{speaker}/{sentence}.WAV"
                samples = noise(650 + 10 * number, len(written))
                sphere(root / (name.lower() if lower else name), samples)
                (root / (name.lower() if lower else name)).with_suffix(".TXT").write_text("0 1 she had")
                written[name] = samples[:, 0]
    return written


def as_frames(samples: np.ndarray, frame: int = 200) -> np.ndarray:
    """By hand: whole frames of k / 32768."""
    count = len(samples) // frame
    return (samples[: count * frame] / 32768).reshape(count, frame)


# --- TIMIT


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("inner", ["", "TIMIT"])
def test_timit_is_read_bit_for_bit(tmp_path: Path, lower: bool, inner: str) -> None:
    """Every utterance is in one split, as it was written, in either case of names, from either folder."""
    written = timit(tmp_path / inner, lower=lower)
    described = data.describe(tmp_path)
    assert (described.kind, described.rate, described.observation_size) == ("timit", 16000, 200)
    assert described.splits == {"train": 33, "valid": 3, "test": 9}
    loaded = {split: data.load(tmp_path, split) for split in described.splits}
    assert {s: len(x) for s, x in loaded.items()} == described.splits
    expected = {as_frames(samples).astype(np.float32).tobytes() for samples in written.values()}
    assert {x.tobytes() for split in loaded.values() for x in split} == expected
    test = {as_frames(s).astype(np.float32).tobytes() for name, s in written.items() if name.startswith("TEST")}
    assert {x.tobytes() for x in loaded["test"]} == test


def test_timits_split_is_of_speakers_and_does_not_move(tmp_path: Path) -> None:
    """All sentences of a speaker are in one split; upper and lower case, and another folder, give the same ones."""
    one = timit(tmp_path / "one")
    timit(tmp_path / "two", lower=True)
    owner = {as_frames(s).astype(np.float32).tobytes(): Path(name).parts[2] for name, s in one.items()}
    parts = {}
    for split in ("train", "valid"):
        speakers = [owner[x.tobytes()] for x in data.load(tmp_path / "one", split, options={"valid": 0.25})]
        assert speakers == [owner[x.tobytes()] for x in data.load(tmp_path / "two", split, options={"valid": 0.25})]
        assert all(speakers.count(speaker) == 3 for speaker in speakers)
        parts[split] = set(speakers)
    assert (len(parts["train"]), len(parts["valid"])) == (9, 3)
    assert not parts["train"] & parts["valid"]


def test_the_dialect_sentences_can_be_left_out(tmp_path: Path) -> None:
    """SA1 of every speaker goes, from all splits; the frame may have another size."""
    written = timit(tmp_path)
    options = {"dialect": False, "frame": 100}
    assert data.describe(tmp_path, options=options).splits == {"train": 22, "valid": 2, "test": 6}
    found = {x.tobytes() for s in ("train", "valid", "test") for x in data.load(tmp_path, s, options=options)}
    kept = {as_frames(s, 100).astype(np.float32).tobytes() for name, s in written.items() if "SA1" not in name}
    assert found == kept


def spoil(path: Path, how: str) -> None:
    """Replace a file by a wrong one."""
    match how:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-100])
        case "rate":
            sphere(path, noise(700, 0), rate=8000)
        case "stereo":
            sphere(path, noise(700, 0, channels=2))
        case "empty":
            path.write_bytes(b"")
        case "short":
            sphere(path, noise(150, 0))
        case "text":
            path.write_text("no sound")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "truncated"),
        ("rate", "1 channels at 8000 Hz: TIMIT is mono at 16000"),
        ("stereo", "2 channels at 16000 Hz"),
        ("empty", "is empty"),
        ("short", "fewer than the 200"),
        ("text", "cannot be read"),
    ],
)
def test_wrong_files_in_timit_are_named(tmp_path: Path, how: str, message: str) -> None:
    """The error names the file and what is wrong with it."""
    timit(tmp_path)
    spoil(tmp_path / "TEST/DR1/FEX00/SX33.WAV", how)
    with pytest.raises(DataError, match=rf"SX33\.WAV.*{message}"):
        data.load(tmp_path, "test")


def test_a_timit_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    """Without TEST, with one speaker only, with a speaker in both halves, or with none of its folders."""
    timit(tmp_path / "a", test=0)
    with pytest.raises(DataError, match="no utterances in TEST"):
        data.load(tmp_path / "a", "train")
    timit(tmp_path / "b", train=1)
    with pytest.raises(DataError, match="one speaker in TRAIN"):
        data.load(tmp_path / "b", "train")
    timit(tmp_path / "c")
    sphere(tmp_path / "c" / "TEST" / "DR1" / "FRX00" / "SX1.WAV", noise(400, 0))
    with pytest.raises(DataError, match="frx00 speak in TRAIN and in TEST"):
        data.load(tmp_path / "c", "train")
    with pytest.raises(DataError, match="is no TIMIT: expected TRAIN/DR1/SPEAKER"):
        data.load(tmp_path, "train", kind="timit")
    for options in ({"valid": 1.0}, {"valid": -0.1}, {"frame": 0}):
        with pytest.raises(ConfigurationError, match="expected"):
            data.load(tmp_path / "c", "train", options=options)


# --- packed sets


def packed(folder: Path, index: dict[str, list[Any]], lengths: dict[str, int], rate: int) -> dict[str, np.ndarray]:
    """Write FLAC files of these lengths and an index; gives their samples."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, np.ndarray] = {}
    for number, (stem, length) in enumerate(lengths.items()):
        written[stem] = noise(length, number)[:, 0]
        soundfile.write(folder / f"{stem}.flac", written[stem], rate)
    (folder / "index.json").write_text(json.dumps(index))
    return written


def crowd(folder: Path) -> dict[str, np.ndarray]:
    """A small crowd16k: eight train utterances of four groups of voices, two valid ones."""
    train = [{"file": f"{i}.wav", "start": 500 * i, "length": 500 - i, "split_group": i // 2} for i in range(8)]
    valid = [{"file": f"v{i}.wav", "start": 400 * i, "length": 400, "split_group": 9} for i in range(2)]
    return packed(folder, {"train": train, "valid": valid}, {"train": 4000, "valid": 800}, 16000)


def test_crowd16k_holds_out_whole_voices(tmp_path: Path) -> None:
    """`valid` is the folder's own; `select` and `train` share the folder's train, by groups of voices."""
    written = crowd(tmp_path)
    described = data.describe(tmp_path, options={"select": 0.25})
    assert (described.kind, described.splits) == ("crowd16k", {"train": 6, "select": 2, "valid": 2})
    assert (described.selection, described.reported) == ("select", "valid")
    source = {as_frames(written["train"][500 * i : 1000 * i + 500 - i][:500]).tobytes(): i // 2 for i in range(8)}
    groups = {}
    for split in ("train", "select"):
        found = data.load(tmp_path, split, options={"select": 0.25})
        groups[split] = {source[x.astype(np.float64).tobytes()] for x in found}
    assert len(groups["select"]) == 1
    assert not groups["train"] & groups["select"]
    valid = data.load(tmp_path, "valid")
    np.testing.assert_array_equal(valid[1], as_frames(written["valid"][400:]))
    without = data.describe(tmp_path, options={"select": 0.0})
    assert (without.splits["train"], without.selection) == (8, "valid")


def test_fsdd_has_the_published_split(tmp_path: Path) -> None:
    """Index 0 to 4 test, 5 to 9 valid, from 10 on train; or whole speakers."""
    index = {
        speaker: [[f"{digit}_{speaker}_{i}.wav", 300 * (12 * digit + i), 300] for digit in (0, 1) for i in range(12)]
        for speaker in ("ann", "bob", "cid")
    }
    written = packed(tmp_path, index, dict.fromkeys(index, 300 * 24), 8000)
    described = data.describe(tmp_path)
    assert (described.kind, described.rate) == ("fsdd", 8000)
    assert described.splits == {"train": 12, "valid": 30, "test": 30}
    np.testing.assert_array_equal(data.load(tmp_path, "test")[0], as_frames(written["ann"][:300]))
    np.testing.assert_array_equal(data.load(tmp_path, "train")[0], as_frames(written["ann"][3000:3300]))
    speakers = {"valid_speakers": ["bob"], "test_speakers": ["cid"]}
    whole = data.load(tmp_path, "test", options=speakers)
    assert len(whole) == 24
    np.testing.assert_array_equal(whole[-1], as_frames(written["cid"][-300:]))
    twice = data.load(tmp_path, "test", options={"rate": 16000})
    assert twice[0].shape == (3, 200)
    with pytest.raises(DataError, match="no speaker dan; there are ann, bob, cid"):
        data.load(tmp_path, "test", options={**speakers, "test_speakers": ["dan"]})
    with pytest.raises(ConfigurationError, match="both or neither"):
        data.load(tmp_path, "test", options={"test_speakers": ["cid"]})


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"start": 3000, "length": 1001, "split_group": 1}, "not of one copy"),
        ({"start": -1, "length": 100, "split_group": 1}, "has an utterance at -1"),
        ({"start": 0, "length": 0, "split_group": 1}, "of 0 samples"),
        ({"start": "0", "length": 10, "split_group": 1}, "at '0'"),
        ({"start": 0, "length": 400}, "no start, length and split_group"),
        ({"start": 0, "length": 100, "split_group": 1}, "fewer than the 200"),
    ],
)
def test_a_wrong_index_is_refused(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    """Records beyond the file, before it, empty, or without their fields."""
    crowd(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"train": [record]}))
    with pytest.raises(DataError, match=message):
        data.load(tmp_path, "train", kind="crowd16k", options={"select": 0.0})


def test_an_index_that_is_none_is_refused(tmp_path: Path) -> None:
    """No JSON, another form, none at all; a FLAC file at another rate, or away."""
    crowd(tmp_path)
    for text, message in (("{", "is no JSON"), ("[1]", "expected an object"), ('{"valid": []}', "no train utterances")):
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(DataError, match=message):
            data.load(tmp_path, "train", kind="crowd16k")
    (tmp_path / "index.json").unlink()
    with pytest.raises(DataError, match="beside the FLAC files"):
        data.load(tmp_path, "train", kind="crowd16k")
    crowd(tmp_path)
    soundfile.write(tmp_path / "valid.flac", noise(800, 0), 8000)
    with pytest.raises(DataError, match="1 channels at 8000 Hz, expected 1 at 16000"):
        data.load(tmp_path, "valid")
    (tmp_path / "valid.flac").unlink()
    with pytest.raises(DataError, match=r"valid\.flac is no file"):
        data.load(tmp_path, "valid")


# --- folders of sound


def test_a_folder_of_sound_is_split_by_names(tmp_path: Path) -> None:
    """Every file is in one split, WAV and FLAC, resampled; the split is of the names, not of their order on disk."""
    folders = [tmp_path / "one", tmp_path / "two"]
    names = [f"{'abc'[i % 3]}/{i:02d}{('.wav', '.flac')[i % 2]}" for i in range(20)]
    for folder, order in zip(folders, (names, names[::-1]), strict=True):
        for name in order:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / name, noise(800 + int(name[2:4]), int(name[2:4])), 8000)
    described = data.describe(folders[0])
    assert (described.kind, described.splits) == ("audio", {"train": 16, "valid": 2, "test": 2})
    assert described.rate == 16000
    for split in described.splits:
        pairs = zip(data.load(folders[0], split), data.load(folders[1], split), strict=True)
        assert all(a.shape == (8, 200) and np.array_equal(a, b) for a, b in pairs)
    by_folder = data.describe(folders[0], options={"whole": "folder", "valid": 0.3, "test": 0.3})
    assert sorted(by_folder.splits.values()) == [6, 7, 7]


def test_sub_folders_named_after_splits_are_these_splits(tmp_path: Path) -> None:
    """Whatever the fractions say; one file alone is a test split."""
    for number, name in enumerate(("train/a/x.wav", "train/y.wav", "val/z.wav", "Test/w.flac")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, noise(450, number), 16000)
    assert data.describe(tmp_path).splits == {"train": 2, "valid": 1, "test": 1}
    (only,) = data.load(tmp_path / "Test" / "w.flac", "test")
    np.testing.assert_array_equal(only, as_frames(noise(450, 3)[:, 0]))
    np.testing.assert_array_equal(data.load(tmp_path, "test")[0], only)


def test_folders_that_cannot_be_split_are_refused(tmp_path: Path) -> None:
    """Too few files, none of the kind, and options that cannot be."""
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", noise(450, number), 16000)
    with pytest.raises(DataError, match="2 files, too few"):
        data.load(tmp_path, "train")
    (tmp_path / "sub").mkdir()
    with pytest.raises(DataError, match=r"no files ending in .*\.wav"):
        data.load(tmp_path / "sub", "train", kind="audio")
    for options in ({"rate": 0}, {"valid": 0.5, "test": 0.5}, {"whole": "speaker"}):
        with pytest.raises(ConfigurationError, match="expected"):
            data.load(tmp_path, "train", options=options)


# --- real speech


def test_real_speech_is_read_as_its_pages_say(data_dir: Path) -> None:
    """crowd16k and FSDD: counts, rates, and samples that soundfile alone finds where the index says."""
    crowd16k = data_dir / "speech" / "crowd16k"
    described = data.describe(crowd16k)
    index = json.loads((crowd16k / "index.json").read_text())
    assert described.splits["valid"] == len(index["valid"])
    assert described.splits["train"] + described.splits["select"] == len(index["train"])
    valid = data.load(crowd16k, "valid")
    record = index["valid"][17]
    with soundfile.SoundFile(crowd16k / "valid.flac") as file:
        file.seek(record["start"])
        samples = file.read(record["length"], dtype="int16")
    np.testing.assert_array_equal(valid[17], as_frames(samples))
    fsdd = data.describe(data_dir / "speech" / "fsdd8k")
    assert (fsdd.splits, fsdd.rate) == ({"train": 2400, "valid": 300, "test": 300}, 8000)
