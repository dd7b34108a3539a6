"""Video: KTH as its site ships it, Weizmann, Moving MNIST, streams of frames; on files of their formats made here."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from avf_core import data
from avf_core.data import kth, moving_mnist
from avf_core.errors import ConfigurationError, DataError

HEADER = """
This database contains sequences of six classes of actions performed by
25 subjects in four different conditions d1-d4 (see below).

d1 - Static homogenous background

Training:   person11, 12, 13, 14, 15, 16, 17, 18

"""


def write_video(path: Path, levels: list[int], codec: str = "ffv1") -> None:
    """An AVI of 160 x 120 pixels at 25 Hz whose frame t is uniformly grey, of level levels[t]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 160, 120
        stream.pix_fmt = "gray" if codec == "ffv1" else "yuv420p"
        for level in levels:
            picture = np.full((120, 160), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode(None))


TABLE = {
    "person11_walking_d1": "1-5, 6-10, 14-20",
    "person18_boxing_d4": "2-4",
    "person19_walking_d1": "1-6",
    "person01_boxing_d2": "3-7",
    "person22_walking_d1": "1-4, 5-9",
    "person02_running_d3": "1-3",
}


def make_kth(root: Path, table: dict[str, str] = TABLE, *, nested: bool = True) -> Path:
    """A small KTH: 20 frames a video, frame t (from 1) of level 10 * t; in a folder an action, or all in one."""
    for name in table:
        write_video(
            root / (name.split("_")[1] if nested else "") / f"{name}_uncomp.avi", [10 * t for t in range(1, 21)]
        )
    lines = [f"{name}\t\tframes\t{ranges}\r" for name, ranges in table.items()]
    (root / "00sequences.txt").write_text(HEADER + "\n".join([*lines, "person13_handclapping_d3\t*missing*\r", ""]))
    return root


def levels(sequence: np.ndarray) -> list[int]:
    """The level of each frame, all of whose pixels are the same."""
    assert np.ptp(sequence, axis=1).max() == 0.0
    return [round(255 * float(value)) for value in sequence[:, 0]]


@pytest.mark.parametrize("nested", [True, False])
def test_kth_is_cut_as_its_table_says(tmp_path: Path, nested: bool) -> None:
    """Frames are counted from 1, and the last of a range belongs to it; people are in their published split."""
    root = make_kth(tmp_path, nested=nested)
    described = data.describe(root)
    assert (described.kind, described.shape, described.rate) == ("kth", (64, 64), 25)
    assert described.splits == {"train": 4, "valid": 2, "test": 3}
    found = {split: [levels(s) for s in data.load(root, split)] for split in described.splits}

    def frames(first: int, last: int) -> list[int]:
        return [10 * t for t in range(first, last + 1)]

    assert found["train"] == [frames(1, 5), frames(6, 10), frames(14, 20), frames(2, 4)]
    assert found["valid"] == [frames(1, 6), frames(3, 7)]
    assert found["test"] == [frames(1, 4), frames(5, 9), frames(1, 3)]
    without = data.load(root, "valid", options={"last": "exclusive", "size": 8})
    assert [levels(s) for s in without] == [frames(1, 5), frames(3, 6)]
    assert without[0].shape == (5, 64)
    assert without[0].dtype == np.float32


