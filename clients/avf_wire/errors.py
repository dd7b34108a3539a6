"""The root of what clients raise, and what bytes that are no message raise: docs/client.md has the whole tree."""


class AvfClientError(Exception):
    """The root of every error that avf_client raises on purpose."""


class ProtocolError(AvfClientError):
    """The server said something that the protocol does not allow; it may be of another version."""
