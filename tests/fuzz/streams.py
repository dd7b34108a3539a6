"""Messages on WebSockets, of both sub-protocols and of none, and bytes that are no WebSocket."""

import base64
import json
import os
import socket
from collections import Counter
from random import Random
from urllib.parse import urlsplit

import avf_wire as wire
import httpx
import numpy as np
from avf_wire import binary
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.fuzz.mutation import PIECES, distort, noise, spoil

FAULT, ABNORMAL = 1011, 1006
QUERIES = (
    "",
    "?every=2",
    "?fields=scalars",
    "?every=0",
    "?every=x",
    "?fields=none",
    "?token=avft1.a.b",
    "?every=9" * 40,
)
MARK = "the last word"
PATIENCE = 60.0  # seconds

SAID: list[dict[str, object]] = [
    {"type": "observe", "seq": 1, "x": [0.0, 1.0, 0.5, None, 1.0, 0.0]},
    {"type": "observe", "seq": 1, "x": None},
    {"type": "samples", "offset": 0, "s16": base64.b64encode(bytes(24)).decode()},
    {"type": "samples", "offset": 0, "f32": [0.0] * 12},
    {"type": "marker", "text": "here"},
    {"type": "keepalive"},
    {"type": "end"},
]
FRAMES = [
    binary.encode(binary.Observations(seq=1, rows=np.ones((2, 6), dtype=np.float32))),
    binary.encode(binary.Samples(offset=0, encoding="s16", data=bytes(24))),
    binary.encode(binary.Samples(offset=0, encoding="f32", data=bytes(24))),
    binary.encode(wire.Marker(text="here")),
    binary.encode(wire.KeepAlive()),
    binary.encode(wire.End()),
]


class Streams:
    """A client of streams that talks nonsense. `answers` counts close codes (0: still open), and `sent` messages."""

    def __init__(self, url: str, random: Random) -> None:
        self._url = url
        self._ws = url.replace("http://", "ws://")
        self._random = random
        self._http = httpx.Client(base_url=url, timeout=PATIENCE)
        self.answers: Counter[int] = Counter()
        self.sent = 0

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def talk(self) -> None:
        """One stream, of some messages."""
        random = self._random
        opened = self._http.post("/v1/sessions", json={"model": "tiny", "seed": 1})
        session = opened.json()["id"] if random.random() < 0.98 else "nobody"
        protocol = random.choice((wire.SUBPROTOCOL_JSON, wire.SUBPROTOCOL_BINARY))
        address = f"{self._ws}/v1/sessions/{session}/stream{random.choice(QUERIES) if random.random() < 0.2 else ''}"
        try:
            with connect(address, subprotocols=[protocol], compression=None, open_timeout=PATIENCE) as stream:  # type: ignore[list-item]
                code = self._exchange(stream, binary_form=protocol == wire.SUBPROTOCOL_BINARY)
        except InvalidStatus as error:
            code = error.response.status_code
        assert code not in (FAULT, ABNORMAL, *range(500, 600)), f"a stream ended with {code}"
        self.answers[code] += 1
        self._http.delete(f"/v1/sessions/{session}")

    def scribble(self) -> None:
        """Bytes that are no HTTP, or no WebSocket after its handshake: the server closes, and no more."""
        random, address = self._random, urlsplit(self._url)
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
            if random.random() < 0.5:
                key = base64.b64encode(os.urandom(16)).decode()
                connection.sendall(
                    f"GET /v1/sessions/x/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
                )
            data = random.choice((noise(random), spoil(random, b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n{}")))
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while answer := connection.recv(1 << 16):
                    assert not answer.startswith(b"HTTP/1.1 5"), answer[:500]
            except (ConnectionError, TimeoutError):
                pass  # cut by the server, which is its right
        self.sent += 1

    def _exchange(self, stream: ClientConnection, *, binary_form: bool) -> int:
        """Say some messages and a last one that comes back; the code of the close, 0 where there was none."""
        try:
            for _ in range(self._random.randint(1, 12)):
                stream.send(self._frame() if binary_form else self._text())
                self.sent += 1
            mark = wire.Marker(text=MARK)
            stream.send(binary.encode(mark) if binary_form else json.dumps({"type": "marker", "text": MARK}))
            while True:
                heard = stream.recv(timeout=PATIENCE)
                if MARK.encode() in (heard if isinstance(heard, bytes) else heard.encode()):
                    return 0
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else ABNORMAL

    def _text(self) -> str | bytes:
        random, said = self._random, self._random.choice(SAID)
        kind = random.random()
        if kind < 0.3:
            return json.dumps(said)
        if kind < 0.6:
            return json.dumps(distort(random, said))
        if kind < 0.65:
            return noise(random)  # a binary frame
        return spoil(random, json.dumps(said).encode()).decode("utf-8", "replace")

    def _frame(self) -> bytes | str:
        random, frame = self._random, self._random.choice(FRAMES)
        kind = random.random()
        if kind < 0.3:
            return frame
        if kind < 0.35:
            return random.choice(PIECES).decode("utf-8", "replace")  # a text frame
        if kind < 0.4:
            return noise(random)
        return spoil(random, frame)
