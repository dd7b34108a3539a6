"""The client for ordinary, blocking code.

    with Client("http://localhost:8000") as client, client.session(model="srnn-jsb") as session:
        for estimate in session.stream(frames):
            print(estimate.seq, estimate.free_energy)

The law: this is a thin face. What to send, what a reply means and when to try again stand in `rest`, `session`,
`protocol` and `retries`, which do no I/O.
"""

import random
import time
from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx

from avf_client import forecasts, rest, wire
from avf_client.errors import AvfClientError, ConnectionFailed, ProblemError, UnknownSession
from avf_client.estimates import Estimate, from_wire
from avf_client.forecasts import Forecast
from avf_client.observations import ObservationLike
from avf_client.retries import Retry, may_repeat
from avf_client.running import Run
from avf_client.session import SessionCore

T = TypeVar("T")


class Client:
    """A client of the server at `base_url`. Safe to share between threads; sessions are not.

    api_key    sent with every request, where the server wants one
    timeout    seconds that one answer may take
    retry      how often to try again, see `avf_client.Retry`
    transport  how HTTP is carried; for tests and special networks
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        timeout: float = 10.0,
        *,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = rest.checked_url(base_url)
        self.api_key = api_key
        self.timeout = timeout
        self.retry = retry or Retry()
        self._http = httpx.Client(
            base_url=self.base_url, headers=rest.headers(api_key), timeout=timeout, transport=transport
        )

    def models(self) -> list[wire.ModelInfo]:
        """The models that the server holds."""
        return self.call(rest.models()).models

    def session(
        self,
        model: str,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability = "group",
    ) -> "Session":
        """Open a session; as a context manager it ends when the block does.

        seed        fixes all randomness of the session; the server draws one where it is absent
        iterations  updates of the posterior a step; the model's own number where absent
        durability  "group": saved before each reply; "none": kept in the server's memory only

        Raises UnknownModel, InvalidSetting.
        """
        request = wire.CreateSession(model=model, seed=seed, iterations=iterations, durability=durability)
        return Session(self, self.call(rest.create(request)), owned=True)

    def attach(self, session_id: str) -> "Session":
        """Go on with a session that is open; as a context manager it is left open. Raises UnknownSession."""
        return Session(self, self.call(rest.session(session_id)), owned=False)

    def restore(
        self,
        snapshot: bytes,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
    ) -> "Session":
        """Open a session that goes on from a snapshot, of this server or of another with the same model.

        seed        for other noise from here on; without it, the same observations give the same estimates
        iterations  those of the snapshot's session where absent
        durability  "group" where absent

        Raises InvalidSnapshot.
        """
        options = wire.Branch(seed=seed, iterations=iterations, durability=durability)
        return Session(self, self.call(rest.restore(snapshot, options)), owned=True)

    def call(self, call: rest.Call[T]) -> T:
        """Make one call, trying again where that is safe."""
        failures = 0
        while True:
            hint: float | None = None
            try:
                response = self._send(call)
                hint = rest.retry_after(response.headers)
                return rest.read_response(call, response)
            except (ConnectionFailed, ProblemError) as error:
                failures += 1
                allowed = may_repeat(error, idempotent=call.idempotent)
                delay = self.retry.delay(failures, chance=random.random(), retry_after=hint) if allowed else None
                if delay is None:
                    raise
            time.sleep(delay)

    def close(self) -> None:
        """Close the connections; sessions stay open on the server."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: rest.Call[T]) -> httpx.Response:
        try:
            return self._http.request(**rest.request(call, timeout=self.timeout))
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise rest.broken(self.base_url, error) from error


