"""Files of music that claim more than they are: refused by what they declare, before memory is taken.

The bounds are those of docs/data.md. `tests/fuzz/test_readers.py` gives the same readers files that are almost right.
"""

import struct
import tracemalloc
import zipfile
from pathlib import Path

import avf_sources as sources
import pytest
from avf_sources import Options, SourceError

MIB = 1 << 20
NONE = Options(transpose="none")


def score(content: str = "", *, before: str = "", note_more: str = "") -> str:
    """A score of one note."""
    note = f"<note><pitch><step>C</step><octave>4</octave></pitch><duration>1</duration>{note_more}</note>"
    measure = f"<measure><attributes><divisions>1</divisions></attributes>{note}{content}</measure>"
    return f'<?xml version="1.0"?>{before}<score-partwise><part id="P1">{measure}</part></score-partwise>'


def track(messages: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(messages)) + messages


def midi(messages: bytes, division: int = 480) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, 1, 1, division) + track(messages + b"\x00\xff\x2f\x00")


def refused(path: Path, match: str, options: Options = NONE, memory: int = 32 * MIB) -> None:
    """Refused with these words, and with no more memory than this."""
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=match):
            sources.read(str(path), options)
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()


def packed(path: Path, text: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", text)
    return path


def test_an_archive_that_claims_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    """By its directory alone: three gigabytes are claimed, and none of them is there."""
    path = packed(tmp_path / "x.mxl", score().encode())
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 3 << 30)
    path.write_bytes(data)
    refused(path, r"claims 3221225472 bytes once decoded.*raise max_bytes")


def test_an_archive_that_is_packed_like_no_score_is_refused_until_the_limit_is_raised(tmp_path: Path) -> None:
    """Eight million spaces in eight kilobytes; raised by the number that the error names, they are read."""
    path = packed(tmp_path / "x.mxl", score(" " * (8 * MIB)).encode())
    refused(path, r"more than 100 times as many.*raise max_bytes to \d+$")
    size = zipfile.ZipFile(path).infolist()[0].file_size
    assert len(sources.read(str(path), Options(transpose="none", max_bytes=256 * size)).frames) == 1


def test_an_archive_that_unpacks_to_more_than_it_claims_is_refused(tmp_path: Path) -> None:
    """The directory says a hundred bytes; what comes is no more than these, and is no score."""
    path = packed(tmp_path / "x.mxl", score(" " * MIB).encode())
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    refused(path, "truncated")


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(10))


@pytest.mark.parametrize(
    ("before", "inside"),
    [
        (f"<!DOCTYPE a [{LAUGHS}]>", "&l9;"),
        ('<!DOCTYPE a [<!ENTITY secret SYSTEM "file:///etc/hostname">]>', "&secret;"),
        ('<!DOCTYPE a [<!ENTITY % more SYSTEM "http://127.0.0.1:9/x.dtd"> %more;]>', ""),
        ('<!DOCTYPE a [<!ENTITY quiet "never used">]>', ""),
    ],
)
def test_entities_are_refused(tmp_path: Path, before: str, inside: str) -> None:
    """A billion laughs, a file of the machine, a fetched DTD; used or not."""
    (tmp_path / "x.xml").write_text(score(f"<words>{inside}</words>", before=before))
    refused(tmp_path / "x.xml", "declares entities")


def test_elements_without_end_are_refused(tmp_path: Path) -> None:
    """Too deep, or too many for the limit, wherever they stand."""
    path = tmp_path / "x.xml"
    path.write_text(score("<a>" * 500_000))
    refused(path, "nested more than 64 deep")
    for written in (score("<a/>" * 20_000), score().replace("<part ", "<a/>" * 20_000 + "<part ")):
        path.write_text(written)
        refused(path, "bytes once decoded.*raise max_bytes", Options(transpose="none", max_bytes=4 * MIB))
        assert len(sources.read(str(path), NONE).frames) == 1


