"""What readers raise, in the tree of the client's errors."""

# ruff: noqa: N818 - the names are those of the client's errors

from avf_wire.errors import AvfClientError


class SourceError(AvfClientError, ValueError):
    """A file or piece cannot be read as observations. The message says what to do."""


class MissingExtra(AvfClientError, ImportError):
    """An optional dependency is not installed. `extra` is the extra of the distribution that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'avf[{extra}]'")
        self.extra = extra
