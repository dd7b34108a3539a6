"""Rows of sequences filtered by a server: a session each. Rows that step together reach it together, and it batches.

The law: a session is of one process. After a fork the child has none; what was pickled goes on in sessions of its own,
from snapshots; and what is let go of without being closed ends its sessions, where the server still answers.
"""

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from avf_client.blocking.client import Client, Session
from avf_client.core import rest
from avf_client.core.retries import Retry
from avf_client.errors import AvfClientError, refused
from avf_client.gym.filters import Array, Estimates, Failures, Rows, Spec, checked_start
from avf_client.results.estimates import Estimate

T = TypeVar("T")
CONCURRENT = 32  # requests under way at once, at most
FIRST = 1  # the `seq` of the first observation of a session
PARTING = 2.0  # seconds for a request of those that were let go of
_ONCE = Retry(attempts=1)


class RemoteFilters:
    """Rows of sequences of a model that a server holds. Each sequence is a session of its own, ended by the next one.

    Raises UnknownModel, and ConnectionFailed where the server does not answer.
    """

    _process: int
    _sessions: dict[int, Session]
    _threads: ThreadPoolExecutor | None
    _finalizer: "weakref.finalize[..., RemoteFilters]"

    def __init__(
        self,
        model: str,
        *,
        rows: int,
        server: str | Client,
        api_key: str | None,
        iterations: int | None,
        particles: int = 1,
        start: float | None = None,
    ) -> None:
        self._owned = isinstance(server, str)
        self._client = Client(server, api_key) if isinstance(server, str) else server
        try:
            self.spec, dated = _spec(self._client, model)
            said = checked_start(start, model=model, dated=dated)
        except AvfClientError:
            self.close_client()
            raise
        self._iterations, self._particles, self._count = iterations, particles, rows
        self._start = said if dated else None
        self._take_up({})

    def begin(self, rows: Rows, seeds: Sequence[int]) -> None:
        """End the rows' sessions and open others."""
        if os.getpid() != self._process:
            self._take_up({})
        self._each(self._begin, list(zip(rows.tolist(), seeds, strict=True)))

    def step(self, rows: Rows, xs: Array, inputs: Array) -> tuple[Estimates, Failures]:
        """One step of each session, and what went wrong in which."""
        if os.getpid() != self._process:
            raise ResetNeeded("these sequences are of the process that this one was forked from: call reset() first")
        found = self._each(self._step, list(zip(rows.tolist(), xs, inputs, strict=True)))
        failures = {place: each for place, each in enumerate(found) if isinstance(each, AvfClientError)}
        whole = [each for each in found if not isinstance(each, AvfClientError)]
        estimates = _as_arrays(whole, self.spec)
        if failures:
            sound = [place for place in range(len(rows)) if place not in failures]
            some = _nothing(len(rows), self.spec)
            some.put(np.array(sound, dtype=np.intp), estimates)
            return some, failures
        return estimates, failures

    def close(self) -> None:
        """End the sessions, where the server still answers, and close the connections."""
        if os.getpid() == self._process:
            self._each(self._end, list(self._sessions))
            self._finalizer.detach()
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        self.close_client()

    def close_client(self) -> None:
        """Close the connections, where they were opened here."""
        if self._owned:
            self._client.close()

    def __getstate__(self) -> dict[str, Any]:
        """Where the server is, and what each session knows; the API key is kept as `ApiKey` keeps it."""
        with self._lock:
            sessions = dict(self._sessions) if os.getpid() == self._process else {}
        return {
            "spec": self.spec,
            "count": self._count,
            "iterations": self._iterations,
            "particles": self._particles,
            "start": self._start,
            "server": (self._client.base_url, self._client.api_key, self._client.timeout, self._client.retry),
            "snapshots": {row: session.snapshot() for row, session in sessions.items()},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.spec, self._count = state["spec"], state["count"]
        self._iterations, self._particles, self._start = state["iterations"], state["particles"], state["start"]
        address, key, timeout, retry = state["server"]
        self._owned, self._client = True, Client(address, key, timeout, retry=retry)
        self._take_up({row: self._client.restore(snapshot) for row, snapshot in state["snapshots"].items()})

    def _take_up(self, sessions: dict[int, Session]) -> None:
        """Hold these sessions from now on, in this process."""
        self._process, self._sessions, self._lock = os.getpid(), sessions, threading.Lock()
        threads = min(self._count, CONCURRENT)
        self._threads = ThreadPoolExecutor(threads, "avf-gym") if threads > 1 else None
        self._finalizer = weakref.finalize(self, _let_go, self._client, self._owned, sessions, self._process)

    def _begin(self, row_and_seed: tuple[int, int]) -> None:
        row, seed = row_and_seed
        self._end(row)
        session = self._client.session(
            self.spec.model, seed=seed, iterations=self._iterations, particles=self._particles
        )
        with self._lock:
            self._sessions[row] = session

    def _step(self, row_observation_and_inputs: tuple[int, Array, Array]) -> Estimate | AvfClientError:
        row, x, inputs = row_observation_and_inputs
        try:
            session = self._sessions[row]
            time = self._start if session.next_seq == FIRST else None
            return session.step(x, inputs=inputs if self.spec.input_size else None, time=time)
        except AvfClientError as error:
            return error

    def _end(self, row: int) -> None:
        with self._lock:
            session = self._sessions.pop(row, None)
        if session is not None:
            with suppress(AvfClientError):  # it ends by itself, after its time to live
                session.close()

    def _each(self, function: Callable[..., T], arguments: Sequence[object]) -> list[T]:
        if self._threads is None:
            return [function(argument) for argument in arguments]
        return list(self._threads.map(function, arguments))


def _let_go(client: Client, owned: bool, sessions: dict[int, Session], process: int) -> None:
    """End sessions that nobody closed; those of another process are not ours to end."""
    if os.getpid() != process:
        return
    if sessions:
        with suppress(AvfClientError), Client(client.base_url, client.api_key, PARTING, retry=_ONCE) as parting:
            for session in sessions.values():
                parting.call(rest.end(session.id))
    if owned:
        client.close()


def _spec(client: Client, model: str) -> tuple[Spec, bool]:
    """What a model is, and whether it hears the calendar."""
    models = client.models()
    for info in models:
        if info.name == model:
            spec = Spec(
                model=info.name,
                observation_size=info.observation_size,
                latent_size=info.latent_size,
                low=-np.inf if info.low is None else info.low,
                high=np.inf if info.high is None else info.high,
                input_size=info.input_size,
            )
            return spec, bool(info.calendar)
    held = ", ".join(info.name for info in models)
    raise refused("unknown-model", f"no model {model!r}; the server at {client.base_url} holds {held}", status=404)


def _as_arrays(estimates: list[Estimate], spec: Spec) -> Estimates:
    if not estimates:
        return _nothing(0, spec)

    def floats(name: str) -> Array:
        return np.stack([getattr(estimate, name) for estimate in estimates]).astype(np.float32)

    def log_variances(name: str) -> Array:
        deviations = np.stack([getattr(estimate, name) for estimate in estimates])
        log_variances: Array = (2.0 * np.log(deviations)).astype(np.float32)
        return log_variances

    def energies(name: str) -> NDArray[np.float64]:
        return np.array([getattr(estimate, name) for estimate in estimates], dtype=np.float64)

    return Estimates(
        prior_mean=floats("prior_mean"),
        prior_log_variance=log_variances("prior_deviation"),
        posterior_mean=floats("posterior_mean"),
        posterior_log_variance=log_variances("posterior_deviation"),
        prediction=floats("prediction"),
        likelihood=floats("likelihood"),
        state=np.zeros((len(estimates), 0), dtype=np.float32),
        free_energy=energies("free_energy"),
        reconstruction=energies("reconstruction"),
        kl=energies("kl"),
        iterations=np.array([estimate.iterations for estimate in estimates], dtype=np.int64),
    )


def _nothing(rows: int, spec: Spec) -> Estimates:
    """Estimates of rows that have none: NaN."""

    def unknown(size: int) -> Array:
        return np.full((rows, size), np.nan, dtype=np.float32)

    latent, size = spec.latent_size, spec.observation_size
    return Estimates(
        prior_mean=unknown(latent),
        prior_log_variance=unknown(latent),
        posterior_mean=unknown(latent),
        posterior_log_variance=unknown(latent),
        prediction=unknown(size),
        likelihood=unknown(size),
        state=np.zeros((rows, 0), dtype=np.float32),
        free_energy=np.full(rows, np.nan),
        reconstruction=np.full(rows, np.nan),
        kl=np.full(rows, np.nan),
        iterations=np.zeros(rows, dtype=np.int64),
    )
