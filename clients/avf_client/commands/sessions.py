"""`avf sessions`: those that are open on a server: list, show, end."""

import time

import avf_wire as wire
import click
from rich import box
from rich.console import Console
from rich.table import Table

from avf_client.blocking.client import Session
from avf_client.commands.common import client_of, json_option, server_option, write_json
from avf_client.errors import UnknownSession


@click.group()
def command() -> None:
    """List, show and end the sessions that are open on a server.

    They are those of your API key, which is read from AVF_API_KEY.

    \b
    avf sessions list
    avf sessions show s-4f2c
    """


@command.command("list")
@server_option
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The last opened ones only.")
@json_option
def list_command(server: str, limit: int, as_json: bool) -> None:
    """List open sessions, the last opened first.

    \b
    avf sessions list --json | jq -r '.[].session.id'
    """
    with client_of(server) as client:
        found = client.sessions(limit=limit)
    if as_json:
        write_json(found)
    elif found:
        Console().print(_table(found))
    else:
        click.echo("no open sessions")


@command.command("show")
@server_option
@click.argument("session_id", metavar="SESSION")
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="How many of its last steps.")
@json_option
def show_command(server: str, session_id: str, steps: int, as_json: bool) -> None:
    """Show a session, and its last steps.

    \b
    avf sessions show s-4f2c --steps 20
    """
    with client_of(server) as client:
        session = client.attach(session_id)
        history = session.history(newest=steps)
    if as_json:
        columns = {name: values.tolist() for name, values in vars(history).items()}
        last = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        write_json({"session": session.info, "steps": [_finite(step) for step in last]})
        return
    console = Console()
    console.print(_details(session))
    table = Table(box=box.SIMPLE_HEAD, title="last steps", title_justify="left")
    for title in ("epoch", "seq", "F (nats)", "recon.", "KL", "surprise p"):
        table.add_column(title, justify="right")
    for i in range(len(history)):
        table.add_row(
            f"{history.epoch[i]}",
            f"{history.seq[i]}",
            f"{history.free_energy[i]:.2f}",
            f"{history.reconstruction[i]:.2f}",
            f"{history.kl[i]:.2f}",
            _p(float(history.surprise[i])),
        )
    console.print(table)


@command.command("end")
@server_option
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@json_option
def end_command(server: str, session_ids: tuple[str, ...], as_json: bool) -> None:
    """End sessions.

    A session that is not there is an error, told once the others have been ended.

    \b
    avf sessions end s-4f2c s-77aa
    """
    ended, errors = [], []
    with client_of(server) as client:
        for session_id in session_ids:
            try:
                client.attach(session_id).close()
                ended.append(session_id)
            except UnknownSession as error:
                errors.append(error)
    if as_json:
        write_json({"ended": ended})
    else:
        click.echo(f"{len(ended)} ended")
    if errors:
        raise errors[0]


def _table(found: list[wire.SessionSummary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("session", "model", "durability"):
        table.add_column(title)
    for title in ("epoch", "steps", "F (nats)", "surprise p", "idle"):
        table.add_column(title, justify="right")
    for each in found:
        session, last = each.session, each.last
        table.add_row(
            session.id,
            session.model,
            session.durability,
            f"{session.epoch}",
            f"{session.next_seq - 1}",
            "" if last is None else f"{last.free_energy:.2f}",
            "" if last is None else _p(last.surprise),
            f"{max(0.0, time.time() - each.used_at):.0f} s",
        )
    return table


def _details(session: Session) -> Table:
    info = session.info
    table = Table(box=box.ROUNDED, show_header=False)
    table.add_row("session", info.id)
    table.add_row("model", f"{info.model}, {info.iterations} iterations, seed {info.seed}")
    table.add_row("stands at", f"epoch {info.epoch}, seq {info.next_seq}")
    table.add_row("durability", info.durability)
    table.add_row("opened", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.created_at)))
    table.add_row("ends", f"after {info.expires_in:.0f} s without a step")
    if info.audio is not None:
        table.add_row("sound", f"{info.audio.rate} Hz {info.audio.encoding}, {info.next_sample} samples so far")
    return table


def _p(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.2g}"


def _finite(step: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: None if value != value else value for name, value in step.items()}
