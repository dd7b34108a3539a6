"""The client for asyncio code: what `blocking` is, with `await`.

    async with AsyncClient("http://localhost:8000") as client:
        async with await client.session(model="srnn-jsb") as session:
            async for estimate in session.stream(frames):
                print(estimate.seq, estimate.free_energy)

The law: a thin face, as `blocking` is; both decide nothing. A stream gives an estimate as soon as it arrives, also
while the source waits for its next observation.
"""

import asyncio
import random
import time
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

import avf_wire as wire

from avf_client import local
from avf_client.asynchronous.session import AsyncSession
from avf_client.core import rest
from avf_client.core._httpx import httpx
from avf_client.core.retries import Retry, Tries
from avf_client.core.session import Script, listed
from avf_client.errors import AvfClientError, ConnectionFailed, ProblemError

__all__ = ["AsyncClient", "AsyncSession"]

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
        durability: wire.Durability = "group",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = rest.checked_url(base_url)
        self.api_key = api_key
        self.timeout = timeout
        self.retry = retry or Retry()
        self.durability: wire.Durability = durability
        self._server: local.Server | None = None
        self._http = httpx.AsyncClient(
            base_url=self.base_url, headers=rest.headers(api_key), timeout=timeout, transport=transport
        )

    @classmethod
    async def local(cls, *models: str | PathLike[str], durability: wire.Durability = "none", **settings: Any) -> Self:
        """A client of a server of its own, in this process, as `Client.local` is."""
        server = await asyncio.to_thread(local.start, models, **settings)
        client = cls(server.url, server.api_key, durability=durability)
        client._server = server
        return client

    async def models(self) -> list[wire.ModelInfo]:
        """The models that the server holds."""
        return (await self.call(rest.models())).models

    async def session(
        self,
        model: str,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
        audio: wire.Audio | None = None,
    ) -> AsyncSession:
        """Open a session, as `Client.session` does."""
        request = wire.CreateSession(
            model=model,
            seed=seed,
            iterations=iterations,
            durability=durability or self.durability,
            audio=audio,
        )
        return AsyncSession(self, await self.call(rest.create(request)), owned=True)

    async def attach(self, session_id: str) -> AsyncSession:
        """Go on with a session that is open, as `Client.attach` does."""
        return AsyncSession(self, await self.call(rest.session(session_id)), owned=False)

    async def restore(
        self,
        snapshot: bytes,
        *,
        seed: int | None = None,
        iterations: int | None = None,
        durability: wire.Durability | None = None,
    ) -> AsyncSession:
        """Open a session that goes on from a snapshot, as `Client.restore` does."""
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

    async def call(self, call: rest.Call[T]) -> T:
        """Make one call, trying again where that is safe. Cancelled, it may have been applied or not."""
        tries = Tries(self.retry, now=time.monotonic())
        while True:
            hint: float | None = None
            try:
                response = await self._send(call, tries)
                hint = rest.retry_after(response.headers)
                return rest.read_response(call, response, response.content)
            except (ConnectionFailed, ProblemError) as error:
                delay = tries.failed(
                    error,
                    idempotent=call.idempotent,
                    now=time.monotonic(),
                    chance=random.random(),
                    retry_after=hint,
                )
            await asyncio.sleep(delay)

    async def perform(self, script: Script[T]) -> T:
        """Make the calls of a script; gives what they came to."""
        try:
            call = next(script)
            while True:
                try:
                    reply = await self.call(call)
                except AvfClientError as error:
                    call = script.throw(error)
                else:
                    call = script.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    async def close(self) -> None:
        """Close the connections; sessions stay open on the server, unless it is a local one, which ends."""
        await self._http.aclose()
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, call: rest.Call[T], tries: Tries) -> httpx.Response:
        timeout = tries.limit(self.timeout + call.patience, now=time.monotonic())
        try:
            async with asyncio.timeout(timeout):
                return await self._http.request(**rest.request(call, timeout=timeout))
        except TimeoutError as error:
            raise rest.late(self.base_url, timeout) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise rest.broken(self.base_url, error) from error
