"""Tokens that browsers hold in place of API keys."""

from avf_wire.base import Message, Request


class TokenRequest(Request, frozen=True):
    """POST /v1/tokens, and /v1/sessions/{id}/tokens: a token that is good for `lifetime_s` seconds.

    Where that is absent it is an hour, or the most that the server allows.
    """

    lifetime_s: float | None = None
    read_only: bool = False


class Token(Message, frozen=True):
    """What a browser presents in place of an API key; for `session` only, or all of the key's where that is null."""

    token: str
    expires_at: float  # seconds since 1970
    session: str | None
    read_only: bool
