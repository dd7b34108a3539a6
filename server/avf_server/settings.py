"""The server's settings: environment variables `AVF_...`, read once, and the options of `avf serve`.

The laws: whatever has a limit has it here, with its unit in its name or its description; unknown `AVF_` variables fail,
so that a misspelt limit is not silently absent. No door is open without being told to: without keys a server listens
on this machine only, unless it is said to be insecure. docs/server.md lists every setting; a test checks that.
"""

import dataclasses
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from avf_server import environment as variables
from avf_server.environment import CLIENT_VARIABLES, PREFIX
from avf_server.problems import StartError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Names = tuple[str, ...]
Limits = TypeVar("Limits", bound="DataclassInstance")
LEAST_SECRET = 16  # characters of what webhooks are signed with


class Settings(BaseModel):
    """Everything that can be set about a server."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes any free one")
    redis_url: str | None = Field(
        default=None, description="Redis to keep beliefs in; absent, the server starts its own", repr=False
    )
    data_dir: Path = Field(default=Path(".avf"), description="folder of the embedded Redis")
    models: Names = Field(default=(), description="names in the zoo, or folders, by commas; empty means all of the zoo")
    plugins: Names = Field(default=(), description="modules, by commas, that checkpoints may name")
    device: str = Field(default="cpu", description="torch device of the models")
    threads: int = Field(default=0, ge=0, description="threads of a tick; 0 means half of the cores")
    native: Literal["auto", "off", "float32", "mixed"] = Field(
        default="auto", description="native executor: where it can, not at all, or in which precision it must"
    )
    max_body_bytes: int = Field(default=4 << 20, ge=1024, description="bytes of a request's body or a stream's message")
    max_connections: int = Field(default=8192, ge=1, description="open connections, before new ones are refused")
    request_s: float = Field(
        default=10.0, gt=0, description="seconds for a request's headers, and for each 1 KiB/s of its body"
    )
    idle_s: int = Field(default=10, ge=1, description="seconds that a connection may be open without a request")
    max_batch: int = Field(default=64, ge=1, le=4096, description="rows in one tick: observations, times particles")
    queue_limit: int = Field(default=1024, ge=1, description="observations waiting, before new ones are refused")
    max_sessions: int = Field(default=10_000, ge=1, description="open sessions that this server has seen")
    max_sessions_per_key: int = Field(default=10_000, ge=1, description="open sessions of one key, on all servers")
    hot_sessions: int = Field(default=1024, ge=1, description="beliefs kept in memory as a cache")
    session_ttl_s: float = Field(default=3600.0, gt=0, description="seconds without a step after which a session ends")
    replay_window: int = Field(default=128, ge=1, le=4096, description="stored replies a session, and steps a request")
    history_length: int = Field(default=10_000, ge=1, description="notes kept of a session's last steps, at least")
    max_particles: int = Field(default=1024, ge=1, le=1024, description="the most particles a session may ask for")
    max_lag: int = Field(default=64, ge=0, le=4096, description="the most steps that a session may look back")
    max_samples: int = Field(default=256, ge=1, description="the most draws a session may ask for in predictions")
    max_iterations: int = Field(default=100, ge=1, description="the most inference iterations a session may ask for")
    api_keys: Names = Field(
        default=(), description="keys by commas; without any the server is open to this machine", repr=False
    )
    insecure: bool = Field(default=False, description="whether to be open to all who reach the address, without keys")
    allowed_hosts: Names = Field(default=(), description="names, by commas, under which clients may know the server")
    allowed_origins: Names = Field(
        default=(), description="sites, by commas, whose pages may use it: https://host:port"
    )
    redis_timeout_s: float = Field(default=0.1, gt=0, description="seconds that one call to Redis may take")
    behind_s: float = Field(default=0.2, gt=0, description="seconds that steps of `behind` may wait to be saved")
    behind_steps: int = Field(default=64, ge=1, description="steps of a session that may wait to be saved")
    wait_replicas: int = Field(default=1, ge=1, description="replicas that must have a step of `wait`")
    stream_credit: int = Field(default=32, ge=1, description="unanswered observations on one stream")
    stream_send_s: float = Field(
        default=30.0, gt=0, description="seconds until a stream whose client reads nothing is closed"
    )
    max_streams: int = Field(default=4096, ge=1, description="open streams, before new ones are refused")
    max_horizon: int = Field(default=128, ge=1, description="the most steps ahead that a forecast may reach")
    max_forecast_values: int = Field(default=1 << 18, ge=1, description="steps x paths x dimensions of a forecast")
    max_wait_s: float = Field(default=30.0, ge=0, description="seconds a client may wait for an estimate to come")
    max_token_s: float = Field(default=86_400.0, gt=0, description="seconds that a browser's token may be good for")
    max_page: int = Field(default=1000, ge=1, description="entries of one page of a list, or of a history")
    max_watchers: int = Field(default=256, ge=1, description="streams of events that may be open")
    webhook_url: str | None = Field(default=None, description="address that alarms are posted to", repr=False)
    webhook_secret: str | None = Field(default=None, description="what their signatures are made with", repr=False)
    webhook_queue: int = Field(default=1000, ge=1, description="alarms that may wait to be posted")
    root_path: str = Field(
        default="",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        description="prefix that a proxy puts before all addresses, such as /avf",
    )
    retry_after_s: int = Field(default=1, ge=1, description="seconds that refused clients are told to wait")
    drain_s: float = Field(default=2.0, gt=0, description="seconds to finish what is under way when stopping")

    @field_validator("models", "plugins", "api_keys", "allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Names come as one string from the environment."""
        return variables.names_in(value) if isinstance(value, str) else value


