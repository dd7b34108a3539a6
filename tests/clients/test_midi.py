"""MIDI files: every note at its ticks, whatever the division; what is left out is said; what is broken is refused.

The truth: ticks counted by hand, the byte layout of Standard MIDI Files 1.1, and mido as a writer of its own.
"""

import re
import struct
import sys
from fractions import Fraction
from pathlib import Path

import avf_sources as sources
import mido
import numpy as np
import pytest
from avf_sources import MissingExtra, Options, SourceError

ON, OFF = 0x90, 0x80
Event = tuple[int, bytes]


def number(value: int) -> bytes:
    """A number of variable length."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, value & 0x7F | 0x80)
    return bytes(digits)


def chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack(">I", len(data)) + data


def track(*events: Event, end: bytes = b"\x00\xff\x2f\x00") -> bytes:
    """A track of (ticks since the last event, message)."""
    return chunk(b"MTrk", b"".join(number(delta) + message for delta, message in events) + end)


def midi(*tracks: bytes, form: int = 1, division: int = 480, count: int | None = None) -> bytes:
    """A file of these tracks, and of whatever chunks stand among them."""
    return chunk(b"MThd", struct.pack(">HHH", form, len(tracks) if count is None else count, division)) + b"".join(
        tracks
    )


def on(key: int, channel: int = 0) -> bytes:
    return bytes((ON | channel, key, 90))


def off(key: int, channel: int = 0) -> bytes:
    return bytes((OFF | channel, key, 0))


def read(folder: Path, data: bytes, frame: float = 1.0) -> sources.Recording:
    (folder / "x.mid").write_bytes(data)
    return sources.read(str(folder / "x.mid"), Options(transpose="none", frame=frame))


def heard(folder: Path, data: bytes, frame: float = 1.0) -> list[list[int]]:
    """The keys of each frame."""
    return [[int(column) + 21 for column in np.flatnonzero(row)] for row in read(folder, data, frame).frames]


def run(ticks: int, notes: int = 10) -> bytes:
    """Notes one after another, each a key higher."""
    return track(*(event for i in range(notes) for event in ((0, on(60 + i)), (ticks, off(60 + i)))))


DIVISIONS, PARTS = (1, 24, 96, 480, 960, 32767), (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 64)


@pytest.mark.parametrize(("division", "parts"), [(d, p) for d in DIVISIONS for p in PARTS if d % p == 0])
def test_a_run_of_equal_notes_is_a_note_a_frame(tmp_path: Path, division: int, parts: int) -> None:
    """Eighths, triplets, quintuplets, septuplets, 32nds, 64ths: wherever the division has ticks for them."""
    data = midi(run(division // parts), division=division)
    assert heard(tmp_path, data, 1 / parts) == [[60 + i] for i in range(10)]


def test_swing_is_where_its_ticks_are(tmp_path: Path) -> None:
    """Eighths of 320 and 160 ticks begin at 0, 2/3, 1, 5/3; frames of a twelfth see each length."""
    data = midi(track(*((d, m) for i in range(4) for d, m in ((0, on(60 + i)), (160 if i % 2 else 320, off(60 + i))))))
    keys = heard(tmp_path, data, 1 / 12)
    assert keys == [[60]] * 8 + [[61]] * 4 + [[62]] * 8 + [[63]] * 4


def test_ticks_drawn_at_random_are_what_brute_force_counts(tmp_path: Path) -> None:
    """mido writes 200 notes of several voices at any ticks; each frame holds those with start <= beginning < end."""
    random = np.random.default_rng(0)
    starts, lengths = random.integers(0, 20_000, 200), random.integers(1, 900, 200)
    keys, frame = random.permutation(88).tolist() * 3, Fraction(1, 7)
    notes = [(21 + key, int(a), int(a + n)) for key, a, n in zip(keys, starts, lengths, strict=False)]
    file = mido.MidiFile(ticks_per_beat=441)
    for voice in range(3):  # a key in one voice once: what notes of one key do to each other is tested apart
        messages = [(a, "note_on", key) for key, a, _ in notes[88 * voice : 88 * voice + 88]]
        messages += [(b, "note_off", key) for key, _, b in notes[88 * voice : 88 * voice + 88]]
        part, last = mido.MidiTrack(), 0
        for tick, kind, key in sorted(messages):
            part.append(mido.Message(kind, note=key, velocity=64, time=tick - last))
            last = tick
        file.tracks.append(part)
    file.save(tmp_path / "x.mid")
    frames = sources.read(str(tmp_path / "x.mid"), Options(transpose="none", frame=float(frame))).frames
    for at, row in enumerate(frames):
        expected = {key for key, a, b in notes if Fraction(a, 441) <= at * frame < Fraction(b, 441)}
        assert {int(column) + 21 for column in np.flatnonzero(row)} == expected
    assert len(frames) == -(-max(b for _, _, b in notes) // (441 * frame))


def test_only_the_key_needs_music21(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read without it; to move it to C the extra is named, and the way without it."""
    for module in [name for name in sys.modules if name.split(".")[0] == "music21"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert heard(tmp_path, midi(run(480, 2))) == [[60], [61]]
    with pytest.raises(MissingExtra, match=r'transpose="none".*avf\[music\]'):
        sources.read(str(tmp_path / "x.mid"))


def test_frames_shorter_than_any_tolerance_are_cut_exactly(tmp_path: Path) -> None:
    """A tick of 1/32767 quarter notes in frames of a hundredth of it."""
    frames = heard(tmp_path, midi(run(1, 2), division=32767), 0.01 / 32767)
    assert frames == [[60]] * 100 + [[61]] * 100


NO_FRAME_AFTER: dict[str, tuple[list[bytes], list[list[int]]]] = {
    "velocity 0 ends a note, and the status is kept": (
        [track((0, on(60)), (480, bytes((60, 0))), (0, bytes((62, 90))), (480, bytes((62, 0))))],
        [[60], [62]],
    ),
    "the status is kept across texts": (
        [track((0, on(60)), (0, b"\xff\x01\x02hi"), (480, bytes((60, 0))))],
        [[60]],
    ),
    "a rest before the first note": ([track((960, on(60)), (480, off(60)))], [[], [], [60]]),
    "a note of no length": ([track((0, on(60)), (0, off(60)), (0, on(64)), (480, off(64)))], [[64]]),
    "a key that is struck again is up once it is let go": (
        [track((0, on(60)), (480, on(60)), (480, off(60)), (480, off(60)))],
        [[60], [60]],
    ),
    "a key struck again at the tick at which it is let go, in either order": (
        [track((0, on(60)), (480, on(60)), (0, off(60)), (960, off(60)), (0, on(62)), (480, off(62)))],
        [[60], [60], [60], [62]],
    ),
    "a key in two channels": (
        [track((0, on(60)), (480, on(60, 1)), (480, off(60)), (480, off(60, 1)))],
        [[60]] * 3,
    ),
    "a key in two tracks of one channel": (
        [track((0, on(60)), (1440, off(60))), track((480, on(60)), (480, off(60)))],
        [[60]] * 3,
    ),
    "a key let go that was never struck": ([track((0, off(61)), (0, on(60)), (480, off(60)))], [[60]]),
    "all notes off": ([track((0, on(60)), (0, on(64)), (480, b"\xb0\x7b\x00"), (480, off(60)))], [[60, 64]]),
    "all sound off, of one channel": (
        [track((0, on(60)), (0, on(64, 1)), (480, b"\xb0\x78\x00"), (480, off(64, 1)))],
        [[60, 64], [64]],
    ),
    "tempo and metre change nothing": (
        [
            track(
                (0, b"\xff\x51\x03\x07\xa1\x20"),
                (480, b"\xff\x51\x03\x03\xa1\x20"),
                (0, b"\xff\x58\x04\x03\x02\x18\x08"),
            ),
            run(480, 3),
        ],
        [[60], [61], [62]],
    ),
    "system exclusive messages, also in packets": (
        [track((0, b"\xf0\x03\x7e\x7f\x09"), (0, on(60)), (240, b"\xf7\x02\x01\xf7"), (240, off(60)))],
        [[60]],
    ),
    "messages of the wire": ([track((0, on(60)), (240, b"\xf8"), (0, b"\xf2\x00\x01"), (240, off(60)))], [[60]]),
    "programs and pressure, of one byte": (
        [track((0, b"\xc0\x05"), (0, on(60)), (240, b"\xd0\x40"), (0, b"\xa0\x3c\x01"), (240, off(60)))],
        [[60]],
    ),
    "a name that is no UTF-8": ([track((0, b"\xff\x03\x04\x83\x5a\xe9\xff"), (0, on(60)), (480, off(60)))], [[60]]),
}


@pytest.mark.parametrize("name", NO_FRAME_AFTER)
def test_messages_mean_what_the_specification_says(tmp_path: Path, name: str) -> None:
    """By hand, 480 ticks a quarter note; without a remark, for nothing of the notes is lost."""
    tracks, expected = NO_FRAME_AFTER[name]
    assert heard(tmp_path, midi(*tracks)) == expected
    assert read(tmp_path, midi(*tracks)).remarks == ()


def test_chunks_of_other_kinds_and_longer_headers_are_passed_over(tmp_path: Path) -> None:
    """As the specification asks of readers: "XFIH" among the tracks, and a header of eight bytes."""
    data = chunk(b"MThd", struct.pack(">HHH", 1, 2, 480) + b"\x00\x00")
    data += run(480, 1) + chunk(b"XFIH", b"anything") + track((480, on(72)), (480, off(72)))
    assert heard(tmp_path, data) == [[60], [72]]


@pytest.mark.parametrize(("form", "tracks"), [(0, 1), (0, 2), (1, 1), (1, 3), (2, 1)])
def test_formats_that_are_one_piece_are_read(tmp_path: Path, form: int, tracks: int) -> None:
    """Tracks sound together; format 2 is one piece where it has one track."""
    assert heard(tmp_path, midi(*[run(480, 2)] * tracks, form=form)) == [[60], [61]]


@pytest.mark.parametrize(
    ("frames", "parts", "tempo", "ticks"),
    [
        (25, 40, None, 500),  # 1,000 ticks a second, 120 quarter notes a minute where nothing is said
        (25, 40, 1_000_000, 1000),
        (24, 10, 500_000, 120),
        (30, 4, 500_000, 60),
        (29, 100, 1_001_000, 3000),  # 29.97 frames a second: 30 frames are 1.001 s
    ],
)
def test_a_smpte_clock_counts_in_seconds(
    tmp_path: Path, frames: int, parts: int, tempo: int | None, ticks: int
) -> None:
    """Ticks are parts of frames of a second; the tempo says how many are a quarter note."""
    said = [] if tempo is None else [(0, b"\xff\x51\x03" + tempo.to_bytes(3, "big"))]
    data = midi(track(*said), run(ticks, 4), division=(0x100 - frames) << 8 | parts)
    assert heard(tmp_path, data) == [[60], [61], [62], [63]]
    assert any("SMPTE" in remark for remark in read(tmp_path, data).remarks)


def test_tempo_changes_of_a_smpte_clock_count(tmp_path: Path) -> None:
    """1,000 ticks a second: quarters of 1 s, then, from 2 s on, of 0.5 s."""
    changes = track((0, b"\xff\x51\x03\x0f\x42\x40"), (2000, b"\xff\x51\x03\x07\xa1\x20"))
    notes = track((0, on(60)), (1000, off(60)), (0, on(61)), (1500, off(61)), (0, on(62)), (500, off(62)))
    assert heard(tmp_path, midi(changes, notes, division=(0x100 - 25) << 8 | 40)) == [[60], [61], [61], [62]]


REMARKED: dict[str, tuple[bytes, list[list[int]], str]] = {
    "percussion": (
        midi(track((0, on(36, 9)), (0, on(60)), (480, off(36, 9)), (0, off(60)))),
        [[60]],
        "channel 10.*1 note",
    ),
    "hanging": (midi(track((0, on(60)), (960, b"\xb0\x07\x64"))), [[60], [60]], "never let go.*1 note"),
    "pedal": (
        midi(track((0, b"\xb0\x40\x7f"), (0, on(60)), (480, off(60)), (480, b"\xb0\x40\x00"))),
        [[60]],
        "sustain pedal",
    ),
    "wheel": (midi(track((0, b"\xe0\x00\x50"), (0, on(60)), (480, off(60)))), [[60]], "pitch wheel"),
    "tuning": (midi(track((0, b"\xb0\x64\x02"), (0, on(60)), (480, off(60)))), [[60]], "Tuning"),
    "no end": (midi(track((0, on(60)), (480, off(60)), end=b"")), [[60]], "no end mark"),
    "beyond the end": (
        midi(track((0, on(60)), (480, off(60)), end=b"\x00\xff\x2f\x00\x00\x90\x40")),
        [[60]],
        "follows the end",
    ),
    "beyond the tracks": (midi(run(480, 1)) + b"\x00" * 7, [[60]], "last track.*7 bytes"),
    "a track too many": (midi(run(480, 1), run(480, 3), count=1), [[60]], "last track"),
    "beyond the keyboard": (
        midi(track((0, on(127)), (0, on(0)), (0, on(60)), (480, off(127)), (0, off(0)), (0, off(60)))),
        [[60]],
        "2 notes beyond the keyboard",
    ),
}


@pytest.mark.parametrize("name", REMARKED)
def test_what_is_left_out_is_said(tmp_path: Path, name: str) -> None:
    """One remark, and the notes that are left."""
    data, expected, remark = REMARKED[name]
    assert heard(tmp_path, data) == expected
    (said,) = read(tmp_path, data).remarks
    assert re.search(remark, said)


REFUSED: dict[str, tuple[bytes, str]] = {
    "no header": (b"RIFF" + b"\x00" * 40, "does not begin with a MIDI header"),
    "a header that is too short": (chunk(b"MThd", b"\x00\x01\x00\x01") + run(480), "does not begin with a MIDI header"),
    "format 2 of several pieces": (midi(run(480), run(480), form=2), "format 2, 2 pieces"),
    "a format that is none": (midi(run(480), form=3), "format 3"),
    "no ticks": (midi(run(480), division=0), "0 ticks"),
    "a clock that is none": (midi(run(480), division=(0x100 - 26) << 8 | 40), "clock of 26 frames"),
    "a clock without ticks": (midi(run(480), division=(0x100 - 25) << 8), "0 ticks a frame"),
    "a track that is absent": (midi(run(480), count=2), "truncated"),
    "a track that is cut": (midi(run(480))[:-9], "truncated"),
    "a track that ends in a message": (midi(chunk(b"MTrk", b"\x00\x90\x3c")), "middle of a message"),
    "a text that goes on beyond its track": (midi(chunk(b"MTrk", b"\x00\xff\x01\x7fhi")), "middle of a message"),
    "no status": (midi(chunk(b"MTrk", b"\x00\x3c\x40\x00")), "begins in the middle"),
    "a status among data": (midi(chunk(b"MTrk", b"\x00\x90\x3c\x90\x00")), "cut short"),
    "a status that is none": (midi(chunk(b"MTrk", b"\x00\xf4\x00\x00")), "0xf4, is no message"),
    "a number without end": (midi(chunk(b"MTrk", b"\x81\x81\x81\x81\x01\x90\x3c\x40")), "four bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_broken_files_are_refused(tmp_path: Path, name: str) -> None:
    """One sentence that names the file and says what is wrong."""
    data, message = REFUSED[name]
    with pytest.raises(SourceError, match=rf"x\.mid cannot be read as MIDI.*{message}"):
        read(tmp_path, data)