def test_actions_of_kth_can_be_chosen(tmp_path: Path) -> None:
    """Then the videos of the others need not be there."""
    root = make_kth(tmp_path)
    (root / "boxing" / "person18_boxing_d4_uncomp.avi").unlink()
    with pytest.raises(DataError, match=r"no person18_boxing_d4_uncomp\.avi, nor 0 more of the 6 videos"):
        data.load(root, "test")
    assert data.describe(root, options={"actions": ["walking"]}).splits == {"train": 3, "valid": 1, "test": 2}
    with pytest.raises(ConfigurationError, match="no actions flying; there are walking"):
        data.load(root, "train", options={"actions": ["flying"]})


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    """The folder is known for a KTH by its videos; without the table nobody knows where sequences begin."""
    root = make_kth(tmp_path)
    (root / "00sequences.txt").unlink()
    with pytest.raises(DataError, match=r"no 00sequences\.txt in .*KTH's site has it"):
        data.load(root, "train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("person11_walking_d1\tframes\t5-1", "does not go forward"),
        ("person11_walking_d1\tframes\t0-9", "does not go forward"),
        ("person11_walking_d1\tframes\tone-two", "expected 'frames 1-95"),
        ("person11_walking_d1\tframes\t1-5; 6-9", "expected 'frames 1-95"),
        ("person26_walking_d1\tframes\t1-5", "no person from 1 to 25"),
        ("person11_flying_d1\tframes\t1-5", "of no action"),
        ("nothing", "no lines such as"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, line: str, message: str) -> None:
    """What is no range, no person or no action is named, not skipped."""
    (tmp_path / "00sequences.txt").write_text(HEADER + line)
    with pytest.raises(DataError, match=message):
        data.load(tmp_path, "train")


def test_videos_that_are_too_short_are_refused(tmp_path: Path) -> None:
    """Truncated, or shorter than the table says; what is there can be taken all the same, but not nothing."""
    root = make_kth(
        tmp_path, {"person11_walking_d1": "1-5, 18-22", "person19_walking_d1": "1-6", "person22_boxing_d1": "1-9"}
    )
    with pytest.raises(DataError, match=r"has 20 frames, its sequences .* go up to 22.*cut=true"):
        data.load(root, "train")
    assert [len(s) for s in data.load(root, "train", options={"cut": True})] == [5, 3]
    video = root / "walking" / "person19_walking_d1_uncomp.avi"
    video.write_bytes(video.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"person19.*truncated"):
        data.load(root, "valid")
    video.write_text("no video")
    with pytest.raises(DataError, match=r"person19.*cannot be read as video"):
        data.load(root, "valid")
    table = root / "00sequences.txt"
    table.write_text(table.read_text().replace("1-9", "21-29"))
    with pytest.raises(DataError, match="none of them in 21-29"):
        data.load(root, "test", options={"cut": True})


def test_the_real_table_is_read_whole(data_dir: Path) -> None:
    """599 videos with 2,391 sequences, as published; the split is the one that the table's own text names."""
    folder = data_dir / "video" / "kth_meta"
    entries = kth.table(folder)
    assert (len(entries), sum(len(entry.ranges) for entry in entries)) == (599, 2391)
    assert "person13_handclapping_d3" not in {entry.name for entry in entries}
    (first,) = [entry for entry in entries if entry.name == "person01_boxing_d1"]
    assert first.ranges == ((1, 95), (96, 185), (186, 245), (246, 360))
    text = (folder / "00sequences.txt").read_text()
    for name, split in (("Training", "train"), ("Validation", "valid"), ("Test", "test")):
        listed = text.partition(f"{name}:")[2].splitlines()[0].replace("person", "").split(",")
        assert [int(number) for number in listed] == list(kth.PERSONS[split])


# --- Weizmann and streams


def make_weizmann(path: Path, **changes: Any) -> np.ndarray:
    """Six clips of three and four frames: people 1, 2 and 5 in train, 7 in valid; gives the frames."""
    frames = np.random.default_rng(0).integers(0, 256, (21, 64, 64)).astype(np.uint8)
    arrays = {
        "frames": frames,
        "offsets": np.array([0, 3, 7, 10, 14, 17, 21]),
        "person": np.array([1, 2, 5, 7, 5, 7], dtype=np.int8),
        "action": np.zeros(6, dtype=np.int8),
        "split": np.array(["train", "train", "train", "valid", "train", "valid"]),
    }
    np.savez(path, **{**arrays, **changes})
    return frames


def test_weizmann_holds_out_people(tmp_path: Path) -> None:
    """`valid` is the file's own; `select` is person 5 of its train, or nobody."""
    frames = make_weizmann(tmp_path / "w.npz")
    described = data.describe(tmp_path / "w.npz")
    assert (described.kind, described.splits) == ("weizmann", {"train": 2, "select": 2, "valid": 2})
    assert (described.selection, described.reported, described.shape) == ("select", "valid", (64, 64))
    select = data.load(tmp_path / "w.npz", "select")
    np.testing.assert_array_equal(select[0], (frames[7:10] / 255.0).reshape(3, -1).astype(np.float32))
    np.testing.assert_array_equal(select[1], (frames[14:17] / 255.0).reshape(3, -1).astype(np.float32))
    assert data.describe(tmp_path / "w.npz", options={"select": []}).splits == {"train": 4, "valid": 2}
    with pytest.raises(DataError, match=r"no person \{7\} in train"):
        data.load(tmp_path / "w.npz", "train", options={"select": [7]})


@pytest.mark.parametrize(
    "changes",
    [
        {"offsets": np.array([0, 3, 7, 10, 14, 17, 22])},
        {"offsets": np.array([0, 7, 3, 10, 14, 17, 21])},
        {"person": np.array([1, 2])},
        {"frames": np.zeros((21, 4096), dtype=np.uint8)},
        {"frames": np.zeros((21, 64, 64))},
    ],
)
def test_a_damaged_weizmann_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Offsets that do not fit, lists of another length, frames that are no grey levels."""
    make_weizmann(tmp_path / "w.npz", **changes)
    with pytest.raises(DataError, match=r"do not describe|do not cut|expected uint8"):
        data.load(tmp_path / "w.npz", "train")


def test_a_stream_of_frames_is_split_by_time(tmp_path: Path) -> None:
    """Pixels k / 255; the parts together are the stream; it may be cut into shorter sequences."""
    frames = np.random.default_rng(0).integers(0, 256, (40, 8, 6)).astype(np.uint8)
    np.savez(tmp_path / "f.npz", frames=frames, fps=np.int64(10))
    described = data.describe(tmp_path / "f.npz", options={"length": 5})
    assert (described.kind, described.shape, described.rate) == ("frames", (8, 6), 10)
    assert described.splits == {"train": 7, "valid": 1, "test": 1}
    parts = [s for split in described.splits for s in data.load(tmp_path / "f.npz", split, options={"length": 5})]
    np.testing.assert_array_equal(np.concatenate(parts), (frames / 255.0).reshape(40, -1).astype(np.float32))
    np.savez(tmp_path / "g.npz", frames=frames / 255.0)
    with pytest.raises(DataError, match="expected uint8"):
        data.load(tmp_path / "g.npz", "train")
    np.savez(tmp_path / "h.npz", frames=frames[0])
    with pytest.raises(DataError, match="no frames of shape"):
        data.load(tmp_path / "h.npz", "train")


# --- Moving MNIST


def digits(path: Path, count: int = 30) -> np.ndarray:
    """An .npz of pictures that are recognisable: picture i is uniformly of level i + 1."""
    images = np.repeat(np.arange(1, count + 1, dtype=np.uint8), 28 * 28).reshape(count, 28, 28)
    np.savez(path, images=images, labels=np.zeros(count, dtype=np.uint8))
    return images


def test_digits_move_straight_and_bounce(tmp_path: Path) -> None:
    """Where a digit is seen, its picture is whole; it goes straight by as much each step until it meets a border."""
    digits(tmp_path / "m.npz")
    options = {"digits": 1, "length": 60, "train": 6, "valid": 1, "test": 0}
    for sequence in data.load(tmp_path / "m.npz", "train", options=options):
        frames = np.rint(sequence.reshape(60, 64, 64) * 255).astype(int)
        corners = []
        for frame in frames:
            rows, columns = np.nonzero(frame)
            assert (int(np.ptp(rows)), int(np.ptp(columns)), len(rows)) == (27, 27, 28 * 28)
            corners.append((rows.min(), columns.min()))
        moves = np.abs(np.diff(np.array(corners), axis=0))
        for axis in (0, 1):
            positions = np.array(corners)[1:-1, axis]
            free = (positions > 5) & (positions < 31)  # so far from a border that no step meets it
            both = free & np.roll(free, -1)
            both[-1] = False
            assert np.ptp(moves[1:, axis][both]) <= 1  # to a pixel, as places are rounded
        assert 2.0 - 1.5 <= np.hypot(*moves.T).max() <= 5.0 + 1.5


def test_bouncing_is_that_of_a_step_by_step_simulation() -> None:
    """A closed form against walls that turn the velocity round."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        room = generator.uniform(5.0, 40.0)
        start, velocity = generator.uniform(0.0, room), generator.uniform(-4.9, 4.9)
        place, speed, expected = start, velocity, []
        for _ in range(50):
            expected.append(place)
            place += speed
            if place < 0.0 or place > room:
                place, speed = (-place if place < 0.0 else 2.0 * room - place), -speed
        found = moving_mnist.bounce(np.array([start]), np.array([velocity]), np.arange(50), np.array([room]))
        np.testing.assert_allclose(found[:, 0], expected, atol=1e-9)


def test_a_sequence_depends_on_its_seed_split_and_number_only(tmp_path: Path) -> None:
    """Longer sets begin with shorter ones; other seeds and splits differ; splits share no digit."""
    digits(tmp_path / "m.npz")

    def made(split: str, **options: Any) -> list[np.ndarray]:
        return data.load(tmp_path / "m.npz", split, options={"train": 4, "valid": 4, "test": 4, **options})

    first, longer = made("train"), made("train", train=7, length=30)
    assert all(np.array_equal(a, b[:20]) for a, b in zip(first, longer[:4], strict=True))
    assert not np.array_equal(first[0], made("train", seed=1)[0])
    assert not np.array_equal(first[0], first[1])
    seen = {
        split: {round(255 * v) for s in made(split, train=40) for v in np.unique(s)[1:]} for split in ("train", "valid")
    }
    assert seen["train"] <= set(range(1, 25))
    assert seen["valid"] <= {25, 26, 27}


def test_what_cannot_move_is_refused(tmp_path: Path) -> None:
    """Frames too small for a digit, an archive without pictures, options that cannot be."""
    digits(tmp_path / "m.npz")
    with pytest.raises(DataError, match="do not fit into a frame of 20"):
        data.load(tmp_path / "m.npz", "train", options={"size": 20})
    np.savez(tmp_path / "n.npz", images=np.zeros((3, 28)), labels=np.zeros(3))
    with pytest.raises(DataError, match="no images of shape"):
        data.load(tmp_path / "n.npz", "train")
    for options in ({"length": 0}, {"digits": 0}, {"train": 0}, {"seed": -1}, {"size": 0}):
        with pytest.raises(ConfigurationError, match="expected"):
            data.load(tmp_path / "m.npz", "train", options=options)


# --- real video


def test_real_video_is_read_as_its_pages_say(data_dir: Path) -> None:
    """Counts, sizes and pixels of Weizmann, of the pedestrians, and of digits that move."""
    folder = data_dir / "video"
    path = folder / "weizmann64" / "weizmann64_gray_train_valid.npz"
    archive = np.load(path)
    assert data.describe(path).splits == {"train": 20, "select": 4, "valid": 4}
    valid = data.load(path, "valid")
    clip = int(np.flatnonzero(archive["split"] == "valid")[2])
    pixels = archive["frames"][archive["offsets"][clip] : archive["offsets"][clip + 1]]
    np.testing.assert_array_equal(np.rint(valid[2] * 255).astype(np.uint8), pixels.reshape(len(pixels), -1))
    assert data.describe(folder / "pedestrians64" / "pedestrians64.npz").rate == 10
    (moving,) = data.load(folder / "mnist_t10k" / "mnist_t10k.npz", "test", options={"test": 1})
    assert moving.shape == (20, 4096)
    assert moving.max() > 0.9
