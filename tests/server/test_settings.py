"""Settings: each documented, each from the environment, unknown ones refused; and what the images say of them."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from avf_server.environment import PREFIX
from avf_server.problems import StartError
from avf_server.settings import Settings, read
from avf_server.stores.embedded import REWRITTEN_AT

ROOT = Path(__file__).parents[2]
NAMES = {PREFIX + field.upper() for field in Settings.model_fields}


def test_every_setting_is_documented_with_its_default() -> None:
    """The table of docs/server.md and the class agree, in names and defaults."""
    rows = re.findall(r"^\| `(AVF_[A-Z_]+)` \| (.*?) \|", (ROOT / "docs" / "server.md").read_text(), re.M)
    documented = {name: default.strip("`") for name, default in rows}
    assert set(documented) == NAMES
    for name, default in documented.items():
        field = Settings.model_fields[name.removeprefix(PREFIX).lower()]
        shown = {None: "none", (): "none", "": "none"}.get(field.default, str(field.default))
        assert default == shown, name


def test_settings_come_from_the_environment_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are split at commas; an option takes the place of a variable."""
    monkeypatch.setenv("AVF_MODELS", "one,two")
    monkeypatch.setenv("AVF_API_KEYS", "a,b")
    monkeypatch.setenv("AVF_PORT", "1234")
    settings = read({"port": 0})
    assert (settings.models, settings.api_keys, settings.port) == (("one", "two"), ("a", "b"), 0)
    assert "a" not in re.findall(r"api_keys=\S+", repr(settings))


@pytest.mark.parametrize("options", [{"max_batch": 0}, {"nonsense": 1}, {"session_ttl_s": -1.0}, {"port": 70_000}])
def test_what_is_out_of_range_or_unknown_is_refused(options: dict[str, Any]) -> None:
    """A StartError that names the setting."""
    (name,) = options
    with pytest.raises(StartError, match=f"AVF_{name.upper()}"):
        read(options)


def test_misspelt_variables_are_refused_and_those_of_clients_are_not() -> None:
    """AVF_API_KEY is the clients'."""
    read(environment={"AVF_API_KEY": "x", "HOME": "y"})
    with pytest.raises(StartError, match="AVF_API_KEYZ"):
        read(environment={"AVF_API_KEYZ": "x"})


def test_the_compose_file_names_settings_that_exist_and_waits_for_health() -> None:
    """Server and Redis each have a health check, and the server waits for Redis, which keeps what it acknowledged."""
    services = importlib.import_module("yaml").safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    assert set(services) == {"server", "redis"}
    assert {name for name in services["server"]["environment"] if name.startswith(PREFIX)} <= NAMES
    read({name.removeprefix(PREFIX).lower(): value for name, value in services["server"]["environment"].items()
          if value is not None and not str(value).startswith("$")})  # fmt: skip
    assert services["server"]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "test" in services["redis"]["healthcheck"]
    command = services["redis"]["command"]
    command = shlex.split(command) if isinstance(command, str) else command
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--appendfsync") + 1] == "always"
    assert command[command.index("--auto-aof-rewrite-min-size") + 1] == REWRITTEN_AT
    build = services["server"]["build"]
    assert (ROOT / "docker" / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_the_image_copies_what_exists_and_runs_as_nobody_in_particular() -> None:
    """COPY paths are in the repository; the user is not root; a health check asks the server."""
    text = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    for _, *paths in (line for line in lines if line[0] == "COPY"):
        for path in [p for p in paths if not p.startswith("--")][:-1]:
            assert (ROOT / path).exists(), path
    (user,) = [line[1] for line in lines if line[0] == "USER"]
    assert user not in ("root", "0")
    assert any(line[0] == "HEALTHCHECK" for line in lines)
    assert "/health/ready" in text
    for name in re.findall(r"AVF_[A-Z_]+", text):
        assert name in NAMES
