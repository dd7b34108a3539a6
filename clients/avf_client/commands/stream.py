"""`avf stream`: a file or a piece of music through a served model, watched live."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from avf_client import plot as plots
from avf_client.errors import InvalidArgument
from avf_client.sources import Options, read
from avf_client.sync import Client, Session
from avf_client.watch import Trace, summary, watch


@click.command()
@click.argument("file")
@click.option("--server", required=True, metavar="URL", help="The server's address, such as http://127.0.0.1:8000.")
@click.option("--model", metavar="NAME", help="The model to open a session on; the server's only one if absent.")
@click.option("--session", "session_id", metavar="ID", help="Go on with this session, and leave it open.")
@click.option("--key", help='Which array of an archive; of piano rolls "split:index".')
@click.option(
    "--transpose",
    type=click.Choice(["jsb", "c", "none"]),
    default="jsb",
    show_default=True,
    help="Music: to C and up an octave as the JSB arrays are, to C, or not at all.",
)
@click.option("--frame", type=float, default=1.0, show_default=True, help="Music: quarter notes in a frame.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option("--pace", type=click.FloatRange(min=0, min_open=True), help="Frames per second; unpaced if absent.")
@click.option("--seed", type=int, help="Fixes all randomness of the session.")
@click.option("--iterations", type=click.IntRange(min=0), help="Updates of the posterior a step.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout; the rest goes to stderr.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture (PNG, SVG or PDF).")
def command(
    file: str,
    server: str,
    model: str | None,
    session_id: str | None,
    key: str | None,
    transpose: Literal["jsb", "c", "none"],
    frame: float,
    limit: int | None,
    pace: float | None,
    seed: int | None,
    iterations: int | None,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Stream FILE through a served model, and watch.

    FILE is an array (.npy, .npz; T rows of D numbers), music (.mid, .musicxml, .mxl), or a piece that music21 ships,
    such as corpus:bach/bwv66.6. An API key is read from AVF_API_KEY.
    """
    if plot is not None:
        plots.require()
    recording = read(file, Options(key=key, transpose=transpose, frame=frame))
    console = Console(stderr=as_json)
    with Client(server, api_key=os.environ.get("AVF_API_KEY") or None) as client:
        start = time.perf_counter()
        with _session(client, model, session_id, seed=seed, iterations=iterations) as session:
            trace = watch(session, recording, console=console, pace=pace, limit=limit)
        console.print(summary(trace, seconds=time.perf_counter() - start))
    if plot is not None:
        plots.draw(trace, plot)
        console.print(f"plot written to {plot}", highlight=False, soft_wrap=True)
    if as_json:
        sys.stdout.write(json.dumps(report(trace, server_url=client.base_url, plot=plot)) + "\n")


def report(trace: Trace, *, server_url: str, plot: Path | None) -> dict[str, object]:
    """What a stream came to, for other programs. Energies in nats per step."""
    return {
        "steps": trace.steps,
        "mean_free_energy": trace.mean_free_energy,
        "mean_reconstruction": trace.mean("reconstruction"),
        "mean_kl": trace.mean("kl"),
        "model": trace.model,
        "server_url": server_url,
        "plot": None if plot is None else str(plot),
    }


def _session(
    client: Client, model: str | None, session_id: str | None, *, seed: int | None, iterations: int | None
) -> Session:
    if session_id is not None:
        if (model, seed, iterations) != (None, None, None):
            raise InvalidArgument("--session goes on with a session as it was opened: no --model, --seed, --iterations")
        return client.attach(session_id)
    return client.session(model or _only_model(client), seed=seed, iterations=iterations)


def _only_model(client: Client) -> str:
    names = [info.name for info in client.models()]
    if len(names) != 1:
        raise InvalidArgument(f"the server holds {len(names)} models, choose one with --model: {', '.join(names)}")
    return names[0]
