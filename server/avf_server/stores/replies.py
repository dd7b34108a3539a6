"""A reply as it is stored: the digest of its observation, the observation, and the estimate.

    digest, 16 bytes | u8 version | u32 bytes of the observation | the observation | the estimate

The observation is a row of `avf_wire.rows`: of 32 bits, or wide where the model computes in 64.

Version 2 is this release's: the estimate is the `estimate` of avf.v1.bin, with all of its arrays, and durable_seq not
said. In version 1 it is JSON, without its durable_seq; in the oldest form JSON follows the digest, and its first byte,
a brace, stands where versions do. An estimate without `prediction_at_prior_mean` is of a release before there was any:
its `prediction` is that.

The law: what an older release stored is read as if this one had; what has another version is refused by name, and never
misread. Digests are the same in all of them, so that an observation is known again after an upgrade.
"""

import avf_wire as wire
import msgspec
from avf_wire import binary

DIGEST_SIZE = 16  # bytes of the digest of an observation
VERSION, JSON, OLDEST = b"\x02", b"\x01", b"{"
_HEAD = DIGEST_SIZE + 5

_json: msgspec.json.Decoder[wire.Estimate] = msgspec.json.Decoder(wire.Estimate)


def pack(digest: bytes, observation: bytes, estimate: bytes) -> bytes:
    """A reply to store: `observation` is its row as bytes, `estimate` a message of avf.v1.bin."""
    return b"".join((digest, VERSION, len(observation).to_bytes(4, "little"), observation, estimate))


def is_readable(reply: bytes) -> bool:
    """Whether a stored reply has a form that this release knows."""
    return _version(reply) in (VERSION, JSON, OLDEST)


def digest_of(reply: bytes) -> bytes:
    """The digest of a stored reply's observation."""
    return reply[:DIGEST_SIZE]


def observation_of(reply: bytes) -> bytes | None:
    """The observation of a stored reply, as it was packed; None where the oldest form was stored without."""
    return None if _version(reply) == OLDEST else reply[_HEAD : _estimate_from(reply)]


def estimate_of(reply: bytes) -> bytes:
    """The estimate of a stored reply, as a message of avf.v1.bin."""
    kept = reply[_estimate_from(reply) :]
    return kept if _version(reply) == VERSION else binary.encode(binary.estimate_of(_json.decode(kept)))


def _version(reply: bytes) -> bytes:
    return reply[DIGEST_SIZE : DIGEST_SIZE + 1]


def _estimate_from(reply: bytes) -> int:
    """Where the estimate of a stored reply begins."""
    if _version(reply) == OLDEST:
        return DIGEST_SIZE
    return _HEAD + int.from_bytes(reply[DIGEST_SIZE + 1 : _HEAD], "little")
