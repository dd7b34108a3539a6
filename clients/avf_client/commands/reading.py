"""How files are read, as the options of a command: one list, for all commands that take a file."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from avf_sources import Limits, Options

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--kind", metavar="KIND", help="What FILE is; also of another package. [default: by its name]"),
    click.option("--key", help='Which array of an archive; of piano rolls "split:index"; which group of a table.'),
    click.option("--channel", "channels", metavar="COLUMN", multiple=True, help="Tables: read these, in this order."),
    click.option("--ignore", metavar="COLUMN", multiple=True, help="Tables: leave these out."),
    click.option("--categorical", metavar="COLUMN", multiple=True, help="Tables: a channel for each value of these."),
    click.option("--time", metavar="COLUMN", help="Tables: which column says when."),
    click.option("--group", metavar="COLUMN", help="Tables: which column says what sequence a row is of."),
    click.option("--decimal", type=click.Choice([".", ","]), help="CSV: what stands before decimals."),
    click.option(
        "--transpose",
        type=click.Choice(["jsb", "c", "none"]),
        default="jsb",
        show_default=True,
        help="Music: to C and up an octave as the JSB arrays are, to C, or not at all.",
    ),
    click.option("--frame", type=float, default=1.0, show_default=True, help="Music: quarter notes in a frame."),
    click.option(
        "--ending",
        type=click.Choice(["whole", "open", "cut"]),
        default="open",
        show_default=True,
        help="Sound, video: refuse what was never closed, read it, or read even what ends before its header says. CSV: "
        '"whole" refuses a last line that does not end.',
    ),
    click.option("--max-bytes", type=click.IntRange(min=1), default=Limits.max_bytes, help="Refuse larger, decoded."),
    click.option("--max-frames", type=click.IntRange(min=1), default=Limits.max_frames, help="Refuse what has more."),
)
_OF_TABLES = ("channels", "ignore", "categorical", "time", "group", "decimal")
_NAMES = ("key", *_OF_TABLES, "transpose", "frame", "ending", "max_bytes", "max_frames")


def reading_options(command: F) -> F:
    """The options that say what a file is, and how it is read."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take(given: dict[str, Any]) -> Options:
    """Take out of what a command was given how its file is read; `kind` stays."""
    found = {name: given.pop(name) for name in _NAMES}
    return Options(**{**found, "channels": found["channels"] or None})