class Session:
    """A session: one sequence being filtered. Made by `Client.session` and `Client.attach`; one thread at a time."""

    def __init__(self, client: Client, info: wire.Session, *, owned: bool) -> None:
        self._client = client
        self._core = SessionCore(info)
        self._owned = owned

    @property
    def id(self) -> str:
        """The identifier, for `Client.attach`."""
        return self._core.info.id

    @property
    def info(self) -> wire.Session:
        """How the session was opened, and where it stood when the server last said so."""
        return self._core.info

    @property
    def epoch(self) -> int:
        """The current epoch; `reset` begins the next one."""
        return self._core.epoch

    @property
    def next_seq(self) -> int:
        """The `seq` of the next observation."""
        return self._core.next_seq

    def step(self, x: ObservationLike) -> Estimate:
        """Filter one observation (D,); NaN or None for a missing dimension, None where all of it is missing.

        Raises InvalidObservation; and ConnectionFailed, after which the same observation may be sent again: it is
        applied once.
        """
        return self.steps([x])[0]

    def steps(self, xs: Iterable[ObservationLike]) -> list[Estimate]:
        """Filter observations (T, D), 128 in a request; one estimate for each.

        Raises as `step`; the error's `estimates` are those of the observations before the refused one.
        """
        estimates: list[Estimate] = []
        for chunk in self._core.chunks(xs):
            try:
                estimates += self._core.take(self._client.call(self._core.steps_call(chunk)), count=len(chunk))
            except ProblemError as error:
                if applied := self._core.applied_before(error, count=len(chunk)):
                    again = self._core.steps_call(chunk[:applied])
                    estimates += self._core.take(self._client.call(again), count=applied)
                error.estimates = estimates
                raise
        return estimates

    def stream(self, xs: Iterable[ObservationLike], *, in_flight: int | None = None) -> Generator[Estimate, None, None]:
        """Filter observations as they come, over a WebSocket; one estimate for each, in order.

        in_flight  how many may be unanswered: as many as the server allows where absent, for throughput; 1 gives
                   each estimate before the next observation is taken, for live sources

        Broken connections are made again and what was not answered is sent again, under the same `seq`. Where the
        loop is left early, observations that were taken are filtered but their estimates are not given.
        Raises InvalidObservation, ConnectionFailed after too many tries without progress.
        """
        from avf_client.streaming import Streaming  # websockets, only where it is used

        run = Run(self._core, self._client.retry, in_flight=in_flight)
        return Streaming(self._client, run, xs).estimates()

    def estimate(self, *, wait_seq: int | None = None, timeout: float = 30.0) -> Estimate:
        """The last estimate. Raises NoEstimate before the first observation of an epoch.

        wait_seq  wait until this observation has been filtered, by whatever client
        timeout   seconds to wait for it, after which NoEstimate is raised; the server has a limit
        """
        return from_wire(self._client.call(rest.estimate(self.id, wait_seq=wait_seq, timeout=timeout)))

    def forecast(
        self,
        horizon: int,
        *,
        paths: int = 100,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        with_paths: bool = False,
    ) -> Forecast:
        """The next `horizon` observations, by sample paths of the model from where the session stands, which it leaves.

        paths       how many are drawn; the server bounds horizon x paths x dimensions
        quantiles   levels in [0, 1]
        with_paths  whether the paths themselves are wanted

        Raises InvalidSetting.
        """
        request = wire.ForecastRequest(horizon=horizon, paths=paths, quantiles=tuple(quantiles), with_paths=with_paths)
        return forecasts.from_wire(self._client.call(rest.forecast(self.id, request)))

    def snapshot(self) -> bytes:
        """The belief of the session, as a safetensors file, for `Client.restore`."""
        return self._client.call(rest.snapshot(self.id))

    def fork(
        self,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
    ) -> "Session":
        """Open a session that goes on from where this one stands, and leaves this one as it is.

        seed        for other noise from here on; without it, the same observations give the same estimates in both
        iterations  this session's where absent
        durability  this session's where absent

        As a context manager the new session ends when the block does.
        """
        options = wire.Branch(seed=seed, iterations=iterations, durability=durability)
        return Session(self._client, self._client.call(rest.fork(self.id, options)), owned=True)

    def reset(self) -> None:
        """Begin a new epoch, at the prior."""
        self._core.place(self._client.call(rest.reset(self.id)))

    def refresh(self) -> None:
        """Ask the server where the session stands, and go on from there."""
        self._core.place(self._client.call(rest.session(self.id)))

    def close(self) -> None:
        """End the session on the server; where it has ended already, nothing happens."""
        try:
            self._client.call(rest.end(self.id))
        except UnknownSession:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._owned:
            return
        try:
            self.close()
        except AvfClientError:
            if kind is None:  # else the first error is the one to tell
                raise
