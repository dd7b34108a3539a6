"""Rows of sequences filtered by a server: a session each. Rows that step together reach it together, and it batches."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from avf_client.blocking.client import Client, Session
from avf_client.errors import AvfClientError, refused
from avf_client.gym.filters import Array, Estimates, Rows, Spec
from avf_client.results.estimates import Estimate

T = TypeVar("T")
CONCURRENT = 32  # requests under way at once, at most


class RemoteFilters:
    """Rows of sequences of a model that a server holds. Each sequence is a session of its own, ended by the next one.

    Raises UnknownModel, and ConnectionFailed where the server does not answer.
    """

    def __init__(
        self, model: str, *, rows: int, server: str | Client, api_key: str | None, iterations: int | None
    ) -> None:
        self._owned = isinstance(server, str)
        self._client = Client(server, api_key) if isinstance(server, str) else server
        try:
            self.spec = _spec(self._client, model)
        except AvfClientError:
            self.close_client()
            raise
        self._iterations = iterations
        self._sessions: dict[int, Session] = {}
        self._threads = ThreadPoolExecutor(min(rows, CONCURRENT), "avf-gym") if rows > 1 else None
        self._lock = threading.Lock()

    def begin(self, rows: Rows, seeds: Sequence[int]) -> None:
        """End the rows' sessions and open others."""
        self._each(self._begin, list(zip(rows.tolist(), seeds, strict=True)))

    def step(self, rows: Rows, xs: Array) -> Estimates:
        """One step of each session. Where one fails, the others have gone on: begin anew."""
        return _as_arrays(self._each(self._step, list(zip(rows.tolist(), xs, strict=True))))

    def close(self) -> None:
        """End the sessions, where the server still answers, and close the connections."""
        self._each(self._end, list(self._sessions))
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        self.close_client()

    def close_client(self) -> None:
        """Close the connections, where they were opened here."""
        if self._owned:
            self._client.close()

    def _begin(self, row_and_seed: tuple[int, int]) -> None:
        row, seed = row_and_seed
        self._end(row)
        session = self._client.session(self.spec.model, seed=seed, iterations=self._iterations)
        with self._lock:
            self._sessions[row] = session

    def _step(self, row_and_observation: tuple[int, Array]) -> Estimate:
        row, x = row_and_observation
        return self._sessions[row].step(x)

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


def _spec(client: Client, model: str) -> Spec:
    models = client.models()
    for info in models:
        if info.name == model:
            return Spec(
                model=info.name,
                observation_size=info.observation_size,
                latent_size=info.latent_size,
                low=-np.inf if info.low is None else info.low,
                high=np.inf if info.high is None else info.high,
            )
    held = ", ".join(info.name for info in models)
    raise refused("unknown-model", f"no model {model!r}; the server at {client.base_url} holds {held}", status=404)


def _as_arrays(estimates: list[Estimate]) -> Estimates:
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
        free_energy=energies("free_energy"),
        reconstruction=energies("reconstruction"),
        kl=energies("kl"),
        iterations=np.array([estimate.iterations for estimate in estimates], dtype=np.int64),
    )
