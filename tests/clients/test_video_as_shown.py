"""Video as recorders and phones write it: what a player shows is what is read, and a remark says what was done."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import avf_sources as sources
import numpy as np
import pytest
from avf_client.errors import SourceError
from avf_sources import Options

EIGHT = Options(size=8)


def shades(count: int = 20) -> np.ndarray:
    """Frames of one grey each, brighter and brighter."""
    return np.repeat(np.arange(count, dtype=np.uint8) * 10, 64 * 64).reshape(count, 64, 64)


def film(path: Path, frames: np.ndarray, *, codec: str = "mpeg4", times: Any = None, **options: str) -> Path:
    """Write grey frames, 25 a second, or at these times in milliseconds."""
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt, stream.codec_context.bit_rate = "yuv420p", 4_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, grey in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def levels(path: Path, options: Options = EIGHT) -> np.ndarray:
    """The level of each frame's middle."""
    return np.rint(sources.read(str(path), options).frames * 255)[:, 36]


def cut_in_front(source: Path, path: Path, *, hidden: int) -> Path:
    """A clip cut without encoding it again: its first frames are there, and hidden by an edit list."""
    options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
    with av.open(str(source)) as old, av.open(str(path), "w", container_options=options) as new:
        video = old.streams.video[0]
        assert video.time_base is not None
        copy, early = new.add_stream_from_template(video), hidden * round(1 / 25 / video.time_base)
        for packet in old.demux(video):
            if packet.dts is not None and packet.pts is not None:
                packet.stream, packet.pts, packet.dts = copy, packet.pts - early, packet.dts - early
                new.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("hidden", [1, 8, 13])
def test_frames_that_an_edit_list_hides_are_not_shown(tmp_path: Path, suffix: str, hidden: int) -> None:
    """Though the header counts them; and a remark says how many there are."""
    whole = film(tmp_path / f"a{suffix}", shades())
    path = cut_in_front(whole, tmp_path / f"b{suffix}", hidden=hidden)
    recording = sources.read(str(path), EIGHT)
    assert len(recording.frames) == 20 - hidden
    assert abs(recording.frames[0].mean() * 255 - 10 * hidden) < 5
    assert recording.remarks == (f"{hidden} frames are not shown: an edit list hides them, or they are empty.",)
    assert sources.read(str(whole), EIGHT).remarks == ()


def test_frames_that_a_capture_dropped_are_not_a_cut(tmp_path: Path) -> None:
    """Old captures write an empty chunk where a frame was lost; the header counts it, and no player shows it."""
    path = film(tmp_path / "a.avi", shades(), codec="rawvideo")
    content = bytearray(path.read_bytes())
    at = content.index(b"00dc", content.index(b"movi")) + 4
    length = int.from_bytes(content[at : at + 4], "little")
    content[at : at + 8] = struct.pack("<I4s", 0, b"JUNK")  # the chunk of a frame, and then what was in it
    content[at + 8 : at + 12] = struct.pack("<I", length - 8)
    path.write_bytes(content)
    recording = sources.read(str(path), EIGHT)
    assert len(recording.frames) == 19
    assert recording.remarks[0].startswith("1 frames are not shown")


@pytest.mark.parametrize("tail", [bytes(40), b"\xff\xd8" * 20, b"abc"])
def test_what_follows_a_film_does_not_make_it_cut(tmp_path: Path, tail: bytes) -> None:
    """Cameras append what is no box: zeros, thumbnails, marks."""
    path = film(tmp_path / "a.mp4", shades())
    path.write_bytes(path.read_bytes() + tail)
    recording = sources.read(str(path), EIGHT)
    assert len(recording.frames) == 20
    assert recording.remarks == ()


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {}), ("a.webm", {})])
@pytest.mark.parametrize("kept", [0.5, 0.8, 0.99])
def test_what_ends_early_is_refused_or_read_as_was_asked(
    tmp_path: Path, name: str, options: dict[str, str], kept: float
) -> None:
    """By the sizes of boxes and elements, though a decoder would take what is left for the whole."""
    frames = np.random.default_rng(0).integers(0, 256, (20, 64, 64)).astype(np.uint8)
    path = film(tmp_path / name, frames, codec="libvpx" if name.endswith("webm") else "mpeg4", **options)
    assert len(sources.read(str(path), EIGHT).frames) == 20
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(SourceError, match="truncated"):
        sources.read(str(path), EIGHT)
    recording = sources.read(str(path), Options(size=8, ending="cut"))
    assert 0 < len(recording.frames) < 20 or kept == 0.99
    assert "ends before" in recording.remarks[-1]


def test_a_film_in_fragments_that_was_never_closed_is_read(tmp_path: Path) -> None:
    """What a phone or a browser records in fragments states no length; where it stops, it was never closed."""
    frames = np.random.default_rng(0).integers(0, 256, (60, 64, 64)).astype(np.uint8)
    path = film(tmp_path / "a.mp4", frames, movflags="frag_keyframe+empty_moov", g="6")
    assert len(sources.read(str(path), EIGHT).frames) == 60
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    recording = sources.read(str(path), EIGHT)
    assert 12 < len(recording.frames) < 60
    assert "never closed" in recording.remarks[0]
    with pytest.raises(SourceError, match="never closed"):
        sources.read(str(path), Options(size=8, ending="whole"))


