"""The command `avf`: help, errors of users, missing extras, exit codes."""

import subprocess
import sys
from importlib.metadata import entry_points

import click
import pytest
from avf_client import errors
from avf_client.commands import cli

HIDE = """
import sys
for name in {modules!r}: sys.modules[name] = None
from avf_client.commands.cli import main
main({arguments!r})
"""


def avf(*arguments: str, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run `avf`, as if the modules `without` were not installed."""
    code = HIDE.format(modules=without, arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_client_imports_nothing_heavy() -> None:
    """Neither torch nor the extras nor the server: not for the client, the commands, or the views."""
    heavy = {"torch", "music21", "matplotlib", "fastapi", "avf_core", "avf_server"}
    code = (
        "import sys, avf_client, avf_client.commands.cli, avf_client.blocking.client\n"
        "import avf_client.asynchronous.client, avf_client.blocking.streaming\n"
        "import avf_sources.music, avf_sources.arrays, avf_client.commands.stream, avf_client.commands.plot\n"
        "print(sorted(m for m in sys.modules if '.' not in m))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(eval(result.stdout))


def test_the_sdk_imports_nothing_of_the_command() -> None:
    """Neither what draws and parses for `avf` nor, before the first stream, websockets; httpx's command still works."""
    code = (
        "import sys; from avf_client import AsyncClient, Client\n"
        "print(sorted(m for m in sys.modules if '.' not in m))\n"
        "import httpx._main; print(callable(httpx._main.main))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, works = result.stdout.splitlines()
    assert {"click", "rich", "pygments", "websockets", "torch"}.isdisjoint(eval(modules))
    assert works == "True"


def test_importing_the_package_imports_none_of_its_modules() -> None:
    """`import avf_client` costs nothing; its names come when they are asked for."""
    code = (
        "import sys, avf_client; print([m for m in sys.modules if m.split('.')[0] in ('avf_client', 'httpx', 'numpy')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['avf_client']"


def test_every_public_name_is_there() -> None:
    """All that `__all__` promises can be had, and nothing else."""
    import avf_client

    for name in avf_client.__all__:
        own = {"sources": "avf_sources"}.get(name, name)  # a package that is handed on
        assert getattr(avf_client, name).__name__.rpartition(".")[2] == own
    assert set(avf_client.__all__) <= set(dir(avf_client))
    with pytest.raises(AttributeError, match="nonsense"):
        avf_client.nonsense  # noqa: B018


def test_help_lists_all_commands_without_the_extras() -> None:
    """With no torch and no fastapi, the list is whole and names what is missing."""
    result = avf("--help", without=("torch", "fastapi"))
    assert result.returncode == 0
    for name in entry_points(group=cli.GROUP).names:
        assert f"\n  {name} " in result.stdout
    assert "avf[train]" in result.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("command", "without", "extra"),
    [
        ("train", ("torch",), "train"),
        ("evaluate", ("torch",), "core"),
        ("serve", ("fastapi", "torch", "uvicorn", "redis", "pydantic"), "server"),
    ],
)
def test_a_missing_extra_is_named(command: str, without: tuple[str, ...], extra: str) -> None:
    """The line says what to install; there is no stack trace."""
    result = avf(command, "--help", without=without)
    if result.returncode == 0:  # the command's own help may need nothing
        pytest.skip(f"avf {command} --help needs no extra")
    assert result.returncode == 2
    assert result.stderr == f"avf {command} needs the extra '{extra}': pip install 'avf[{extra}]'\n"


@pytest.mark.parametrize(("without", "extra"), [("music21", "music"), ("matplotlib", "plot")])
def test_a_missing_extra_of_a_feature_is_named(without: str, extra: str) -> None:
    """Streaming needs no extra; reading music and drawing do."""
    arguments = ("stream", "corpus:bach/bwv66.6", "--server", "http://127.0.0.1:9")
    result = avf(*arguments, *(("--plot", "x.png") if extra == "plot" else ()), without=(without,))
    assert result.returncode == 2
    assert f"pip install 'avf[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_every_built_in_command_is_an_entry_point() -> None:
    """The table of extras and the entry points of this distribution agree, and `stream` needs no extra."""
    ours = {e.name for e in entry_points(group=cli.GROUP) if e.value.split(".")[0].startswith("avf_")}
    assert set(cli.BUILT_IN) == ours
    assert cli.BUILT_IN["stream"].extra is None


def command_that_raises(error: BaseException) -> click.Command:
    """A command that does nothing but raise."""

    def fail() -> None:
        raise error

    return click.Command("fail", callback=fail)


class OnPurposeError(ValueError):
    """An exception such as the library's own."""


OnPurposeError.__module__ = "avf_core.errors"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.SourceError("no such tune"), 1, "avf: no such tune"),
        (OnPurposeError("no such kind"), 1, "avf: no such kind"),
        (click.UsageError("wrong option"), 2, "wrong option"),
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (ModuleNotFoundError("No module named 'strange'", name="strange"), 2, "'strange', which is not installed"),
    ],
)
def test_errors_of_users_are_one_line_and_an_exit_code(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No stack trace for what a user did, and 130 after Ctrl-C."""
    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: command_that_raises(error))
    assert cli.run(["fail"]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_faults_of_ours_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain ValueError, or a module of our own that is missing, is a fault and keeps its stack trace."""
    for error in (ValueError("a bug"), ModuleNotFoundError("No module named 'avf_core.x'", name="avf_core.x")):
        monkeypatch.setattr(cli.Commands, "get_command", lambda *_, error=error: command_that_raises(error))
        with pytest.raises(type(error)):
            cli.run(["fail"])


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and click's own words."""
    assert cli.run(["dance"]) == 2
    assert "No such command 'dance'" in capsys.readouterr().err


def test_a_foreign_command_that_cannot_be_loaded_does_not_break_the_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The help of another distribution's command is asked of it, guarded."""
    monkeypatch.setattr(cli, "_load", lambda _: (_ for _ in ()).throw(RuntimeError("broken")))
    monkeypatch.setattr(cli, "BUILT_IN", {k: v for k, v in cli.BUILT_IN.items() if k != "stream"})
    assert cli._short_help("stream") == "(cannot be loaded: broken)"
