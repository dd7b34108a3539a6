"""One session: what `AsyncClient` hands out. A thin face of `core.session.SessionCore`."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from types import TracebackType
from typing import Literal, Self, overload

import avf_wire as wire

from avf_client.asynchronous import _carrier
from avf_client.asynchronous.connection import AsyncConnection
from avf_client.asynchronous.watching import watch
from avf_client.core import rest
from avf_client.core.events import Event, EventRun
from avf_client.core.running import Run
from avf_client.core.session import Fields, SessionCore, StreamOptions
from avf_client.errors import AvfClientError, UnknownSession
from avf_client.observations import InputsLike, StepLike, steps_of
from avf_client.results import forecasts
from avf_client.results.estimates import Estimate, Summary, from_wire
from avf_client.results.forecasts import Forecast
from avf_client.results.histories import History


class AsyncSession:
    """A session: one sequence being filtered, by one task at a time. Made by `AsyncClient.session` and `attach`."""

    def __init__(self, connection: AsyncConnection, info: wire.Session, *, owned: bool) -> None:
        self._connection = connection
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
        """The current epoch; `reset` begins the next one."""
        return self._core.epoch

    @property
    def next_seq(self) -> int:
        """The `seq` of the next observation."""
        return self._core.next_seq

    async def step(self, x: StepLike, *, inputs: InputsLike | None = None, time: float | None = None) -> Estimate:
        """Filter one observation (D,); NaN or None for a missing dimension, None where all of it is missing.

        inputs  (U,) what was done, or known, before it, where the model takes inputs
        time    when it was, where the model takes times; its usual time after the one before where absent

        Raises InvalidObservation, InvalidInputs, InvalidTime; and ConnectionFailed, after which the same observation
        may be sent again: it is applied once.
        """
        (estimate,) = await self.steps(
            [x], inputs=None if inputs is None else [inputs], times=None if time is None else [time]
        )
        return estimate

    async def steps(
        self,
        xs: Iterable[StepLike],
        *,
        inputs: Iterable[InputsLike] | None = None,
        times: Iterable[float | None] | None = None,
    ) -> list[Estimate]:
        """Filter observations (T, D), 128 in a request; one estimate for each. `inputs` (T, U) and `times` (T,) as in
        `step`; or each is a `Step`, which has its own.

        Raises as `step`; the error's `estimates` are those of the observations before the refused one.
        """
        return await self._connection.perform(self._core.steps(steps_of(xs, inputs=inputs, times=times)))

    @overload
    def stream(
        self,
        xs: _carrier.Source,
        *,
        in_flight: int | None = None,
        every: int = 1,
        fields: Literal["all"] = "all",
    ) -> AsyncGenerator[Estimate, None]: ...

    @overload
    def stream(
        self,
        xs: _carrier.Source,
        *,
        in_flight: int | None = None,
        every: int = 1,
        fields: Literal["scalars"],
    ) -> AsyncGenerator[Summary, None]: ...

    def stream(
        self,
        xs: _carrier.Source,
        *,
        in_flight: int | None = None,
        every: int = 1,
        fields: Fields = "all",
    ) -> AsyncGenerator[Summary, None]:
        """Filter observations as they come, over a WebSocket; one estimate for each, in order.

        xs         observations (D,), or `Step`s, where inputs or a time come with them; of a session that was opened
                   with `audio`, chunks of samples of any length, 16-bit integers or numbers within [-1, 1]: what
                   completes no observation stays with the session
        in_flight  how many may be unanswered: as many as the server allows where absent, for throughput; 1 gives
                   each estimate before the next observation is taken, for live sources
        every      estimates of observations `every`, 2 `every`, ... only, to spare the wire
        fields     "scalars": `Summary` in place of `Estimate`, without arrays

        Broken connections are made again and what was not answered is sent again, under the same `seq`. Where the
        loop is left early, observations that were taken are filtered but their estimates are not given.
        Raises InvalidObservation, ConnectionFailed after too many tries without progress.
        """
        from avf_client.asynchronous.streaming import AsyncStreaming  # websockets, only where it is used

        options = StreamOptions(in_flight=in_flight, every=every, fields=fields)
        return AsyncStreaming(self._connection, Run(self._core, self._connection.retry, options), xs).estimates()

    async def estimate(self, *, wait_seq: int | None = None, timeout: float = 30.0) -> Estimate:
        """The last estimate. Raises NoEstimate before the first observation of an epoch.

        wait_seq  wait until this observation has been filtered, by whatever client
        timeout   seconds to wait for it, after which NoEstimate is raised; the server has a limit
        """
        message = await self._connection.call(rest.estimate(self.id, wait_seq=wait_seq, timeout=timeout))
        return from_wire(message)

    async def forecast(
        self,
        horizon: int,
        *,
        paths: int = 100,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        with_paths: bool = False,
        inputs: Sequence[InputsLike] | None = None,
        times: Sequence[float] | None = None,
    ) -> Forecast:
        """The next `horizon` observations, by sample paths of the model from where the session stands, which it leaves.

        paths       how many are drawn; the server bounds horizon x paths x dimensions
        quantiles   levels in [0, 1]
        with_paths  whether the paths themselves are wanted
        inputs      (H, U) what is done on the way, where the model takes inputs
        times       (H,) when these observations will be, where the model takes times

        Raises InvalidSetting, InvalidInputs, InvalidTime.
        """
        request = wire.ForecastRequest(
            horizon=horizon,
            paths=paths,
            quantiles=tuple(quantiles),
            with_paths=with_paths,
            inputs=None if inputs is None else [[float(number) for number in row] for row in inputs],
            times=None if times is None else [float(time) for time in times],
        )
        return forecasts.from_wire(await self._connection.call(rest.forecast(self.id, request)))

    async def history(self, *, newest: int | None = None) -> History:
        """Scalars of the steps so far, over all epochs, as far as the server remembers; or of the `newest` ones."""
        return await self._connection.perform(self._core.history(newest))

    def events(self, *, interval: float = 0.0, observation: bool = False) -> AsyncGenerator[Event, None]:
        """What becomes of the session from now on, whoever feeds it, until it ends.

        interval     seconds between two events, at least; what lies between is told by its scalars
        observation  whether estimates come with what was observed

        A connection that breaks is made again, and nothing is told twice.
        """
        path = rest.events_path(self.id, interval=interval, observation=observation)
        run = EventRun(self._connection.retry, size=self.info.observation_size)
        return watch(self._connection, path, run)

    async def token(self, *, lifetime_s: float | None = None, read_only: bool = False) -> wire.Token:
        """A short-lived token for this session only, for a page that shows it."""
        request = wire.TokenRequest(lifetime_s=lifetime_s, read_only=read_only)
        return await self._connection.call(rest.token(self.id, request))

    async def snapshot(self) -> bytes:
        """The belief of the session, as a safetensors file, for `Client.restore`."""
        return await self._connection.call(rest.snapshot(self.id))

    async def fork(
        self,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
    ) -> "AsyncSession":
        """Open a session that goes on from where this one stands, and leaves this one as it is.

        seed        for other noise from here on; without it, the same observations give the same estimates in both
        iterations  this session's where absent
        durability  this session's where absent

        As a context manager the new session ends when the block does.
        """
        options = wire.Branch(seed=seed, iterations=iterations, durability=durability)
        return AsyncSession(self._connection, await self._connection.call(rest.fork(self.id, options)), owned=True)

    async def reset(self) -> None:
        """Begin a new epoch, at the prior."""
        self._core.place(await self._connection.call(rest.reset(self.id)))

    async def refresh(self) -> None:
        """Ask the server where the session stands, and go on from there."""
        self._core.place(await self._connection.call(rest.session(self.id)))

    async def close(self) -> None:
        """End the session on the server; where it has ended already, nothing happens."""
        try:
            await self._connection.call(rest.end(self.id))
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