def limits(kind: type[Limits], settings: Settings) -> Limits:
    """The settings of these names, for a part of the server that needs no others. `kind` is a dataclass."""
    return kind(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(kind)})


def read(options: Mapping[str, Any] | None = None, *, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of the environment, with `options` in their place where given.

    Raises StartError for unknown keys and for values out of range, naming each, and for a door that would be open
    without having been told to be.
    """
    said = variables.own(os.environ if environment is None else environment)
    known = {PREFIX + field.upper(): field for field in Settings.model_fields}
    unknown = variables.unknown(said, known)
    if unknown:
        raise StartError(
            f"unknown settings {', '.join(unknown)}; there are {', '.join(sorted({*known, *CLIENT_VARIABLES}))}"
        )
    values = {known[name]: variables.quantity(known[name], value) for name, value in said.items() if value.strip()}
    given = values | dict(options or {})
    try:
        settings = Settings(**given)
    except ValidationError as error:
        lines = [f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise StartError("; ".join(lines)) from error
    _check_webhook(settings)
    _check_doors(settings, asked_for_keys="AVF_API_KEYS" in said or "api_keys" in given)
    return settings


def _check_doors(settings: Settings, *, asked_for_keys: bool) -> None:
    """Raise StartError where a server would be open to more than it was told to be."""
    if settings.api_keys or settings.insecure:
        return
    if asked_for_keys:
        raise StartError(
            "AVF_API_KEYS is set, but holds no key: give it keys, by commas, or unset it; "
            "for a server that is open on purpose say --insecure (AVF_INSECURE=1)"
        )
    if not is_loopback(settings.host):
        raise StartError(
            f"without API keys whoever reaches {settings.host or 'this machine'} could use the server: "
            "set AVF_API_KEYS; for a server that is open on purpose say --insecure (AVF_INSECURE=1)"
        )


def _check_webhook(settings: Settings) -> None:
    """Raise StartError where alarms would go to no address, or unsigned, or readable by all on their way."""
    if settings.webhook_url is None:
        return
    try:
        parts = urlsplit(settings.webhook_url)
        host, user, _ = parts.hostname, parts.username or parts.password, parts.port
    except ValueError:
        host, user, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.fragment:
        raise StartError("AVF_WEBHOOK_URL is no address to post to: expected https://host/path")
    if user:
        raise StartError(
            "AVF_WEBHOOK_URL has a user or a password: leave it out, posts are signed by AVF_WEBHOOK_SECRET"
        )
    if parts.scheme == "http" and not is_loopback(host) and not settings.insecure:
        raise StartError(
            "AVF_WEBHOOK_URL is http, and alarms would be readable on their way: give an https address; "
            "for one that is open on purpose say --insecure (AVF_INSECURE=1)"
        )
    if not settings.webhook_secret or len(settings.webhook_secret) < LEAST_SECRET:
        raise StartError(f"AVF_WEBHOOK_URL needs an AVF_WEBHOOK_SECRET of {LEAST_SECRET} characters at least")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on this address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
