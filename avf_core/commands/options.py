"""Options that several commands take: where the data is, how to read it, and how many threads compute."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from avf_core import data, plugins


def key_values(assignments: tuple[str, ...], hint: str) -> dict[str, Any]:
    """The mapping that KEY=VALUE texts say; a value that is no JSON is text. Raises click.BadParameter."""
    return dict(_assignment(text, hint) for text in assignments)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: --data, --data-kind and --data-option become one argument `data`, a `data.Source`; and --plugin.

    @click.command()
    @data_options
    def command(data: Source, ...): ...
    """

    @plugin_option
    @click.option("--data", "path", envvar="AVF_DATA", required=True, help="The data set's path. [env AVF_DATA]")
    @click.option("--data-kind", type=DataKind(), help="What it is. [default: recognised]")
    @click.option("--data-option", "reading", multiple=True, metavar="KEY=VALUE", help="How to read it; docs/data.md.")
    @functools.wraps(command)
    def wrapped(path: str, data_kind: str | None, reading: tuple[str, ...], **others: Any) -> Any:
        source = data.Source(path=path, kind=data_kind, options=key_values(reading, "--data-option"))
        return command(data=source, **others)

    return wrapped


def plugin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: --plugin, modules that are imported before the command runs, so that checkpoints may name them."""

    def apply(context: click.Context, parameter: click.Parameter, modules: tuple[str, ...]) -> None:
        plugins.use(modules)

    return click.option(
        "--plugin",
        multiple=True,
        metavar="MODULE",
        is_eager=True,
        expose_value=False,
        callback=apply,
        help="A module that the checkpoint's configuration may name. [env AVF_PLUGINS]",
    )(command)


class DataKind(click.types.StringParamType):
    """A kind of data set: a name there is, or the place of one of another package."""

    name = "kind"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The names that there are."""
        return f"[{'|'.join(plugins.available(data))}|MODULE]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The kind, if it may be one."""
        text = str(value)
        names = plugins.available(data)
        if text not in names and "." not in text and ":" not in text:
            self.fail(f"{text!r} is not one of {', '.join(names)}", param, ctx)
        return text


def filtering_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: --iterations and --seed of a filter that looks at one sequence, and --json of what it finds."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--seed", type=int, default=0, show_default=True, help="Of the noise."),
        click.option("--iterations", type=click.IntRange(min=0), help="Inference iterations. [default: the model's]"),
    ):
        command = option(command)
    return command


def threads_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: --threads, which is set before the command runs and is no argument of it."""

    def apply(context: click.Context, parameter: click.Parameter, count: int | None) -> None:
        if count is not None:
            torch.set_num_threads(count)

    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        expose_value=False,
        callback=apply,
        help="CPU threads. One is fastest where other processes work too. [default: torch's]",
    )(command)


def _assignment(text: str, hint: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is no KEY=VALUE", param_hint=hint)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def archive_name(path: Path) -> str:
    """The name of an archive of arrays that is to be written to `path`: numpy's ending is added where it lacks."""
    return path.name if path.suffix == ".npz" else f"{path.name}.npz"
