"""Sound from a microphone, by sounddevice (PortAudio; extra `mic`): chunks of 16-bit samples, mono, at a model's rate.

The law: nothing is dropped in silence. Where the device cannot give the rate, its own is taken and resampled here;
where the machine has no microphone, the error says so and lists what there is.
"""

import importlib
import queue
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avf_client.errors import MissingExtra, SourceError

BLOCK = 0.025
"""Seconds in a chunk."""
PATIENCE = 5.0
"""Seconds without a chunk, after which the device counts as gone."""
_MOST = 4_000
"""Chunks that may wait for the server: 100 seconds."""


def listen(*, rate: int, device: str | None = None, seconds: float | None = None) -> Iterator[NDArray[np.int16]]:
    """Chunks (T,) of what the microphone hears, for so many seconds or without end.

    Raises MissingExtra, and SourceError where there is no such device, it goes away, or too much waits to be taken.
    """
    library = _library()
    chosen: int | str | None = int(device) if device is not None and device.isdigit() else device
    own = _rate(library, chosen, rate)
    waiting: queue.Queue[NDArray[np.int16]] = queue.Queue(_MOST)
    overflows: list[str] = []

    def hear(data: Any, frames: int, at: Any, status: Any) -> None:  # on PortAudio's thread
        if status:
            overflows.append(str(status))
        try:
            waiting.put_nowait(np.array(data[:, 0], dtype=np.int16))
        except queue.Full:
            overflows.append("sound comes faster than the server takes it")

    options = {"samplerate": own, "channels": 1, "dtype": "int16", "blocksize": round(own * BLOCK), "device": chosen}
    with closing(library.InputStream(callback=hear, **options)) as stream:
        stream.start()
        yield from _limited(_resampled(_taken(waiting, overflows), own=own, rate=rate), rate=rate, seconds=seconds)


def _taken(waiting: "queue.Queue[NDArray[np.int16]]", overflows: list[str]) -> Iterator[NDArray[np.int16]]:
    while True:
        try:
            yield waiting.get(timeout=PATIENCE)
        except queue.Empty:
            raise SourceError(f"the microphone gave nothing for {PATIENCE:g} s; is it still there?") from None
        if overflows:
            raise SourceError(f"sound of the microphone was lost: {overflows[0]}; try --every 8, or a smaller model")


def _resampled(chunks: Iterator[NDArray[np.int16]], *, own: int, rate: int) -> Iterator[NDArray[np.int16]]:
    if own == rate:
        yield from chunks
        return
    try:
        soxr = importlib.import_module("soxr")
    except ImportError as error:
        raise MissingExtra("resampling sound", "mic") from error
    resampler = soxr.ResampleStream(own, rate, 1, dtype="int16")
    for chunk in chunks:
        yield resampler.resample_chunk(chunk)


def _limited(chunks: Iterator[NDArray[np.int16]], *, rate: int, seconds: float | None) -> Iterator[NDArray[np.int16]]:
    left = None if seconds is None else round(seconds * rate)
    for chunk in chunks:
        yield chunk if left is None else chunk[:left]
        if left is not None:
            left -= len(chunk)
            if left <= 0:
                return


def _rate(library: Any, device: int | str | None, rate: int) -> int:
    """The rate to record at: the wanted one, else the device's own."""
    try:
        info = library.query_devices(device, "input")
    except (ValueError, library.PortAudioError) as error:
        inputs = [d["name"] for d in library.query_devices() if d["max_input_channels"] > 0]
        there = f"there are {', '.join(inputs)}" if inputs else "this machine has none: stream a file in its place"
        raise SourceError(f"no microphone{'' if device is None else f' {device!r}'}: {there}") from error
    try:
        library.check_input_settings(device=device, channels=1, dtype="int16", samplerate=rate)
    except (ValueError, library.PortAudioError):
        return round(float(info["default_samplerate"]))
    return rate


def _library() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise MissingExtra("the microphone", "mic") from error
    except OSError as error:  # the wheel for Linux has no PortAudio in it
        raise SourceError(
            f"the microphone needs the system's library PortAudio ({error}); on Debian: apt install libportaudio2"
        ) from error
