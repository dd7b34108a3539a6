"""The command `avf`: sub-commands are entry points of the group `avf.commands`, loaded when they are invoked.

The law: what a user did wrong is one line on stderr and exit code 1 (2 for wrong usage and for a missing extra, 130
after Ctrl-C), never a stack trace; a stack trace is a fault of ours. `avf --help` loads none of our own commands, so
that it is quick and works with no extra installed.
"""

import errno
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from avf_client.commands import output
from avf_client.errors import MissingExtra

GROUP = "avf.commands"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says of a disk that takes no more."""


class Built(NamedTuple):
    """A command of this distribution: its one line of help, the extra that it needs, and a module of that extra."""

    help: str
    extra: str | None = None
    module: str | None = None


BUILT_IN = {
    "bench": Built("Measure how fast a running server answers."),
    "calibrate": Built("Make the reference that surprise is judged by, of data of your own.", "train", "torch"),
    "compare": Built("Compare two checkpoints on the same data, paired.", "core", "torch"),
    "completion": Built("Print the completion script of a shell."),
    "data": Built("Say what is in a file, before it is streamed or trained on."),
    "evaluate": Built("Measure the free energy of a checkpoint on a data set.", "core", "torch"),
    "fit": Built("Train a filter on a file of sensors, and say whether it is any good.", "train", "torch"),
    "forecast": Built("Forecast how a sequence goes on, by sample paths.", "train", "torch"),
    "impute": Built("Fill what is missing in a sequence.", "train", "torch"),
    "smooth": Built("Tell the latents of a sequence given what was observed later.", "train", "torch"),
    "models": Built("List the checkpoints that ship with the library, and their cards.", "core", "torch"),
    "publish": Built("Make of a run a folder that another machine can serve.", "train", "torch"),
    "reproduce": Built("Train and evaluate everything in a table of results.", "train", "torch"),
    "serve": Built("Serve models over HTTP and WebSockets.", "server", "fastapi"),
    "sessions": Built("List, show and end the sessions that are open on a server."),
    "stream": Built("Stream a file, a piece of music or a microphone through a served model, and watch."),
    "train": Built("Train a model, by a preset or a configuration.", "train", "torch"),
}
"""Command to extra, in one table. Commands of other distributions need no entry."""


class Commands(click.Group):
    """A group whose sub-commands are entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all entry points."""
        return sorted(entry_points(group=GROUP).names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, loaded now."""
        found = list(entry_points(group=GROUP, name=cmd_name))
        return _load(found[0]) if found else None

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments; `--help` writes here."""
        with output.noticing():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command."""
        with output.noticing():
            return super().invoke(ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands, without loading any: completing must be quick, and work where extras are missing."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=_short_help(name)) for name in names]
        return items or click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, with what is missing for them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _short_help(name)) for name in self.list_commands(ctx)])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="avf", prog_name="avf")
def group() -> None:
    """Amortized variational filtering: train filters, serve them, and stream observations through them."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command `avf` and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run `avf` with these arguments; gives the exit code. Faults of ours are raised."""
    output.prepare()
    try:
        return _run(arguments)
    finally:
        output.give_up()


def _run(arguments: list[str]) -> int:
    try:
        result = group.main(arguments, prog_name="avf", standalone_mode=False)
        with output.noticing():
            output.flush()
    except output.ReaderLeftError:
        return 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        message = told(error, arguments)
        if message is None:
            raise
        click.echo(message, err=True)
        return 2 if isinstance(error, ImportError) else 1
    return result if isinstance(result, int) else 0


def told(error: Exception, arguments: list[str]) -> str | None:
    """The line that tells a user of this error, or None where it is a fault of ours.

    The packages of avf raise their own exceptions on purpose, with messages for users; what the system refuses is
    not ours either.
    """
    if any(base.__module__.startswith("avf_") for base in type(error).__mro__):
        return f"avf: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("avf_"):
        command = next((a for a in arguments if not a.startswith("-")), "")
        extra = BUILT_IN[command].extra if command in BUILT_IN else None
        if extra is not None:
            return str(MissingExtra(f"avf {command}", extra))
        return f"avf {command} needs the module {error.name!r}, which is not installed"
    if isinstance(error, OSError) and error.errno is not None:
        return f"avf: {_of_system(error)}"
    return None


def _of_system(error: OSError) -> str:
    """What the system refused, of which file, and what may help."""
    said = error.strerror or str(error)
    if error.errno in FULL:
        return f"{error.filename or 'the output'} cannot be written: {said}; make room, or write elsewhere"
    if error.filename is None:
        return f"the system refused: {said}"
    return f"{error.filename} cannot be used: {said}; see that it is what is meant, and that you may"


def _load(entry: EntryPoint) -> click.Command:
    command = entry.load()
    if not isinstance(command, click.Command):
        raise TypeError(f"{entry.value} is no click command")
    return command


def _short_help(name: str) -> str:
    if name not in BUILT_IN:
        return _foreign_help(name)
    built = BUILT_IN[name]
    if built.module is not None and importlib.util.find_spec(built.module) is None:
        return f"{built.help} (needs: pip install 'avf[{built.extra}]')"
    return built.help


def _foreign_help(name: str) -> str:
    """The help of another distribution's command, which must not break our own help."""
    entry = next(iter(entry_points(group=GROUP, name=name)))
    try:
        return _load(entry).get_short_help_str(limit=80)
    except Exception as error:
        return f"(cannot be loaded: {error})"
