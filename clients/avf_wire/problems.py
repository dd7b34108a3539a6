"""The message of a problem: errors as RFC 9457 says them."""

from avf_wire.base import Message


class Problem(Message, frozen=True):
    """An error as RFC 9457 says it: `type` is stable and documented, `detail` says what to do.

    `expected_seq`, `expected_epoch` and `expected_sample` say where the session stands, in problems of order.
    """

    type: str
    title: str
    status: int
    detail: str
    session: str | None = None
    seq: int | None = None
    expected_seq: int | None = None
    expected_epoch: int | None = None
    expected_sample: int | None = None
