"""`avf serve`: what the user got wrong is said in one line."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from avf_server.problems import StartError
from avf_server.stores.embedded import EmbeddedRedis

from tests.support.processes import clean_environment
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

SERVE = "from avf_server.serve.command import command; command()"


def refused(*options: str, code: int = 1, **environment: str) -> str:
    """Run a server that cannot start; what it says on stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVE, *options],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment() | environment,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return " ".join(done.stderr.split())


def test_a_port_in_use_is_named() -> None:
    """Before anything slow is done."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1 port {port}" in refused("--port", str(port))


def test_misspelt_settings_and_values_out_of_range_are_named() -> None:
    """Both from the environment; the range from options is click's."""
    assert "unknown settings AVF_MAX_BACH" in refused(AVF_MAX_BACH="3")
    assert "AVF_MAX_BATCH: Input should be greater" in refused(AVF_MAX_BATCH="0")
    assert "--port" in refused("--port", "99999", code=2)


def test_an_unknown_model_is_named(redis_server: EmbeddedRedis) -> None:
    """The message says what there is."""
    options = ("--port", "0", "--redis-url", redis_server.url, "--model", "nothing")
    assert "no checkpoint 'nothing'" in refused(*options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": ("{damaged}",)}, "is no JSON"),
        ({"models": ("{tiny}", "{tiny}")}, "the same name"),
        ({"device": "abacus"}, "abacus"),
        ({"redis_url": "redis://user:secret@127.0.0.1:1"}, "cannot use the Redis at redis://127.0.0.1:1"),
        ({"redis_url": "ftp://x"}, "no address of a store"),
    ],
    ids=["damaged model", "model twice", "no such device", "no Redis there", "no Redis address"],
)
async def test_what_cannot_be_opened_is_a_start_error(
    tmp_path: Path, runtime: Any, tiny: Path, settings: dict[str, Any], message: str
) -> None:
    """One line, without secrets."""
    shutil.copytree(tiny, tmp_path / "damaged", symlinks=True)
    config = (tmp_path / "damaged" / "config.json").resolve()
    config.unlink()
    config.write_text("{")
    places = {"damaged": tmp_path / "damaged", "tiny": tiny}
    if "models" in settings:
        settings = {"models": tuple(name.format(**places) for name in settings["models"])}

    async def start() -> None:
        async with runtime(**settings):
            pass

    with pytest.raises(StartError, match=message) as caught:
        await start()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ready_is_one_line_and_logs_go_elsewhere(tiny: Path, redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    """Standard output has the line of JSON and nothing more; a signal ends the server with code 0."""
    log = tmp_path / "log"
    options = ["--port", "0", "--redis-url", redis_server.url, "--model", str(tiny), "--json"]
    command = [sys.executable, "-W", "error", "-c", SERVE, *options]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=clean_environment())
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert set(ready) == {"server_url", "pid", "models"}
    assert ready["pid"] == process.pid
    assert ready["models"] == ["tiny"]
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE)[0] == b""
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("option", ["--host", "--port", "--redis-url", "--data-dir", "--model", "--device", "--json"])
def test_every_option_is_documented(option: str) -> None:
    """In the help of the command and in docs/server.md."""
    from avf_server.serve.command import command
    from click.testing import CliRunner

    page = Path(__file__).parents[2] / "docs" / "server.md"
    assert option in CliRunner().invoke(command, ["--help"]).output
    assert f"`{option}`" in page.read_text()
