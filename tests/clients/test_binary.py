"""The sub-protocol `avf.v1.bin` as bytes: what is written is read back, and nothing but messages is read."""

import re
import struct
from dataclasses import fields, replace
from typing import Any

import avf_wire as wire
import msgspec
import numpy as np
import pytest
from avf_wire import binary, binary_batches
from avf_wire.binary import Kind
from hypothesis import example, given, settings
from hypothesis import strategies as st

SESSION = wire.Session(
    id="s",
    model="tiny",
    model_digest="0",
    epoch=1,
    next_seq=1,
    seed=1,
    iterations=2,
    durability="group",
    observation_size=2,
    latent_size=2,
    created_at=0.0,
    expires_in=1.0,
)
MOMENTS = wire.Moments(mean=[0.5, -1.0], deviation=[1.0, 2.0])
BERNOULLI = wire.Moments(mean=[0.25, 0.75])
ESTIMATE = wire.Estimate(
    epoch=3,
    seq=2**53,
    free_energy=1.5,
    reconstruction=1.0,
    kl=0.1,
    free_energies=[3.0, 1.5],
    iterations=1,
    prior=MOMENTS,
    posterior=MOMENTS,
    prediction=BERNOULLI,
    likelihood=BERNOULLI,
    durability="group",
    surprise=0.25,
)
FULL = msgspec.structs.replace(
    ESTIMATE,
    time=1.7e9 + 0.125,
    evidence_bound=-2.5,
    effective_sample_size=17.25,
    gradient_samples=4.0,
    prediction_at_prior_mean=MOMENTS,
    prediction_quantiles=wire.PredictiveQuantiles(
        levels=[0.05, 0.5, 0.95], values=[[0.0, 1.0], [0.5, 2.0], [1.0, 3.0]]
    ),
    smoothed=wire.Smoothed(seq=2**53 - 8, mean=[0.25, 1.5], deviation=[0.5, 0.75]),
)
CLIENT_MESSAGES = [
    binary.Observations(seq=1, rows=np.array([[1, np.nan], [3, 4], [5, 6]], dtype=np.float32)),
    binary.Samples(offset=2**53, encoding="f32", data=struct.pack("<3f", 0.5, -0.5, 0)),
    binary.Samples(offset=0, encoding="s16", data=struct.pack("<2h", -32768, 16384)),
    wire.Marker(text="bar 12, beat ½"),
    wire.KeepAlive(),
    wire.End(),
]
SERVER_MESSAGES = [
    wire.Begin(session=SESSION, credit=32, next_sample=7),
    binary.estimate_of(ESTIMATE, durable_seq=4),
    binary.estimate_of(ESTIMATE, arrays=False),
    binary.estimate_of(FULL, durable_seq=4),
    binary.estimate_of(FULL, arrays=False),
    wire.Ack(epoch=1, seq=9),
    wire.Ack(epoch=1, seq=9, durable_seq=0),
    wire.Error(problem=wire.Problem(type="urn:avf:problem:x", title="X", status=409, detail="d", expected_sample=3)),
    wire.Ended(next_seq=5, next_sample=812),
    wire.GoAway(),
    wire.Marker(text=""),
    wire.KeepAlive(),
]


def plain(value: Any) -> Any:
    """A message as something that can be compared: NaN is a value, arrays are lists."""
    if isinstance(value, msgspec.Struct):
        return value
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, memoryview):
        return bytes(value)
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


@pytest.mark.parametrize("message", CLIENT_MESSAGES, ids=lambda message: type(message).__name__)
def test_what_a_client_says_is_read_back(message: Any) -> None:
    """Every kind of message, to the bit."""
    assert plain(binary.decode_client(binary.encode(message))) == plain(message)


@pytest.mark.parametrize("message", SERVER_MESSAGES, ids=lambda message: type(message).__name__)
def test_what_a_server_says_is_read_back(message: Any) -> None:
    """Every kind of message, to the bit."""
    assert plain(binary.decode_server(binary.encode(message))) == plain(message)


def test_the_layout_is_the_one_that_is_documented() -> None:
    """Bytes written by hand, from docs/protocol.md alone."""
    observe = bytes([0xAF, 1, 2, 0, 16, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]) + struct.pack("<4f", 1, 2, 3, 4)
    assert binary.encode(binary.Observations(seq=5, rows=np.array([[1, 2], [3, 4]], dtype=np.float32))) == observe
    estimate = binary.encode(binary.estimate_of(ESTIMATE, durable_seq=4))
    assert struct.unpack_from("<BBHIQ", estimate) == (0xAF, 0x82, 7, len(estimate) - 16, 2**53)
    assert struct.unpack_from("<QQddddIB3s", estimate, 16) == (3, 4, 1.5, 1.0, 0.1, 0.25, 1, 1, b"\0\0\0")
    assert struct.unpack_from("<HHI2f", estimate, 16 + 56) == (1, 0, 2, 3.0, 1.5)
    assert struct.unpack_from("<HHI2f", estimate, 16 + 56 + 16) == (2, 0, 2, 0.5, -1.0)


