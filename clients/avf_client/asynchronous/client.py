"""The client: sessions of a server, opened, found and gone on with.

    async with AsyncClient("http://localhost:8000") as client, await client.session(model="srnn-jsb") as session:
        async for estimate in session.stream(frames):
            print(estimate.seq, estimate.free_energy)

The law: this is a thin face. What to send, what a reply means and when to try again stand in `core`, which does no
I/O. In a stream, an estimate is given before the next observation is taken, where it has arrived.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Self

import avf_wire as wire

from avf_client import local
from avf_client.asynchronous import _carrier
from avf_client.asynchronous.connection import AsyncConnection
from avf_client.asynchronous.session import AsyncSession
from avf_client.core import keys, rest
from avf_client.core.retries import Retry
from avf_client.core.session import listed

__all__ = ["AsyncClient", "AsyncSession"]


class AsyncClient(AsyncConnection):
    """A client of the server at `base_url`. Safe to share between tasks; sessions are not.

    api_key     sent with every request, where the server wants one
    timeout     seconds that one answer may take
    retry       how often to try again, and for how long altogether, see `avf_client.Retry`
    durability  of sessions that are opened without one
    transport   how HTTP is carried; for tests and special networks
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        timeout: float = 10.0,
        *,
        retry: Retry | None = None,
        durability: wire.Durability = "group",
        transport: _carrier.Transport | None = None,
    ) -> None:
        api_key = keys.sealed(api_key)  # so that no traceback shows it
        super().__init__(base_url, api_key=api_key, timeout=timeout, retry=retry, transport=transport)
        self.durability: wire.Durability = durability
        self._server: local.Server | None = None

    @classmethod
    async def local(cls, *models: str | PathLike[str], durability: wire.Durability = "none", **settings: Any) -> Self:
        """A client of a server of its own, in this process: for tests and notebooks. `close` ends both.

        models      names in the zoo, or folders of checkpoints
        durability  of sessions that are opened without one; the server has a real Redis, so that all modes work
        settings    of the server, by the names of docs/server.md in lower case, such as `max_batch=8`

        Raises MissingExtra where the server is not installed, and StartFailed.
        """
        server = await _carrier.aside(local.start, models, **settings)
        client = cls(server.url, server.api_key, durability=durability)
        client._server = server
        return client

    async def models(self) -> list[wire.ModelInfo]:
        """The models that the server holds."""
        held = await self.call(rest.models())
        return held.models

    async def session(
        self,
        model: str,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
        audio: wire.Audio | None = None,
        deadline_s: float | None = None,
        rate_hz: float | None = None,
        particles: int = 1,
        lag: int = 0,
        prediction_samples: int | None = None,
        quantiles: Sequence[float] | None = None,
        alarm_every: float | None = None,
        alarm_by: wire.AlarmBy = "change",
        point: str | None = None,
    ) -> AsyncSession:
        """Open a session; as a context manager it ends when the block does.

        seed        fixes all randomness of the session; the server draws one where it is absent
        iterations  updates of the posterior a step; the model's own number where absent
        durability  "group": saved before each reply; "wait": replicated, too; "behind": saved soon after; "none":
                    kept in the server's memory only. The client's own where absent
        audio       of models of sound, such as `Audio(rate=16_000)`: the session streams samples, not observations
        deadline_s  seconds that an answer may take: where it would take longer, fewer iterations are made, which the
                    estimate says. `rate_hz` says the same by how many observations a second are to be answered
        particles   so many weighted rows filter the session, and say together what is known; 1 is the paper's filter
        lag         estimates look back so many steps: `smoothed_mean`, `smoothed_deviation`
        prediction_samples  draws that predictions without a closed form are made of; the model's own where absent
        alarm_every  a detector hears the session, whose false alarms are so many steps apart, on average: `alarm`
        alarm_by    what it listens for: "change", which lasts; "novelty", what was not met before; "daily", the same
                    hour by hour, of times in seconds since 1970 that then come with observations
        point       one of the model's `points`, by its name, in the place of particles and iterations
        quantiles   levels within (0, 1) at which predictions are told; the model's own where absent

        Raises UnknownModel, InvalidSetting.
        """
        request = wire.CreateSession(
            model=model,
            seed=seed,
            iterations=iterations,
            durability=durability or self.durability,
            audio=audio,
            deadline_s=deadline_s,
            rate_hz=rate_hz,
            particles=particles,
            lag=lag,
            prediction_samples=prediction_samples,
            quantiles=None if quantiles is None else tuple(quantiles),
            alarm_every=alarm_every,
            alarm_by=alarm_by,
            point=point,
        )
        return AsyncSession(self, await self.call(rest.create(request)), owned=True)

    async def attach(self, session_id: str) -> AsyncSession:
        """Go on with a session that is open; as a context manager it is left open. Raises UnknownSession."""
        return AsyncSession(self, await self.call(rest.session(session_id)), owned=False)

    async def restore(
        self,
        snapshot: bytes,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
    ) -> AsyncSession:
        """Open a session that goes on from a snapshot, of this server or of another with the same model.

        seed        for other noise from here on; without it, the same observations give the same estimates
        iterations  those of the snapshot's session where absent
        durability  "group" where absent

        Raises InvalidSnapshot.
        """
        options = wire.Branch(seed=seed, iterations=iterations, durability=durability)
        return AsyncSession(self, await self.call(rest.restore(snapshot, options)), owned=True)

    async def model(self, name: str) -> wire.ModelInfo:
        """The model of this name. Raises UnknownModel."""
        return await self.call(rest.model(name))

    async def status(self) -> wire.Status:
        """How the server is: load, latencies, its store."""
        return await self.call(rest.status())

    async def sessions(self, *, limit: int | None = None) -> list[wire.SessionSummary]:
        """Your open sessions, with the last step of each, the last opened first; all of them, or `limit`."""
        return await self.perform(listed(limit))

    async def token(self, *, lifetime_s: float | None = None, read_only: bool = False) -> wire.Token:
        """A short-lived token for browsers, in place of the API key. See also `AsyncSession.token`, for one session."""
        return await self.call(rest.token(None, wire.TokenRequest(lifetime_s=lifetime_s, read_only=read_only)))

    async def close(self) -> None:
        """Close the connections; sessions stay open on the server, unless it is a local one, which ends."""
        await super().close()
        if self._server is not None:
            await _carrier.aside(self._server.stop)
