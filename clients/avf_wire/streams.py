"""The messages of a stream (sub-protocol `avf.v1.json`), the names of both sub-protocols, and close codes."""

from avf_wire.base import Message, Observation, Request
from avf_wire.estimates import Estimate, Summary
from avf_wire.problems import Problem
from avf_wire.sessions import Session

SUBPROTOCOL_JSON = "avf.v1.json"


SUBPROTOCOL_BINARY = "avf.v1.bin"


class Observe(Request, frozen=True, tag_field="type", tag="observe"):
    """Stream, client to server: one observation; `inputs` and `time` where the model takes them, as in `Steps`."""

    seq: int
    x: Observation
    inputs: list[float] | None = None
    time: float | None = None


class Samples(Request, frozen=True, tag_field="type", tag="samples"):
    """Stream, client to server: samples of sound, the first of which is sample `offset` of the epoch, from 0.

    Either `s16`, base64 of little-endian 16-bit integers, or `f32`, numbers within [-1, 1]: as the session agreed.
    """

    offset: int
    s16: bytes | None = None
    f32: list[float] | None = None


class Marker(Request, frozen=True, tag_field="type", tag="marker"):
    """Stream, both ways: text that comes back once all that was sent before it is answered. At most 1,024 bytes."""

    text: str


class KeepAlive(Request, frozen=True, tag_field="type", tag="keepalive"):
    """Stream, both ways: comes back; says to both that the other is there."""


class End(Request, frozen=True, tag_field="type", tag="end"):
    """Stream, client to server: no more observations will come; answer what is under way, then `ended`."""


class Begin(Message, frozen=True, tag_field="type", tag="begin"):
    """Stream, server to client, first: where the session stands, and how many observations may be in flight.

    `next_sample` is that of the session.
    """

    session: Session
    credit: int
    next_sample: int | None = None


class Ack(Message, frozen=True, tag_field="type", tag="ack"):
    """Stream, server to client: all observations up to `seq` are answered; estimates that did not come will not.

    `durable_seq` is the last observation that is as safe as the session's durability says.
    """

    epoch: int
    seq: int
    durable_seq: int | None = None


class Error(Message, frozen=True, tag_field="type", tag="error"):
    """Stream, server to client: a problem. The session is as it was; a close code follows where the stream ends."""

    problem: Problem


class Ended(Message, frozen=True, tag_field="type", tag="ended"):
    """Stream, server to client, last: all was answered; the session goes on at `next_seq`, and `next_sample`."""

    next_seq: int
    next_sample: int | None = None


class GoAway(Message, frozen=True, tag_field="type", tag="goaway"):
    """Stream, server to client: this server is stopping. Connect again; nothing acknowledged is lost."""


ClientMessage = Observe | Samples | Marker | KeepAlive | End


ServerMessage = Begin | Estimate | Summary | Ack | Marker | KeepAlive | Error | Ended | GoAway


LONGEST_MARKER = 1024  # bytes of UTF-8


CLOSE_UNAUTHORISED = 4401


CLOSE_UNKNOWN_SESSION = 4404


CLOSE_TOO_SLOW = 4408


CLOSE_CONFLICT = 4409


CLOSE_GONE = 4410


CLOSE_TOO_MANY = 4429


CLOSE_GOING_AWAY = 1012