def test_all_that_json_says_of_an_estimate_is_said_in_binary() -> None:
    """There and back, whatever there is of a step; the one with most has 18 arrays, those of one number first."""
    for message in (ESTIMATE, FULL):
        read = binary.decode_server(binary.encode(binary.estimate_of(message)))
        assert isinstance(read, binary.Estimate)
        assert binary.message_of(read) == message
    frame = binary.encode(binary.estimate_of(FULL))
    assert struct.unpack_from("<BBHI", frame)[2] == 18
    assert struct.unpack_from("<HHId", frame, 16 + 56) == (17, 1, 2, 1.7e9 + 0.125)
    assert frame.endswith(struct.pack("<HHI6f", 16, 0, 6, 0, 1, 0.5, 2, 1, 3))


def test_scalars_stay_where_arrays_are_left_out() -> None:
    """The frame is that of the estimate without arrays, and its summary has them."""
    frame = binary.encode(binary.estimate_of(FULL))
    assert binary_batches.without_arrays(frame) == binary.encode(binary.estimate_of(FULL, arrays=False))
    told = binary_batches.summary_of(frame)
    assert (told.time, told.evidence_bound, told.effective_sample_size) == (1.7e9 + 0.125, -2.5, 17.25)
    assert told.gradient_samples == 4
    assert (told.seq, told.kl) == (ESTIMATE.seq, ESTIMATE.kl)


