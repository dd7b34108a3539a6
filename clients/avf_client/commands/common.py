"""What the commands that talk to a server share: its address, the key, and how results are written."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from avf_client.blocking.client import Client
from avf_client.core import keys

DEFAULT_SERVER = "http://127.0.0.1:8000"
F = TypeVar("F", bound=Callable[..., Any])


def server_option(command: F) -> F:
    """`--server`: where the server is."""
    return click.option(
        "--server",
        metavar="URL",
        envvar="AVF_SERVER",
        default=DEFAULT_SERVER,
        show_default=True,
        help="The server's address; AVF_SERVER where absent.",
    )(command)


def json_option(command: F) -> F:
    """`--json`: results for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout; the rest goes to stderr.")(
        command
    )


def client_of(server: str) -> Client:
    """A client of the server, with the key of the environment."""
    return Client(server, keys.of_environment())


def write_json(value: Any) -> None:
    """Write a result to stdout, on one line. Messages of the protocol are written as the protocol writes them."""
    plain = msgspec.to_builtins(value)
    click.echo(json.dumps(plain))
