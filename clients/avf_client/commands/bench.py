"""`avf bench`: how fast a running server answers."""

import asyncio

import avf_wire as wire
import click
from rich import box
from rich.console import Console
from rich.table import Table

from avf_client.asynchronous.client import AsyncClient
from avf_client.commands.common import json_option, server_option, write_json
from avf_client.commands.load import (
    MOST_SESSIONS,
    MOST_STEPS,
    Load,
    Measured,
    Via,
    offer,
)
from avf_client.core import keys
from avf_client.core.addresses import is_this_machine
from avf_client.errors import InvalidArgument


@click.command()
@server_option
@click.option("--model", metavar="NAME", help="The model of the sessions; the server's only one if absent.")
@click.option(
    "--sessions", type=click.IntRange(1, MOST_SESSIONS), default=8, show_default=True, help="Sessions at once."
)
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Observations a session.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Observations per second and session.")
@click.option("--via", type=click.Choice(["stream", "http"]), default="stream", show_default=True, help="How to send.")
@click.option(
    "--durability",
    type=click.Choice(["none", "behind", "group", "wait"]),
    default="group",
    show_default=True,
    help="Of the sessions.",
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, help="Seconds for one answer.")
@click.option("--yes", is_flag=True, help="Load a server that is not on this machine, too.")
@json_option
def command(
    server: str,
    model: str | None,
    sessions: int,
    steps: int,
    rate: float | None,
    via: Via,
    durability: wire.Durability,
    timeout: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Measure how fast a running server answers: steps per second, and percentiles of the latency.

    Each session sends one observation at a time, drawn at random within the model's range, and ends afterwards. With
    --rate, latency counts from when an observation was due. The load is bounded, and stays on this machine unless --yes
    is given.

    \b
    avf bench --model srnn-jsb --sessions 32 --steps 100
    avf bench --model srnn-jsb --sessions 16 --rate 5 --json
    """
    if sessions * steps > MOST_STEPS:
        raise InvalidArgument(f"{sessions} sessions of {steps} steps are more than {MOST_STEPS} in all")
    if not is_this_machine(server) and not yes:
        raise InvalidArgument(f"{server} is not on this machine: add --yes to load it nevertheless")
    measured, info = asyncio.run(
        _run(server, model, timeout, sessions=sessions, steps=steps, rate=rate, via=via, durability=durability)
    )
    result = {
        "model": info.name,
        "sessions": sessions,
        "steps": steps,
        "rate": rate,
        "via": via,
        "durability": durability,
        "answered": len(measured.latencies),
        "seconds": measured.seconds,
        "steps_per_second": measured.per_second,
        "p50_ms": measured.quantile(0.5),
        "p90_ms": measured.quantile(0.9),
        "p99_ms": measured.quantile(0.99),
        "max_ms": measured.quantile(1.0),
        "failed_sessions": len(measured.errors),
    }
    if as_json:
        write_json(result)
    else:
        Console().print(_table(result))
    if measured.errors:
        raise click.ClickException(f"{len(measured.errors)} sessions failed, the first one: {measured.errors[0]}")


async def _run(
    server: str,
    model: str | None,
    timeout: float,
    *,
    sessions: int,
    steps: int,
    rate: float | None,
    via: Via,
    durability: wire.Durability,
) -> tuple[Measured, wire.ModelInfo]:
    async with AsyncClient(server, keys.of_environment(), timeout=timeout) as client:
        info = await _model(client, model)
        load = Load(model=info, sessions=sessions, steps=steps, rate=rate, via=via, durability=durability)
        return await offer(client, load), info


async def _model(client: AsyncClient, name: str | None) -> wire.ModelInfo:
    if name is not None:
        return await client.model(name)
    models = await client.models()
    if len(models) != 1:
        names = ", ".join(info.name for info in models)
        raise InvalidArgument(f"the server holds {len(models)} models, choose one with --model: {names}")
    return models[0]


def _table(result: dict[str, object]) -> Table:
    table = Table(box=box.ROUNDED, show_header=False, title=f"{result['model']} via {result['via']}")
    for name, value in result.items():
        if name not in ("model", "via") and value is not None:
            table.add_row(name.replace("_", " "), f"{value:.1f}" if isinstance(value, float) else str(value))
    return table
