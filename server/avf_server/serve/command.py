"""`avf serve`: a server in this process, from options and environment, until SIGTERM or Ctrl+C.

The laws: what the user got wrong is said in one line, with exit code 1 (2 for misused options), and no stack
trace; standard output carries the ready line only; a stopping server refuses new work, finishes what it took,
and exits with 0.
"""

import gc
import json
import logging
import os
import socket
import sys
from typing import Any

import click
from rich.console import Console
from rich.logging import RichHandler

from avf_server.problems import StartError
from avf_server.serve import descriptors
from avf_server.settings import Settings, read


@click.command("serve")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes any free one.  [default: 8000]")
@click.option("--redis-url", help="Redis to keep beliefs in; without it the server starts its own.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of that own Redis.  [default: .avf]")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="A model of the zoo, or a folder; may be repeated.  [default: all]",
)
@click.option("--plugin", "plugins", multiple=True, help="A module that a checkpoint may name; may be repeated.")
@click.option("--device", help="Torch device of the models.  [default: cpu]")
@click.option("--root-path", help="Prefix that a proxy puts before all addresses, such as /avf.")
@click.option("--insecure", is_flag=True, help="Be open to all who reach the address, without API keys.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON to standard output once ready.")
def command(as_json: bool, **options: Any) -> None:
    """Serve models: sessions over HTTP and WebSocket, beliefs in Redis.

    Every setting is also an environment variable, AVF_...: see docs/server.md.

    \b
    avf serve --model srnn-jsb --port 8000
    avf serve --redis-url redis://127.0.0.1:6379/0
    """
    os.umask(0o077)  # whatever this process writes is for its owner only
    _log_to_stderr()
    given = {name: value for name, value in options.items() if value not in (None, ()) and value is not False}
    try:
        settings = read(given)
        descriptors.raise_limit()
        listener = _listen(settings)
        gc.disable()  # until the server runs: imports leave nothing to collect, and it is looked for all the time
        from avf_server.serve.uvicorn import run  # imports torch: not before the options are known to be right

        run(settings, listener, announce=_announce_json if as_json else _announce)
    except StartError as error:
        raise click.ClickException(str(error)) from error


def _listen(settings: Settings) -> socket.socket:
    """The socket to serve on, bound, so that a port in use is known at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}") from error
    return listener


def _announce_json(url: str, models: list[str]) -> None:
    click.echo(json.dumps({"server_url": url, "pid": os.getpid(), "models": models}))


def _announce(url: str, models: list[str]) -> None:
    Console(stderr=True).print(
        f"Serving [bold]{', '.join(models)}[/bold] at {url} (dashboard; the interface at {url}/docs)"
    )


def _log_to_stderr() -> None:
    """Coloured for people, plain lines with full times for files and containers."""
    handler: logging.Handler = logging.StreamHandler()
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if sys.stderr.isatty():
        handler, form = RichHandler(console=Console(stderr=True), show_path=False), "%(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, handlers=[handler])
    for name in ("avf_server", "avf_core.native"):
        logging.getLogger(name).setLevel(logging.INFO)
