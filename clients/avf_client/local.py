"""The edge to `avf_server`, for a server in this process: `Client.local` and `AsyncClient.local`.

The law: the client knows the server by name only. It is imported here, when it is asked for, and nowhere else; torch
comes with it.
"""

import importlib
import os
from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol

from avf_client.errors import InvalidArgument, MissingExtra, StartFailed


class Server(Protocol):
    """A server in this process, ready."""

    url: str
    api_key: str

    def stop(self) -> None:
        """End it; may be called twice."""
        ...


def start(models: Sequence[str | PathLike[str]], **settings: Any) -> Server:
    """Start a server of these models. Raises MissingExtra, StartFailed, InvalidArgument."""
    if not models:
        raise InvalidArgument("a local server of no model: name one of the zoo, or the folder of a checkpoint")
    try:
        module = importlib.import_module("avf_server.serve.local")
        problems = importlib.import_module("avf_server.problems")
    except ModuleNotFoundError as error:
        raise MissingExtra("a server in this process", "server") from error
    try:
        server: Server = module.LocalServer([os.fspath(model) for model in models], **settings)
    except problems.StartError as error:
        raise StartFailed(str(error)) from error
    return server