def test_a_live_matroska_is_read(tmp_path: Path) -> None:
    """A segment of unknown size is one that was streamed, and is never closed."""
    path = film(tmp_path / "a.mkv", shades(), live="1")
    recording = sources.read(str(path), EIGHT)
    assert len(recording.frames) == 20
    assert "never closed" in recording.remarks[0]


TURNS = {  # clockwise degrees: the matrix of the track's header, its last column left out
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_picture_is_read_upright(tmp_path: Path, turn: int) -> None:
    """A phone that was held upright: the corner that is bright in the file is where a player shows it."""
    frames = np.zeros((4, 64, 64), dtype=np.uint8)
    frames[:, :16, :16] = 255  # in the file, at the upper left
    path = film(tmp_path / "a.mp4", frames)
    content, (a, b, c, d) = bytearray(path.read_bytes()), TURNS[turn]
    at = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    content[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    recording = sources.read(str(path), EIGHT)
    shown = recording.frames[-1].reshape(8, 8)
    corner = {90: (0, 7), 180: (7, 7), 270: (7, 0)}[turn]
    assert shown[corner] > 0.9
    assert shown.sum() < 6
    assert recording.remarks == (f"Turned by {360 - turn} degrees, counter-clockwise, as the file says.",)


def test_uneven_times_are_remarked(tmp_path: Path) -> None:
    """Frames at 0, 40, 80 and then every 200 ms; those at even times, rounded to milliseconds, are not."""
    path = film(tmp_path / "a.mkv", shades(6), codec="ffv1", times=[0, 40, 80, 280, 480, 680])
    assert sources.read(str(path), EIGHT).remarks == (
        "The frames are 40 to 200 ms apart: each is one observation, whatever its time.",
    )
    path = film(tmp_path / "b.mkv", shades(6), codec="ffv1", times=[0, 33, 67, 100, 133, 167])
    assert sources.read(str(path), EIGHT).remarks == ()


def plane(kind: str, luma: int) -> av.VideoFrame:
    """A frame whose luma, or whose red, green and blue, are all this."""
    width = 2 if "10" in kind else 1
    frame = av.VideoFrame(64, 64, kind)
    for number, part in enumerate(frame.planes):
        middle = (512 if width == 2 else 128) if kind.startswith(("yuv", "nv")) and number else luma
        part.update(middle.to_bytes(width, "little") * (part.buffer_size // width))
    return frame


LEVELS: dict[str, tuple[str, str, str, int, tuple[int, int, int]]] = {
    "limited": ("ffv1", "a.mkv", "yuv420p", 1, (16, 126, 235)),
    "limited, unsaid": ("ffv1", "a.mkv", "yuv444p", 0, (16, 126, 235)),
    "limited, 10 bits": ("ffv1", "a.mkv", "yuv422p10le", 1, (64, 504, 940)),
    "full": ("ffv1", "a.mkv", "yuv420p", 2, (0, 128, 255)),
    "full, 10 bits": ("ffv1", "a.mkv", "yuv420p10le", 2, (0, 514, 1023)),
    "JPEG's": ("mjpeg", "a.avi", "yuvj420p", 2, (0, 128, 255)),
    "grey": ("ffv1", "a.mkv", "gray", 0, (0, 128, 255)),
    "grey of 10 bits": ("ffv1", "a.mkv", "gray10le", 0, (0, 514, 1023)),
    "red, green and blue": ("ffv1", "a.mkv", "bgr0", 0, (0, 128, 255)),
}


@pytest.mark.parametrize("kind", LEVELS)
def test_black_is_0_and_white_1_in_every_range(tmp_path: Path, kind: str) -> None:
    """Limited and full, said and unsaid, of 8 and 10 bits: black, the middle and white, within one level."""
    codec, name, form, said, written = LEVELS[kind]
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height = stream.width = 64
        stream.pix_fmt = form
        stream.codec_context.color_range = said
        for luma in written:
            frame = plane(form, luma)
            frame.color_range = said
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    np.testing.assert_allclose(levels(tmp_path / name), [0, 128, 255], atol=1)


def test_the_limits_hold_for_pictures_and_frames(tmp_path: Path) -> None:
    """What a header claims of its pictures is refused before they are decoded."""
    path = film(tmp_path / "a.avi", shades(), codec="rawvideo")
    with pytest.raises(SourceError, match="max_frames"):
        sources.read(str(path), Options(size=8, max_frames=19))
    with pytest.raises(SourceError, match="max_bytes"):
        sources.read(str(path), Options(size=8, max_bytes=32 * 64 * 64 - 1))
    assert levels(path, Options(size=8, max_frames=20, max_bytes=32 * 64 * 64)).shape == (20,)
    content = bytearray(path.read_bytes())
    giant = struct.pack("<ii", 12_000, 9_000)
    for place in (content.index(b"avih") + 8 + 32, content.index(b"strf") + 8 + 4):
        content[place : place + 8] = giant
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"12000 by 9000.*max_bytes"):
        sources.read(str(path), EIGHT)


def test_large_pictures_are_averaged_as_small_ones(tmp_path: Path) -> None:
    """A band at a time makes no difference."""
    frames = np.random.default_rng(3).integers(0, 256, (1, 2400, 3200)).astype(np.uint8)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 2400, 3200, "gray"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frames[0], format="gray")))
        container.mux(stream.encode(None))
    expected = frames[0].reshape(8, 300, 8, 400).mean(axis=(1, 3))
    found = sources.read(str(tmp_path / "a.mkv"), EIGHT).frames[0].reshape(8, 8) * 255
    np.testing.assert_allclose(found, expected, atol=0.5001)