def test_numbers_of_64_bits_stay_what_they_are() -> None:
    """An array says its type: a mean of float64 comes to JSON with all of its digits."""
    plain_estimate = binary.estimate_of(ESTIMATE)
    exact = replace(
        plain_estimate, posterior=binary.Moments(mean=np.array([0.1, 1 / 3]), deviation=np.array([0.7, 1.0]))
    )
    read = binary.decode_server(binary.encode(exact))
    assert isinstance(read, binary.Estimate)
    assert binary.message_of(read).posterior == wire.Moments(mean=[0.1, 1 / 3], deviation=[0.7, 1.0])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (struct.pack("<HHIf", 2, 2, 1, 0), "the type of array 2 is 2"),
        (struct.pack("<HHIf", 2, 1, 1, 0), "array 2 has 4 bytes"),
        (struct.pack("<HHI2d", 17, 1, 4, 0, 0), "array 17 has 2 numbers, expected 1"),
        (struct.pack("<HHId", 14, 1, 2, -1), "array 14 holds -1"),
        (struct.pack("<HHIf", 16, 0, 1, 0), "1 quantiles at 0 levels"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(array: bytes, expected: str) -> None:
    """Of an unknown type, of half a number, of more numbers than one, of quantiles without levels."""
    fixed = binary.encode(binary.estimate_of(ESTIMATE, arrays=False))[16:]
    frame = binary.HEADER.pack(0xAF, Kind.ESTIMATE, 1, len(fixed) + len(array), 1) + fixed + array
    with pytest.raises(binary.MalformedFrame, match=re.escape(expected)):
        binary.decode_server(frame)
    unknown = struct.pack("<HHI", 999, 7, (len(array) - 8) // 4) + array[8:]
    frame = binary.HEADER.pack(0xAF, Kind.ESTIMATE, 1, len(fixed) + len(unknown), 1) + fixed + unknown
    assert isinstance(binary.decode_server(frame), binary.Estimate)  # of a later release: passed over


def test_sixteen_bits_are_fractions_of_32768() -> None:
    """The lowest is -1, and no sample reaches 1."""
    samples = binary.Samples(offset=0, encoding="s16", data=struct.pack("<3h", -32768, 0, 32767))
    np.testing.assert_array_equal(samples.numbers(), np.array([-1.0, 0.0, 32767 / 32768], dtype=np.float32))
    assert len(samples) == 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "header of 16"),
        (b"RIFF" + bytes(12), "expected 0xaf"),
        (binary.HEADER.pack(0xAF, 0x82, 0, 0, 0), "not said in this direction"),
        (binary.HEADER.pack(0xAF, 0x77, 0, 0, 0), "not said in this direction"),
        (binary.HEADER.pack(0xAF, Kind.END, 0, 1, 0), "the header says 1 bytes, 0 came"),
        (binary.HEADER.pack(0xAF, Kind.END, 0, 0, 0) + b"x", "the header says 0 bytes, 1 came"),
        (binary.HEADER.pack(0xAF, Kind.END, 1, 0, 0), "count of END is 1"),
        (binary.HEADER.pack(0xAF, Kind.END, 0, 0, 1), "number of END is 1"),
        (binary.HEADER.pack(0xAF, Kind.OBSERVE, 1, 4, 2**53 + 1) + bytes(4), "at most 2^53"),
        (binary.HEADER.pack(0xAF, Kind.OBSERVE, 0, 4, 1) + bytes(4), "for 0 observations"),
        (binary.HEADER.pack(0xAF, Kind.OBSERVE, 1, 0, 1), "0 bytes for 1 observations"),
        (binary.HEADER.pack(0xAF, Kind.OBSERVE, 3, 8, 1) + bytes(8), "8 bytes for 3 observations"),
        (binary.HEADER.pack(0xAF, Kind.SAMPLES_S16, 0, 3, 0) + bytes(3), "whole samples of 2 bytes"),
        (binary.HEADER.pack(0xAF, Kind.SAMPLES_F32, 0, 0, 0), "whole samples of 4 bytes"),
        (binary.HEADER.pack(0xAF, Kind.MARKER, 0, 1025, 0) + bytes(1025), "at most 1024"),
        (binary.HEADER.pack(0xAF, Kind.MARKER, 0, 1, 0) + b"\xff", "not UTF-8"),
    ],
)
def test_what_is_no_message_is_refused_with_what_was_expected(data: bytes, expected: str) -> None:
    """By name, from the client's side of the protocol."""
    with pytest.raises(binary.MalformedFrame, match=re.escape(expected)):
        binary.decode_client(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_and_mutated_bytes_raise_nothing_else(data: st.DataObject) -> None:
    """Valid messages with bytes changed, cut off or added: a message, or MalformedFrame."""
    frames = [binary.encode(message) for message in (*CLIENT_MESSAGES, *SERVER_MESSAGES)]
    frame = bytearray(data.draw(st.sampled_from(frames)))
    for position, value in data.draw(st.dictionaries(st.integers(0, len(frame) - 1), st.integers(0, 255))).items():
        frame[position] = value
    mutated = bytes(frame[: data.draw(st.integers(0, len(frame)))]) + data.draw(st.binary(max_size=8))
    for decode in (binary.decode_client, binary.decode_server):
        try:
            decode(mutated)
        except binary.MalformedFrame:
            continue


@given(st.binary(max_size=64), st.sampled_from(list(Kind)), st.integers(0, 3), st.integers(0, 2**53))
@example(struct.pack("<HHI", 1, 0, 2**32 - 1), Kind.ESTIMATE, 1, 1)
def test_any_payload_of_any_kind_raises_nothing_else(payload: bytes, kind: Kind, count: int, number: int) -> None:
    """Headers that are right, and payloads that need not be."""
    frame = binary.HEADER.pack(binary.MAGIC, kind, count, len(payload), number) + payload
    for decode in (binary.decode_client, binary.decode_server):
        try:
            decode(frame)
        except binary.MalformedFrame:
            continue


def test_arrays_of_later_releases_are_passed_over() -> None:
    """A name that this release does not know harms nothing; what is left after the last array does."""
    frame = binary.encode(binary.estimate_of(ESTIMATE, arrays=False))
    later = struct.pack("<HHI", 99, 0, 1) + struct.pack("<f", 1.0)
    header = binary.HEADER.pack(binary.MAGIC, Kind.ESTIMATE, 1, len(frame) - 16 + len(later), 1)
    found = binary.decode_server(header + frame[16:] + later)
    assert isinstance(found, binary.Estimate)
    assert (found.free_energy, found.prior) == (1.5, None)
    with pytest.raises(binary.MalformedFrame, match="left after 0 arrays"):
        binary.decode_server(binary.HEADER.pack(0xAF, Kind.ESTIMATE, 0, len(frame) - 16 + 4, 1) + frame[16:] + bytes(4))


def test_numbers_that_do_not_fit_are_not_written() -> None:
    """A negative seq is the caller's mistake, and no message."""
    with pytest.raises(ValueError, match="cannot be written"):
        binary.encode(binary.Observations(seq=-1, rows=np.zeros((1, 2), dtype=np.float32)))
