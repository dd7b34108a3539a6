"""What a client and its sessions share: where the server is, and calls to it, tried again where that is safe.

The law: what to send, what a reply means and when to try again stand in `core.rest` and `core.retries`, which do no
I/O; how bytes are carried stands in `_carrier`.
"""

import os
import random
import time
from types import TracebackType
from typing import Self, TypeVar

from avf_client.blocking import _carrier
from avf_client.core import keys, network, rest
from avf_client.core._httpx import httpx
from avf_client.core.addresses import checked_url
from avf_client.core.retries import Retry, Tries
from avf_client.core.session import Script
from avf_client.errors import AvfClientError, ConnectionFailed, InvalidArgument, ProblemError

T = TypeVar("T")


class Connection:
    """The way to the server at `base_url`, with a key, and patience: `timeout` seconds for one answer, and `retry`.

    A child of the process that made it has connections of its own: who shares sockets reads another's answers.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        timeout: float,
        retry: Retry | None,
        transport: _carrier.Transport | None,
    ) -> None:
        self.api_key = keys.sealed(api_key)
        self.base_url = checked_url(base_url)
        self.way = network.way_to(self.base_url)
        self.timeout = timeout
        self.retry = retry or Retry()
        self._transport = transport
        self._open()

    def _open(self) -> None:
        """Make connections of this process' own."""
        self._process = os.getpid()
        self.http = _carrier.Http(
            base_url=self.base_url,
            headers=keys.headers(self.api_key),
            timeout=self.timeout,
            transport=self._transport,
            proxy=self.way.http_proxy if self._transport is None else None,
            verify=self.way.tls,
            trust_env=False,  # `way` has read it
        )

    def call(self, call: rest.Call[T]) -> T:
        """Make one call, trying again where that is safe. Cut short, it may have been applied or not."""
        tries = Tries(self.retry, now=time.monotonic())
        while True:
            hint: float | None = None
            try:
                response, body = self._send(call, tries)
                hint = rest.retry_after(response.headers)
                return rest.read_response(call, response, body)
            except (ConnectionFailed, ProblemError) as error:
                delay = tries.failed(
                    error,
                    idempotent=call.idempotent,
                    now=time.monotonic(),
                    chance=random.random(),
                    retry_after=hint,
                )
            _carrier.sleep(delay)

    def perform(self, script: Script[T]) -> T:
        """Make the calls of a script; gives what they came to."""
        try:
            call = next(script)
            while True:
                try:
                    reply = self.call(call)
                except AvfClientError as error:
                    call = script.throw(error)
                else:
                    call = script.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    def close(self) -> None:
        """Close the connections; sessions stay open on the server."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: rest.Call[T], tries: Tries) -> tuple[httpx.Response, bytes]:
        """One try; it may take no longer than its time."""
        if self.http.is_closed:
            raise InvalidArgument("this client is closed: make another one")
        if os.getpid() != self._process:
            self._inherited = self.http  # kept, not closed: these sockets are the parent's, and it may be using them
            self._open()
        timeout = tries.limit(self.timeout + call.patience, now=time.monotonic())
        try:
            return _carrier.fetch(self.http, rest.request(call, timeout=timeout), timeout=timeout)
        except TimeoutError as error:
            raise rest.late(self.base_url, timeout) from error
        except rest.FOREIGN as error:
            raise rest.broken(self.base_url, error) from error
