"""The server's fixtures, for the short campaign."""

from tests.server.conftest import serve, tiny

__all__ = ["serve", "tiny"]