def test_a_text_that_is_larger_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    """A score by its size, a MIDI file by 32 times its size: so much its notes may take."""
    (tmp_path / "x.xml").write_text(score(" " * MIB))
    refused(tmp_path / "x.xml", "raise max_bytes", Options(transpose="none", max_bytes=MIB))
    (tmp_path / "x.mid").write_bytes(midi(bytes((0, 0x90, 60, 90, 1, 60, 0)) * 10_000))
    refused(tmp_path / "x.mid", "raise max_bytes", Options(transpose="none", max_bytes=MIB))
    assert sources.read(str(tmp_path / "x.mid"), Options(transpose="none", max_bytes=4 * MIB)).frames.size


LONGEST = b"\xff\xff\xff\x7f"  # 268,435,455 ticks, the largest number of four bytes


def test_a_piece_of_more_frames_than_the_limit_is_refused(tmp_path: Path) -> None:
    """By its length and the frame's, with the number that raises it."""
    path = tmp_path / "x.mid"
    path.write_bytes(midi(b"\x00\x90\x3c\x40" + LONGEST + b"\x3c\x00", division=1))
    refused(path, r"claims 268435455 frames.*raise max_frames")
    path.write_bytes(midi(bytes((0, 0x90, 60, 90, 0x83, 0x60, 60, 0)) * 50))
    refused(path, "claims 50 frames", Options(transpose="none", max_frames=49))
    refused(path, "claims 100 frames", Options(transpose="none", max_frames=99, frame=0.5))
    refused(path, "claims 35200 bytes", Options(transpose="none", max_bytes=35199))
    refused(path, "frames", Options(transpose="none", frame=1e-300))
    assert len(sources.read(str(path), Options(transpose="none", max_frames=50, max_bytes=35200)).frames) == 50


@pytest.mark.parametrize(
    "messages", [b"\x00\x90\x3c\x40" + LONGEST + b"\x3c\x00", LONGEST + b"\x90\x3c\x40\x01\x3c\x00"]
)
def test_a_note_or_a_rest_of_days_is_refused_until_the_limit_is_raised(tmp_path: Path, messages: bytes) -> None:
    """Nothing begins or ends for 559,241 quarter notes, in a file of thirty bytes; the limit that it needs is named."""
    path = tmp_path / "x.mid"
    path.write_bytes(midi(messages))
    refused(path, rf"nothing begins or ends in it for 559241 frames.*raise max_bytes to {559241 * 88 * 8 * 16}$")
    smaller = Options(transpose="none", frame=1000.0, max_bytes=560 * 88 * 8 * 16)
    assert len(sources.read(str(path), smaller).frames) == 560


def test_a_score_of_endless_durations_is_refused(tmp_path: Path) -> None:
    """Twelve digits of quarter notes."""
    (tmp_path / "x.xml").write_text(score().replace("<duration>1<", "<duration>999999999999<"))
    refused(tmp_path / "x.xml", r"claims 999999999999 frames.*raise max_frames")


def test_ten_thousand_notes_of_the_whole_piece_are_as_cheap_as_one(tmp_path: Path) -> None:
    """Notes that nobody lets go, of every key, again and again; and messages that let all go where there is nothing."""
    held = b"".join(bytes((0, 0x90 | i % 9, i % 128, 90)) for i in range(10_000))
    (tmp_path / "x.mid").write_bytes(midi(held + b"\xe0\x00\xb0\x07\x40", division=1))
    frames = sources.read(str(tmp_path / "x.mid"), NONE).frames
    assert frames.shape == (12288, 88)
    assert frames.all()
    quiet = b"".join(bytes((0, 0xB0 | i % 16, 123, 0)) for i in range(20_000))
    (tmp_path / "x.mid").write_bytes(midi(held + b"\x01\x99\x40\x40" + quiet, division=1))
    assert sources.read(str(tmp_path / "x.mid"), NONE).frames.shape == (1, 88)


@pytest.mark.parametrize("frame", [0.0, -1.0, float("nan"), float("inf")])
def test_a_frame_of_no_length_is_refused(tmp_path: Path, frame: float) -> None:
    """A frame lasts more than nothing, and ends."""
    (tmp_path / "x.mid").write_bytes(midi(b"\x00\x90\x3c\x40\x10\x3c\x00"))
    with pytest.raises(SourceError, match="expected more than 0"):
        sources.read(str(tmp_path / "x.mid"), Options(frame=frame))
