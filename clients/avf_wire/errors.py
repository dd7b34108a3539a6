"""The root of what clients raise, and what bytes that are no message raise: docs/client.md has the whole tree."""

from typing import Any


class Portable(Exception):  # noqa: N818 - a quality of errors
    """An exception that goes to another process, by pickle, or is copied, as it is: whatever it was made from.

    Exceptions of Python are made again from their message, which is wrong for all that are made from something else.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


class AvfClientError(Portable):
    """The root of every error that avf_client raises on purpose."""


class ProtocolError(AvfClientError):
    """The server said something that the protocol does not allow; it may be of another version."""


def _again(kind: type[Portable], arguments: tuple[Any, ...], values: dict[str, Any]) -> Portable:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(values)
    return error
