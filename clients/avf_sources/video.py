"""Video by PyAV (FFmpeg): each frame is an observation, its pixels in grey, a square of so many by so many.

The law of the pixels: grey levels k / 255 within [0, 1], rows from the top; the whole picture is averaged by area
into the square, whatever its form was. Black is 0 and white 1 in limited and full range. What is read is what a player
shows: turned as the file says, without the frames that its edit list hides. A file that ends before its header says is
refused, unless `Options.ending` says otherwise.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avf_sources import MissingExtra, Options, Recording, SourceError, _video, existing
from avf_sources._sound import Extent

SUFFIXES: tuple[str, ...] = (".avi", ".mp4", ".mkv", ".mov", ".webm")
SCHEMES: tuple[str, ...] = ()

_HELD = 32  # bytes that decoding and averaging hold of a pixel
_FLOAT64 = 8  # bytes
_BAND = 1 << 22  # pixels
_UNEVEN = 1.5
"""A video whose pictures are further apart than so many times the least is of a variable rate."""


def read(name: str, options: Options) -> Recording:
    """The frames (T, size * size) of a video, in [0, 1]. Raises SourceError, and MissingExtra without PyAV."""
    film = Film(name, options)
    frames = list(film)
    if not frames:
        raise SourceError(f"{name} has no frames")
    flat = np.stack(frames).reshape(len(frames), -1) / 255.0
    return Recording(name=Path(name).name, frames=flat, remarks=tuple(film.remarks))


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


class Film:
    """The frames (size, size) of a video one by one, as grey levels, as a player would show them.

    `remarks` say what was done to them, and are there once they have been read. Reading raises SourceError, and
    MissingExtra without PyAV.
    """

    def __init__(self, name: str, options: Options) -> None:
        if options.size < 1:
            raise SourceError(f"frames of {options.size} pixels: expected at least 1")
        self.remarks: list[str] = []
        self._name, self._options = name, options
        self._size = 0  # bytes of the file
        self._apart: list[float] = []  # the least and the most seconds between two frames

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Decode the file from its beginning. Raises SourceError where it is damaged, or is too much."""
        try:
            import av
        except ImportError as error:
            raise MissingExtra("reading video", "video") from error
        path = existing(self._name)
        count, stated, cut = 0, 0, ""
        extent = self._extent(path)
        try:
            with av.open(str(path)) as container:
                stream = self._stream(container)
                stated = int(stream.frames)
                for frame in self._frames(container, stream):
                    count += 1
                    self._options.check_frames(self._name, count)
                    self._options.check_bytes(self._name, count * self._options.size**2 * _FLOAT64)
                    yield frame
        except SourceError:
            raise
        except (av.error.FFmpegError, ValueError, IndexError, MemoryError, OverflowError) as error:
            if self._options.ending != "cut" or not count:
                raise _unreadable(self._name, error) from error
            cut = str(error)
        self._finish(extent, count, stated, cut)

    def _extent(self, path: Path) -> Extent | None:
        """What the container's sizes say. Raises SourceError where it ends as it should not."""
        size = self._size = path.stat().st_size
        with path.open("rb") as raw:
            extent = _video.extent(raw, size)
        if extent is not None and extent.closed and extent.expected > size and self._options.ending != "cut":
            raise _unreadable(self._name, f"{size} bytes of it are there; ending 'cut' reads these")
        if extent is not None and not extent.closed and self._options.ending == "whole":
            raise SourceError(f"{self._name} cannot be read as a whole: it was never closed; ending 'open' reads it")
        return extent

    def _stream(self, container: Any) -> Any:
        """The stream of pictures, once what it claims is within the limits."""
        if not container.streams.video:
            raise SourceError(f"{self._name} cannot be read as video: it has no pictures")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise _unreadable(self._name, "no decoder knows its pictures")
        height, width = stream.codec_context.height, stream.codec_context.width
        if height < 1 or width < 1:
            raise _unreadable(self._name, f"its pictures are {width} by {height}")
        self._options.check_frames(self._name, stream.frames)
        self._options.check_bytes(f"a picture of {self._name}, {width} by {height},", height * width * _HELD)
        return stream

    def _frames(self, container: Any, stream: Any) -> Iterator[NDArray[np.uint8]]:
        """The pictures as a player shows them: turned as the file says, those before its edit begins left out."""
        height, width = stream.codec_context.height, stream.codec_context.width
        down, across = area_weights(height, self._options.size), area_weights(width, self._options.size)
        before: float | None = None
        for frame in container.decode(stream):
            if (frame.height, frame.width) != (height, width):
                raise SourceError(f"{self._name} changes its size: expected {width} by {height} throughout")
            grey = frame.to_ndarray(format="gray")
            turned = round(frame.rotation / 90) % 4
            if turned and not self.remarks:
                self.remarks.append(f"Turned by {90 * turned} degrees, counter-clockwise, as the file says.")
            if frame.time is not None:
                self._timed(frame.time, before)
                before = frame.time
            yield np.rot90(np.rint(_averaged(down, grey) @ across.T).astype(np.uint8), turned)

    def _timed(self, time: float, before: float | None) -> None:
        if before is not None and time > before:
            apart = [time - before, *self._apart]
            self._apart = [min(apart), max(apart)]

    def _finish(self, extent: Extent | None, count: int, stated: int, cut: str) -> None:
        """Hold what was shown against what the file says, and make remarks of it. Raises SourceError."""
        missing = count < stated and (extent is None or not extent.edited)
        if missing and self._options.ending != "cut":
            raise _unreadable(self._name, f"{count} of {stated} frames are there")
        if cut or missing or (extent is not None and extent.closed and extent.short(self._size)):
            self.remarks.append(f"The file ends before its header says: the {count} frames that are there are read.")
        elif extent is not None and not extent.closed:
            self.remarks.append(f"The file was never closed: the {count} frames that are there are read.")
        elif count < stated:
            self.remarks.append(f"{stated - count} frames are not shown: an edit list hides them, or they are empty.")
        if self._apart and self._apart[1] > _UNEVEN * self._apart[0]:
            least, most = (round(1000 * seconds) for seconds in self._apart)
            self.remarks.append(
                f"The frames are {least} to {most} ms apart: each is one observation, whatever its time."
            )


def _averaged(down: NDArray[np.float64], grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The rows averaged, a band at a time: a whole picture in float64 would take eight times its memory."""
    rows = max(1, _BAND // grey.shape[1])
    if len(grey) <= rows:
        return down @ grey
    bands = range(0, len(grey), rows)
    return np.sum([down[:, at : at + rows] @ grey[at : at + rows] for at in bands], axis=0)  # type: ignore[no-any-return]


def area_weights(before: int, after: int) -> NDArray[np.float64]:
    """The matrix (after, before) that averages `before` pixels in a row into `after`: the shares of their areas."""
    edges = np.arange(after + 1) * (before / after)
    pixels = np.arange(before)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float64] = np.clip(overlap, 0.0, 1.0) * (after / before)
    return weights


def _unreadable(name: str, detail: object) -> SourceError:
    return SourceError(f"{name} cannot be read as video, it may be truncated; copy or export it again ({detail})")
