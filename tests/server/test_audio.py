"""Sound as chunks and as observations: pure functions, and what tells a file from sound."""

import io
import struct
from typing import Any

import avf_wire as wire
import numpy as np
import pytest
import soundfile
from avf_server.models.catalogue import agreed_audio
from avf_server.problems import InvalidObservationError, InvalidSettingError, SequenceGapError
from avf_server.sound import cutting
from avf_server.sound.cutting import Cutter
from hypothesis import given
from hypothesis import strategies as st

SIZE = 5


def ramp(start: int, stop: int) -> np.ndarray:
    """Samples that say which they are."""
    return np.arange(start, stop, dtype=np.float32)


@given(st.lists(st.integers(0, 23), max_size=30), st.integers(0, 3))
def test_however_it_is_cut_the_observations_are_the_same(lengths: list[int], before: int) -> None:
    """Each whole observation once, in order, and the remainder after it."""
    cutter = Cutter(size=SIZE, applied=before)
    at = start = before * SIZE
    found = []
    for length in lengths:
        found += cutter.cut(at, ramp(at, at + length))
        at += length
    whole = (at - start) // SIZE
    assert [cut.seq for cut in found] == list(range(before + 1, before + whole + 1))
    for cut in found:
        assert cut.x is not None
        np.testing.assert_array_equal(cut.x, ramp((cut.seq - 1) * SIZE, cut.seq * SIZE))
    assert cutter.next_sample == at
    np.testing.assert_array_equal(np.frombuffer(cutter.rest, "<f4"), ramp(start + whole * SIZE, at))


@given(st.integers(0, 40), st.integers(0, 30), st.integers(0, 20))
def test_samples_that_are_there_are_not_taken_twice(there: int, offset: int, length: int) -> None:
    """A chunk that begins earlier gives what it completes: the old observations to be looked up, the new ones cut."""
    cutter = Cutter(size=SIZE, applied=0)
    cutter.cut(0, ramp(0, there))
    if offset > there:
        with pytest.raises(SequenceGapError) as caught:
            cutter.cut(offset, ramp(offset, offset + length))
        assert caught.value.expected_sample == there
        return
    end = offset + length
    cuts = cutter.cut(offset, ramp(offset, end))
    assert [cut.seq for cut in cuts] == [seq for seq in range(1, 20) if offset < seq * SIZE <= end]
    for cut in cuts:
        begins_here = (cut.seq - 1) * SIZE >= offset
        assert (cut.x is not None) == (begins_here or cut.seq > there // SIZE)
        if cut.x is not None:
            np.testing.assert_array_equal(cut.x, ramp((cut.seq - 1) * SIZE, cut.seq * SIZE))
    assert cutter.next_sample == max(there, end)


def test_a_remainder_is_kept_and_gone_on_with() -> None:
    """As bytes, to the bit."""
    cutter = Cutter(size=SIZE, applied=0)
    cutter.cut(0, ramp(0, 13))
    again = Cutter(size=SIZE, applied=2, rest=cutter.rest)
    assert again.next_sample == 13
    (cut,) = again.cut(13, ramp(13, 15))
    np.testing.assert_array_equal(cut.x, ramp(10, 15))
    again.restart(3)
    assert (again.next_sample, again.rest) == (15, b"")


def file_of(kind: str) -> bytes:
    """A sound file of half a second."""
    data = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(data, noise, 16000, format=kind)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "NIST", "RF64"])
def test_files_are_told_from_sound(kind: str) -> None:
    """By their headers, as a real encoder writes them."""
    with pytest.raises(InvalidObservationError, match="file, and no samples"):
        cutting.check_no_file(file_of(kind))


def test_a_tagged_mp3_is_told_from_sound() -> None:
    """What players write in front of the frames."""
    with pytest.raises(InvalidObservationError, match="MP3 file"):
        cutting.check_no_file(b"ID3\x04\0\0\0\0\x02\x01" + bytes(100))


@given(st.binary(max_size=600))
def test_random_bytes_and_short_ones_are_sound(data: bytes) -> None:
    """No index error, and one sync word of MP3 does not make a file."""
    cutting.check_no_file(b"\xff\xfb\x90\x00" + data[:400])
    names = (b"RIFF", b"RF64", b"FORM", b".snd", b"fLaC", b"OggS", b"NIST")
    if data[:4] not in names and data[:3] != b"ID3" and data[:1] != b"\xff":
        cutting.check_no_file(data)


def test_a_header_is_known_again_from_its_samples() -> None:
    """Where it came in pieces too small to tell."""
    header = file_of("WAV")[:400]
    samples = np.frombuffer(header, "<i2").astype(np.float32) / 32768
    assert cutting.as_sent(samples, "s16") == header
    numbers = struct.pack("<3f", 0.5, -1.0, float("nan"))
    assert cutting.as_sent(np.frombuffer(numbers, "<f4"), "f32") == numbers


def test_numbers_beyond_one_are_no_samples() -> None:
    """The problem names the sample; one that is missing is none of these."""
    cutting.check_samples(np.array([-1.0, 1.0, np.nan], dtype=np.float32), offset=0)
    for bad in (1.5, -20000.0, np.inf):
        with pytest.raises(InvalidObservationError, match="sample 101 is"):
            cutting.check_samples(np.array([0.0, bad], dtype=np.float32), offset=100)


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        (wire.Audio(rate=8000), "takes 16000 samples a second"),
        (wire.Audio(rate=16000, channels=2), "channels is 2"),
    ],
)
def test_sound_that_does_not_fit_the_model_is_refused(speech: Any, asked: wire.Audio, match: str) -> None:
    """Rate and channels, before any sample is sent."""
    from avf_core import checkpoints

    checkpoint = checkpoints.load(speech)
    assert agreed_audio(wire.Audio(rate=16000), checkpoint) == wire.Audio(rate=16000)
    assert agreed_audio(None, checkpoint) is None
    with pytest.raises(InvalidSettingError, match=match):
        agreed_audio(asked, checkpoint)


def test_a_model_of_something_else_takes_no_sound(tiny: Any) -> None:
    """A piano roll has no rate."""
    from avf_core import checkpoints

    with pytest.raises(InvalidSettingError, match="are no sound"):
        agreed_audio(wire.Audio(rate=16000), checkpoints.load(tiny))
