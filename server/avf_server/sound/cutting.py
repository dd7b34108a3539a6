"""Sound as it comes, in chunks of any length, and as models take it, in observations of so many samples. Pure.

The laws: samples are counted from 0 in each epoch, observation `seq` of `size` samples being those from (seq - 1) size
on, so that it does not matter how they were cut on their way; none is taken twice; a file's header is no sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import avf_wire as wire
import numpy as np
import numpy.typing as npt
from avf_wire.binary import LEVELS

from avf_server import problems

Samples = npt.NDArray[np.float32]

_MAGIC: dict[str, tuple[tuple[int, bytes], ...]] = {
    "WAV": ((0, b"RIFF"), (8, b"WAVE")),
    "WAV (RF64)": ((0, b"RF64"), (8, b"WAVE")),
    "AIFF": ((0, b"FORM"), (8, b"AIF")),
    "AU": ((0, b".snd\0\0"),),
    "FLAC": ((0, b"fLaC"),),
    "Ogg": ((0, b"OggS\0"),),
    "SPHERE": ((0, b"NIST_1A\n"),),
}
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version
_MPEG_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s of layer III
_MPEG_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
HEAD = 1024 * 4
"""Bytes that tell a file from sound; two frames of MP3 are shorter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """Observation `seq`, which a chunk completes; `x` is None where it began in an earlier chunk and was applied."""

    seq: int
    x: Samples | None


class Cutter:
    """Where a run of chunks stands: `applied` observations of `size` samples, and a remainder that fills none."""

    def __init__(self, *, size: int, applied: int, rest: bytes = b"") -> None:
        self.size = size
        self._restart(applied, np.frombuffer(rest, dtype="<f4"))

    @property
    def next_sample(self) -> int:
        """How many samples are there."""
        return self.applied * self.size + len(self._rest)

    @property
    def rest(self) -> bytes:
        """The remainder, as it is kept."""
        return self._rest.astype("<f4").tobytes()

    def restart(self, applied: int) -> None:
        """Go on after that many observations, without a remainder."""
        self._restart(applied, np.empty(0, dtype=np.float32))

    def cut(self, offset: int, samples: Samples) -> list[Cut]:
        """The observations that samples from `offset` on complete, in order. Raises SequenceGapError."""
        if offset > self.next_sample:
            raise problems.SequenceGapError(
                f"offset is {offset}, expected {self.next_sample}: the samples between are missing",
                expected_sample=self.next_sample,
            )
        again = self._again(offset, samples)
        news = np.concatenate([self._rest, samples[self.next_sample - offset :]])
        count = len(news) // self.size
        cuts = [
            Cut(seq=self.applied + 1 + i, x=row)
            for i, row in enumerate(news[: count * self.size].reshape(count, self.size))
        ]
        self._restart(self.applied + count, news[count * self.size :].copy())
        return again + cuts

    def _again(self, offset: int, samples: Samples) -> list[Cut]:
        """The observations that end in these samples and were applied before."""
        first, last = offset // self.size + 1, min(self.applied, (offset + len(samples)) // self.size)
        cuts = []
        for seq in range(first, last + 1):
            start = (seq - 1) * self.size - offset
            cuts.append(Cut(seq=seq, x=samples[start : start + self.size] if start >= 0 else None))
        return cuts

    def _restart(self, applied: int, rest: Samples) -> None:
        self.applied, self._rest = applied, rest


def check_samples(samples: Samples, *, offset: int) -> None:
    """Raise InvalidObservationError for samples beyond [-1, 1]; NaN is one that is missing."""
    beyond = np.flatnonzero(np.abs(samples) > 1.0)
    if beyond.size:
        raise problems.InvalidObservationError(
            f"sample {offset + int(beyond[0])} is {samples[beyond[0]]:g}, expected a number in [-1, 1]: "
            "divide 16-bit integers by 32768, or send them as s16"
        )


def check_no_file(head: bytes | memoryview) -> None:
    """Raise InvalidObservationError where these bytes, of the beginning, are those of a sound file."""
    head = bytes(head[:HEAD])
    kind = next((kind for kind, marks in _MAGIC.items() if all(head[at : at + len(m)] == m for at, m in marks)), None)
    if kind is None and (_is_id3(head) or _is_mpeg(head)):
        kind = "MP3"
    if kind is not None:
        raise problems.InvalidObservationError(
            f"this is a {kind} file, and no samples: read it, resample it, and send the samples only, without header"
        )


def as_sent(samples: Samples, encoding: wire.Encoding) -> bytes:
    """Samples as the bytes that they came as."""
    if encoding == "f32":
        return samples.astype("<f4").tobytes()
    return np.rint(np.nan_to_num(samples) * LEVELS).astype("<i2").tobytes()


def _is_id3(head: bytes) -> bool:
    """A tag in front of MP3: `ID3`, version 2 to 4, and a length in bytes of seven bits."""
    return head[:3] == b"ID3" and len(head) >= 10 and head[3] in (2, 3, 4) and max(head[6:10]) < 0x80


def _is_mpeg(head: bytes) -> bool:
    """Two headers of MP3 frames, the second where the first one ends: one alone may well be a sample."""
    length = _mpeg_length(head)
    return length is not None and _mpeg_length(head[length:]) is not None


def _mpeg_length(head: Sequence[int]) -> int | None:
    """The bytes of a frame of layer III that begins so; None where it is no header (ISO 11172-3, 2.4.1.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, bits, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in _MPEG_RATES or layer != 1 or bits in (0, 15) or rate == 3:
        return None
    kilobits, samples = (_MPEG_1[bits], 1152) if version == 3 else (_MPEG_2[bits], 576)
    return samples * kilobits * 125 // _MPEG_RATES[version][rate] + (head[2] >> 1 & 1)
