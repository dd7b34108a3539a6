"""One session, for asyncio code: what `AsyncClient` hands out. A thin face of `session.SessionCore`."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, overload

import avf_wire as wire

from avf_client.core import rest
from avf_client.core.events import Event, EventRun
from avf_client.core.observations import ObservationLike
from avf_client.core.running import Run
from avf_client.core.session import Fields, SessionCore, StreamOptions
from avf_client.errors import AvfClientError, UnknownSession
from avf_client.results import forecasts
from avf_client.results.estimates import Estimate, Summary, from_wire
from avf_client.results.forecasts import Forecast
from avf_client.results.histories import History

if TYPE_CHECKING:
    from avf_client.asynchronous.client import AsyncClient


class AsyncSession:
    """A session, as `Session` is; made by `AsyncClient.session` and `AsyncClient.attach`; one task at a time."""

    def __init__(self, client: "AsyncClient", info: wire.Session, *, owned: bool) -> None:
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
        return await self._client.perform(self._core.steps(xs))

    @overload
    def stream(
        self,
        xs: Iterable[ObservationLike] | AsyncIterable[ObservationLike],
        *,
        in_flight: int | None = None,
        every: int = 1,
        fields: Literal["all"] = "all",
    ) -> AsyncGenerator[Estimate, None]: ...

    @overload
    def stream(
        self,
        xs: Iterable[ObservationLike] | AsyncIterable[ObservationLike],
        *,
        in_flight: int | None = None,
        every: int = 1,
        fields: Literal["scalars"],
    ) -> AsyncGenerator[Summary, None]: ...

    def stream(
        self,
        xs: Iterable[ObservationLike] | AsyncIterable[ObservationLike],
        *,
        in_flight: int | None = None,
        every: int = 1,
        fields: Fields = "all",
    ) -> AsyncGenerator[Summary, None]:
        """Filter observations as they come, as `Session.stream` does; the source may be asynchronous."""
        from avf_client.asynchronous.streaming import AsyncStreaming  # websockets, only where it is used

        options = StreamOptions(in_flight=in_flight, every=every, fields=fields)
        pieces = xs if isinstance(xs, AsyncIterable) else self._core.pieces(xs)
        return AsyncStreaming(self._client, Run(self._core, self._client.retry, options), pieces).estimates()

    async def estimate(self, *, wait_seq: int | None = None, timeout: float = 30.0) -> Estimate:
        """The last estimate, or that of `wait_seq` once it is there, as `Session.estimate` does."""
        message = await self._client.call(rest.estimate(self.id, wait_seq=wait_seq, timeout=timeout))
        return from_wire(message)

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

    async def history(self, *, newest: int | None = None) -> History:
        """Scalars of the steps so far, over all epochs, as far as the server remembers; or of the `newest` ones."""
        return await self._client.perform(self._core.history(newest))

    def events(self, *, interval: float = 0.0, observation: bool = False) -> AsyncGenerator[Event, None]:
        """What becomes of the session from now on, whoever feeds it, until it ends.

        interval     seconds between two events, at least; what lies between is told by its scalars
        observation  whether estimates come with what was observed

        A connection that breaks is made again, and nothing is told twice.
        """
        from avf_client.watching import watch_async  # asyncio, only where it is used

        path = rest.events_path(self.id, interval=interval, observation=observation)
        run = EventRun(self._client.retry, size=self.info.observation_size)
        return watch_async(self._client, path, run)

    async def token(self, *, lifetime_s: float | None = None, read_only: bool = False) -> wire.Token:
        """A short-lived token for this session only, for a page that shows it."""
        request = wire.TokenRequest(lifetime_s=lifetime_s, read_only=read_only)
        return await self._client.call(rest.token(self.id, request))

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
