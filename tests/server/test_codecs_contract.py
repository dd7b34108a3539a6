"""The contract of codecs, for every file of the folder: dropping one in tests it. No server is needed."""

import re
import typing

import avf_wire as wire
import msgspec
import numpy as np
import pytest
from avf_server import codecs
from avf_server.codecs import negotiation
from avf_server.codecs.base import Codec, MessageCodec
from avf_server.problems import MalformedBodyError
from avf_wire.rows import RowForm

from avf_core.plugins import kinds, plugin

SIZE = 4
FORM = RowForm(size=SIZE)
ROWS = (np.random.default_rng(3).integers(-32768, 32768, (5, SIZE)) / 32768).astype(np.float32)
"""Numbers that every form holds exactly: samples of 16 bits."""

EVERY = pytest.mark.parametrize("kind", kinds(codecs))
OF_MESSAGES = [kind for kind in kinds(codecs) if isinstance(getattr(plugin(codecs, kind), "codec", None), MessageCodec)]


def codec_of(kind: str) -> Codec:
    """The codec of a file."""
    found: Codec = plugin(codecs, kind).codec
    return found


def numbers(observations: typing.Iterable[typing.Any]) -> np.ndarray:
    """Observations as they came, as rows."""
    return np.array([np.asarray(one, dtype=np.float32) for one in observations])


@EVERY
def test_every_codec_is_found_by_a_media_type_of_its_own(kind: str) -> None:
    """With parameters, and in any case; no other codec has it."""
    codec = codec_of(kind)
    assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", codec.media_type)
    assert negotiation.reader(f" {codec.media_type.upper()}; charset=utf-8") is codec
    assert [codec_of(other).media_type for other in kinds(codecs)].count(codec.media_type) == 1


@EVERY
def test_what_was_written_is_read(kind: str) -> None:
    """Bit for bit, at the seq that was said, as often as one likes."""
    body, place = plugin(codecs, kind).write_example(ROWS, seq=7)
    for _ in range(2):
        steps = codec_of(kind).steps(body, place=place, form=FORM, most=8)
        assert (steps.seq, steps.epoch) == (7, None)
        np.testing.assert_array_equal(numbers([each.x for each in steps.observations]), ROWS)


@EVERY
@pytest.mark.parametrize("missing", [1, 3])
def test_a_body_that_was_cut_within_an_observation_is_refused(kind: str, missing: int) -> None:
    """And nothing of it is read."""
    body, place = plugin(codecs, kind).write_example(ROWS, seq=1)
    with pytest.raises(MalformedBodyError):
        codec_of(kind).steps(body[:-missing], place=place, form=FORM, most=8)


@EVERY
@pytest.mark.parametrize("count", [0, 9, 1000])
def test_more_than_the_most_observations_are_refused_before_they_are_made(kind: str, count: int) -> None:
    """And so is a body without any."""
    body, place = plugin(codecs, kind).write_example(np.resize(ROWS, (count, SIZE)), seq=1)
    with pytest.raises(MalformedBodyError, match="expected 1 to 8"):
        codec_of(kind).steps(body, place=place, form=FORM, most=8)


@EVERY
def test_bytes_of_any_kind_are_read_or_refused(kind: str) -> None:
    """Never another error than the one that clients are told."""
    generator = np.random.default_rng(11)
    body, place = plugin(codecs, kind).write_example(ROWS, seq=1)
    refused = 0
    for round_ in range(400):
        spoiled = bytearray(body if round_ % 2 else generator.bytes(int(generator.integers(0, 64))))
        for at in generator.integers(0, max(1, len(spoiled)), 3):
            spoiled[at : at + 1] = generator.bytes(1)
        try:
            list(codec_of(kind).steps(bytes(spoiled), place=place, form=FORM, most=8).observations)
        except MalformedBodyError:
            refused += 1
    assert refused > 50


MESSAGES: list[msgspec.Struct] = [
    wire.Steps(seq=3, observations=[[1.0, None], [0.5, -2.0]], epoch=2),
    wire.Problem(type="about:blank", title="no", status=404, detail="not there"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("kind", OF_MESSAGES)
def test_messages_are_read_as_they_were_written(kind: str, message: msgspec.Struct) -> None:
    """By every codec that writes; missing numbers stay missing."""
    codec = plugin(codecs, kind).codec
    assert codec.decode(codec.encode(message), type(message)) == message
    for body in (b"", codec.encode(message)[:-1], codec.encode([1, 2, 3])):
        with pytest.raises(MalformedBodyError):
            codec.decode(body, type(message))


@pytest.mark.parametrize("kind", OF_MESSAGES)
def test_a_stored_note_is_a_part_of_a_message(kind: str) -> None:
    """It was stored as JSON, and comes out as what it says."""
    codec = plugin(codecs, kind).codec
    stored = b'{"seq":3,"free_energy":1.5,"missing":null}'
    body = codec.encode({"first": codec.note(stored)})
    assert codec.decode(body, dict) == {"first": msgspec.json.decode(stored)}
