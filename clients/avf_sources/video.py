"""Video by PyAV (FFmpeg): each frame is an observation, its pixels in grey, a square of so many by so many.

The law of the pixels: grey levels k / 255 within [0, 1], rows from the top; the whole picture is averaged by area
into the square, whatever its form was. A file that ends before its header says is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avf_sources import MissingExtra, Options, Recording, SourceError, existing

SUFFIXES: tuple[str, ...] = (".avi", ".mp4", ".mkv", ".mov", ".webm")
SCHEMES: tuple[str, ...] = ()

LONGEST = 1_000_000
"""Frames; a file with more is no clip."""
MOST_PIXELS = 1 << 26
"""Of a frame; a file that claims more is damaged."""


def read(name: str, options: Options) -> Recording:
    """The frames (T, size * size) of a video, in [0, 1]. Raises SourceError, and MissingExtra without PyAV."""
    frames = list(watch(name, options.size))
    if not frames:
        raise SourceError(f"{name} has no frames")
    flat = np.stack(frames).reshape(len(frames), -1) / 255.0
    return Recording(name=Path(name).name, frames=flat)


def write_example(folder: Path, generator: np.random.Generator) -> str:
    """Six frames of noise, 32 by 24 pixels, without loss."""
    return write(folder / "example.avi", generator.integers(0, 256, (6, 24, 32)).astype(np.uint8))


def write(path: Path, frames: NDArray[np.uint8], *, rate: int = 25) -> str:
    """Write grey frames (time, height, width) without loss, `rate` a second. Raises MissingExtra without PyAV."""
    try:
        import av
    except ImportError as error:
        raise MissingExtra("writing video", "video") from error
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "gray"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode(None))
    return str(path)


def watch(name: str, size: int) -> Iterator[NDArray[np.uint8]]:
    """The frames (size, size) of a video one by one, as grey levels. Raises SourceError, and MissingExtra."""
    if size < 1:
        raise SourceError(f"frames of {size} pixels: expected at least 1")
    try:
        import av
    except ImportError as error:
        raise MissingExtra("reading video", "video") from error
    path = existing(name)
    try:
        with av.open(str(path)) as container:
            yield from _frames(name, container, size)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        if isinstance(error, SourceError):
            raise
        raise _unreadable(name, error) from error


def _frames(name: str, container: Any, size: int) -> Iterator[NDArray[np.uint8]]:
    if not container.streams.video:
        raise SourceError(f"{name} cannot be read as video: it has no pictures")
    stream = container.streams.video[0]
    height, width = stream.codec_context.height, stream.codec_context.width
    if not 0 < height * width <= MOST_PIXELS or stream.frames > LONGEST:
        raise SourceError(f"{name} claims {stream.frames} frames of {width} by {height} pixels: is it damaged?")
    down, across = area_weights(height, size), area_weights(width, size)
    count = 0
    for frame in container.decode(stream):
        grey = frame.to_ndarray(format="gray")
        if grey.shape != (height, width):
            raise SourceError(f"{name} changes its size after {count} frames: expected {width} by {height} throughout")
        count += 1
        if count > LONGEST:
            raise SourceError(f"{name} has more than {LONGEST} frames: cut it")
        yield np.rint(down @ grey @ across.T).astype(np.uint8)
    if count < stream.frames:
        raise _unreadable(name, f"{count} of {stream.frames} frames are there")


def area_weights(before: int, after: int) -> NDArray[np.float64]:
    """The matrix (after, before) that averages `before` pixels in a row into `after`: the shares of their areas."""
    edges = np.arange(after + 1) * (before / after)
    pixels = np.arange(before)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float64] = np.clip(overlap, 0.0, 1.0) * (after / before)
    return weights


def _unreadable(name: str, detail: object) -> SourceError:
    return SourceError(f"{name} cannot be read as video, it may be truncated; copy or export it again ({detail})")
