"""What every message shares: the two bases, the words of the protocol, and how observations are said."""

from typing import Literal

import msgspec

VERSION = "v1"


PROBLEM_PREFIX = "urn:avf:problem:"


PROBLEM_MEDIA_TYPE = "application/problem+json"


SNAPSHOT_MEDIA_TYPE = "application/vnd.avf.belief"


LONGEST_CONTROL = 64 << 10
"""Bytes of a message that holds no observations, samples or snapshot, at most."""


Durability = Literal["none", "behind", "group", "wait"]


Observation = list[float | None] | None
"""One observation: numbers, null for a dimension that is missing; null alone where all of it is missing."""


AlarmBy = Literal["change", "novelty", "daily"]
"""What a session's detector listens for: a lasting change of surprise, what was not met before, or that by the hour."""


Precision = Literal["float32", "float64"]
"""What a model computes in, and so what its observations and results are."""


Encoding = Literal["s16", "f32"]
"""How samples are written: 16-bit integers, k standing for k / 32768, or 32-bit numbers. Little-endian, mono."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of what clients send."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The base of what servers send: clients ignore fields that they don't know."""


class Audio(Request, frozen=True):
    """Sound as a session takes it: mono, `rate` samples a second; it must be the model's."""

    rate: int
    encoding: Encoding = "s16"
    channels: int = 1
