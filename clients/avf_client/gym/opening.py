"""Where an environment's filter runs: in this process, or in sessions of a server; `open_filters` is the one to ask.

The law: the library is imported where a filter is to run in this process, and not where a server has it.
"""

from pathlib import Path

from gymnasium.envs.registration import EnvSpec

from avf_client.blocking.client import Client
from avf_client.core import keys
from avf_client.errors import InvalidArgument, MissingExtra
from avf_client.gym.filters import Filters
from avf_client.gym.remote import RemoteFilters

LIBRARY = ("avf_core", "jaxtyping", "safetensors", "torch")  # what a filter in this process needs beside the client


def open_filters(
    model: str | Path,
    *,
    rows: int = 1,
    server: str | Client | None = None,
    api_key: str | None = None,
    iterations: int | None = None,
    particles: int = 1,
    predictions: bool = True,
    start: float | None = None,
) -> Filters:
    """Rows of sequences of a model: in this process, or in sessions of a server.

    model       a checkpoint of the zoo or its folder; of a server, the name that it holds the model under
    server      its address, or a client of it; the filter runs in this process where absent (extra `core`)
    api_key     for the server; that of the environment, AVF_API_KEY, where absent
    iterations  updates of the posterior a step; the model's own number where absent
    particles   weighted rows that each sequence is filtered by; estimates are then of all of them together
    start       of a model that hears the calendar: when the first observation of each sequence is, in seconds since
                1970 (UTC); the others follow by the model's usual time, and inputs of the calendar are made of it
    predictions whether estimates are asked for predictions, which cost more than a step in this process

    Raises UnknownModel; MissingExtra where the filter is to run in this process and the library is not installed.
    """
    if rows < 1:
        raise InvalidArgument(f"rows is {rows}, expected at least 1")
    if server is not None:
        return RemoteFilters(
            str(model),
            rows=rows,
            server=server,
            api_key=key_of(api_key),
            iterations=iterations,
            particles=particles,
            start=start,
        )
    try:
        from avf_client.gym.local import LocalFilters
    except ModuleNotFoundError as error:
        if error.name not in LIBRARY:
            raise
        raise MissingExtra("a filter in this process", "core") from error
    return LocalFilters(
        model, rows=rows, iterations=iterations, particles=particles, predictions=predictions, start=start
    )


def key_of(api_key: str | None) -> keys.ApiKey | None:
    """The key to use: that of the environment where there is none, or where a written spec does not tell it."""
    return keys.of_environment() if api_key is None or api_key == keys.REDACTED else keys.sealed(api_key)


def without_key(spec: EnvSpec | None) -> EnvSpec | None:
    """An environment's spec, which no longer tells the API key that is in it; `gymnasium.make` still takes it."""
    if spec is not None and isinstance(spec.kwargs.get("api_key"), str):
        spec.kwargs = spec.kwargs | {"api_key": key_of(spec.kwargs["api_key"])}
    return spec
