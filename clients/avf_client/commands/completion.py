"""`avf completion`: the script that teaches a shell to complete `avf`."""

import click
from click.shell_completion import get_completion_class

from avf_client.commands.common import json_option, write_json


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def command(shell: str, as_json: bool) -> None:
    """Print the completion script of a shell.

    \b
    avf completion bash > ~/.local/share/bash-completion/completions/avf
    avf completion zsh > "${fpath[1]}/_avf"
    avf completion fish > ~/.config/fish/completions/avf.fish
    """
    from avf_client.commands.cli import group

    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for {shell}")
    script = kind(group, {}, "avf", "_AVF_COMPLETE").source()
    if as_json:
        write_json({"shell": shell, "script": script})
    else:
        click.echo(script)
