"""A stream over WebSockets for blocking code: carries the bytes of `running.Run`, over as many connections as it takes.

The law: one thread, the caller's. Before each observation is taken from the source, all estimates that have arrived
are given out. Only `_Link` touches the network, and it raises the client's own errors, so that errors of the source
and of the network are never confused.
"""

import time
from collections.abc import Generator
from contextlib import ExitStack

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from avf_client.blocking import _carrier
from avf_client.blocking.connection import Connection
from avf_client.core.addresses import stream_url
from avf_client.core.closing import FOREIGN, arguments, translated
from avf_client.core.encodings import chosen
from avf_client.core.protocol import Incoming, Outgoing
from avf_client.core.running import Run
from avf_client.errors import AvfClientError
from avf_client.results.estimates import Summary


class Streaming:
    """One run of `Session.stream`."""

    def __init__(self, connection: Connection, run: Run, xs: _carrier.Source) -> None:
        self._connection = connection
        self._run = run
        self._source = iter(run.pieces(xs))
        self._link: _Link | None = None

    def estimates(self) -> Generator[Summary, None, None]:
        """The estimates of all observations of the source, in order."""
        run = self._run
        try:
            while not run.machine.done:
                estimate = self._advance()
                if estimate is not None:
                    yield estimate
        except GeneratorExit:
            self._settle()
            raise
        finally:
            self._drop_link()
            run.leave()
        if run.source_error is not None:
            raise run.source_error

    def _advance(self) -> Summary | None:
        """One move: connect, or hear one message, or take one observation."""
        machine = self._run.machine
        try:
            link = self._link = self._link or _Link(self._connection, self._run)
            for outgoing in machine.outgoing():
                link.send(outgoing)
            incoming = link.receive(wait=not machine.wants_observation)
            if incoming is not None:
                return self._run.hear(incoming)
        except AvfClientError as error:
            self._drop_link()
            time.sleep(self._run.lost(error, now=time.monotonic()))
        else:
            self._take()
        return None

    def _take(self) -> None:
        try:
            x = next(self._source)
        except StopIteration:
            self._run.machine.finish()
        except Exception as error:
            self._run.source_failed(error)
        else:
            self._run.take(x)

    def _settle(self) -> None:
        """The caller leaves early: have what was taken filtered, so that the session's place is known."""
        self._run.machine.finish()
        while not self._run.machine.done:
            try:
                self._advance()
            except AvfClientError:
                return

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class _Link:
    """One connection. Raises ConnectionFailed where it breaks, and the problem where the server refuses."""

    def __init__(self, connection: Connection, run: Run) -> None:
        self._timeout = connection.timeout
        self._url = stream_url(connection.base_url, run.session_id, run.options.query)
        self._stack = ExitStack()
        try:
            self._socket: ClientConnection = self._stack.enter_context(
                connect(**arguments(self._url, connection.way, api_key=connection.api_key, timeout=connection.timeout))
            )
        except FOREIGN as error:
            raise translated(self._url, error) from error
        self._encoding = chosen(self._socket.subprotocol, run.form)

    def send(self, message: Outgoing) -> None:
        """Send one message. Where the connection is closed, `receive` says so, after what came before it closed."""
        try:
            self._socket.send(self._encoding.encode(message))
        except ConnectionClosed:
            return
        except OSError as error:
            raise translated(self._url, error) from error

    def receive(self, *, wait: bool) -> Incoming | None:
        """The next message; where not `wait`, None if none has arrived."""
        try:
            data = self._socket.recv(timeout=self._timeout if wait else 0)
        except (OSError, ConnectionClosed) as error:
            if isinstance(error, TimeoutError) and not wait:
                return None
            raise translated(self._url, error) from error
        return self._encoding.decode(data)

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()
