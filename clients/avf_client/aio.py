"""The client for asyncio code: what `sync` is, with `await`.

    async with AsyncClient("http://localhost:8000") as client:
        async with await client.session(model="srnn-jsb") as session:
            async for estimate in session.stream(frames):
                print(estimate.seq, estimate.free_energy)

The law: a thin face, as `sync` is; both decide nothing. In a stream, an estimate is given as soon as it arrives, also
while the source waits for its next observation.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
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


class AsyncClient:
    """A client of the server at `base_url`; the arguments are those of `Client`."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        timeout: float = 10.0,
        *,
        retry: Retry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = rest.checked_url(base_url)
        self.api_key = api_key
        self.timeout = timeout
        self.retry = retry or Retry()
        self._http = httpx.AsyncClient(
            base_url=self.base_url, headers=rest.headers(api_key), timeout=timeout, transport=transport
        )

    async def models(self) -> list[wire.ModelInfo]:
        """The models that the server holds."""
        return (await self.call(rest.models())).models

    async def session(
        self,
        model: str,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability = "group",
    ) -> "AsyncSession":
        """Open a session, as `Client.session` does."""
        request = wire.CreateSession(model=model, seed=seed, iterations=iterations, durability=durability)
        return AsyncSession(self, await self.call(rest.create(request)), owned=True)

    async def attach(self, session_id: str) -> "AsyncSession":
        """Go on with a session that is open, as `Client.attach` does."""
        return AsyncSession(self, await self.call(rest.session(session_id)), owned=False)

    async def restore(
        self,
        snapshot: bytes,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
    ) -> "AsyncSession":
        """Open a session that goes on from a snapshot, as `Client.restore` does."""
        options = wire.Branch(seed=seed, iterations=iterations, durability=durability)
        return AsyncSession(self, await self.call(rest.restore(snapshot, options)), owned=True)

    async def call(self, call: rest.Call[T]) -> T:
        """Make one call, trying again where that is safe."""
        failures = 0
        while True:
            hint: float | None = None
            try:
                response = await self._send(call)
                hint = rest.retry_after(response.headers)
                return rest.read_response(call, response)
            except (ConnectionFailed, ProblemError) as error:
                failures += 1
                allowed = may_repeat(error, idempotent=call.idempotent)
                delay = self.retry.delay(failures, chance=random.random(), retry_after=hint) if allowed else None
                if delay is None:
                    raise
            await asyncio.sleep(delay)

    async def close(self) -> None:
        """Close the connections; sessions stay open on the server."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, call: rest.Call[T]) -> httpx.Response:
        try:
            return await self._http.request(**rest.request(call, timeout=self.timeout))
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise rest.broken(self.base_url, error) from error


class AsyncSession:
    """A session, as `Session` is; made by `AsyncClient.session` and `AsyncClient.attach`; one task at a time."""

    def __init__(self, client: AsyncClient, info: wire.Session, *, owned: bool) -> None:
        self._client = client
        self._core = SessionCore(info)
        self._owned = owned

    @property
    def id(self) -> str:
        """The identifier, for `AsyncClient.attach`."""
        return self._core.info.id

    @property
    def info(self) -> wire.Session:
        """How the session was opened, and where it stood when the server last said so."""
        return self._core.info

    @property
    def epoch(self) -> int:
        """The current epoch."""
        return self._core.epoch

    @property
    def next_seq(self) -> int:
        """The `seq` of the next observation."""
        return self._core.next_seq

    async def step(self, x: ObservationLike) -> Estimate:
        """Filter one observation (D,), as `Session.step` does."""
        return (await self.steps([x]))[0]

    async def steps(self, xs: Iterable[ObservationLike]) -> list[Estimate]:
        """Filter observations (T, D), as `Session.steps` does."""
        estimates: list[Estimate] = []
        for chunk in self._core.chunks(xs):
            try:
                estimates += self._core.take(await self._client.call(self._core.steps_call(chunk)), count=len(chunk))
            except ProblemError as error:
                if applied := self._core.applied_before(error, count=len(chunk)):
                    again = self._core.steps_call(chunk[:applied])
                    estimates += self._core.take(await self._client.call(again), count=applied)
                error.estimates = estimates
                raise
        return estimates

    def stream(
        self, xs: Iterable[ObservationLike] | AsyncIterable[ObservationLike], *, in_flight: int | None = None
    ) -> AsyncGenerator[Estimate, None]:
        """Filter observations as they come, as `Session.stream` does; the source may be asynchronous."""
        from avf_client.aio_streaming import AsyncStreaming  # websockets, only where it is used

        run = Run(self._core, self._client.retry, in_flight=in_flight)
        return AsyncStreaming(self._client, run, xs).estimates()

    async def estimate(self, *, wait_seq: int | None = None, timeout: float = 30.0) -> Estimate:
        """The last estimate, or that of `wait_seq` once it is there, as `Session.estimate` does."""
        return from_wire(await self._client.call(rest.estimate(self.id, wait_seq=wait_seq, timeout=timeout)))

    async def forecast(
        self,
        horizon: int,
        *,
        paths: int = 100,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        with_paths: bool = False,
    ) -> Forecast:
        """The next `horizon` observations, as `Session.forecast` does."""
        request = wire.ForecastRequest(horizon=horizon, paths=paths, quantiles=tuple(quantiles), with_paths=with_paths)
        return forecasts.from_wire(await self._client.call(rest.forecast(self.id, request)))

    async def snapshot(self) -> bytes:
        """The belief of the session, as `Session.snapshot` does."""
        return await self._client.call(rest.snapshot(self.id))

    async def fork(
        self,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
    ) -> "AsyncSession":
        """Open a session that goes on from where this one stands, as `Session.fork` does."""
        options = wire.Branch(seed=seed, iterations=iterations, durability=durability)
        return AsyncSession(self._client, await self._client.call(rest.fork(self.id, options)), owned=True)

    async def reset(self) -> None:
        """Begin a new epoch, at the prior."""
        self._core.place(await self._client.call(rest.reset(self.id)))

    async def refresh(self) -> None:
        """Ask the server where the session stands, and go on from there."""
        self._core.place(await self._client.call(rest.session(self.id)))

    async def close(self) -> None:
        """End the session on the server; where it has ended already, nothing happens."""
        try:
            await self._client.call(rest.end(self.id))
        except UnknownSession:
            return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._owned:
            return
        try:
            await self.close()
        except AvfClientError:
            if kind is None:  # else the first error is the one to tell
                raise
