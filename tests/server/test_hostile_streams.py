"""Clients that do not read, write too fast, or leave: the server holds a bounded amount for each, and others go on."""

import base64
import json
import re
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import avf_wire as wire
import httpx
import pytest
from avf_wire import binary
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

pytestmark = pytest.mark.slow

SIZE = 200
MEGABYTE = 1 << 20
MOST_GROWTH = 48 * MEGABYTE
"""What a server's memory may grow by, for whatever one client does: kernel buffers are not counted in it."""
MOST_WAITING = 32 * MEGABYTE
"""What may lie in kernel buffers, and within the credit, of what a client has sent."""


class Raw:
    """A WebSocket without any good manners: it reads, and answers pings, only when told to."""

    def __init__(self, server: Any, session: str, *, subprotocol: str, receive_buffer: int | None = None) -> None:
        uri = parse_uri(f"{server.ws}/v1/sessions/{session}/stream")
        self.protocol = ClientProtocol(uri, subprotocols=[subprotocol], max_size=None)  # type: ignore[list-item]
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(60)
        self.socket.connect((uri.host, uri.port))
        self.protocol.send_request(self.protocol.connect())
        self.socket.sendall(b"".join(self.protocol.data_to_send()))
        self._events: list[Any] = []
        assert isinstance(self.next_event(), Response)

    def next_event(self) -> Any:
        """The next frame, by reading as little as it takes; None where the connection has ended."""
        while not self._events:
            data = self.socket.recv(1 << 16)
            if not data:
                return None
            self.protocol.receive_data(data)
            self._events += self.protocol.events_received()
        return self._events.pop(0)

    def next_message(self) -> Any:
        """The next frame of data, whatever else comes."""
        while True:
            frame = self.next_event()
            assert frame is not None, "the connection has ended"
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                return json.loads(frame.data) if frame.opcode is Opcode.TEXT else binary.decode_server(frame.data)

    def close_code(self) -> int:
        """The code that the server closes with, after whatever comes before it."""
        while (frame := self.next_event()) is not None:
            if frame.opcode is Opcode.CLOSE:
                return int.from_bytes(frame.data[:2], "big")
        raise AssertionError("the connection was cut without a close code")

    def send(self, frame: Frame) -> None:
        self.socket.sendall(frame.serialize(mask=True))

    def say(self, message: Any) -> None:
        self.send(Frame(Opcode.BINARY, binary.encode(message)))

    def push(self, data: bytes, *, most: int) -> int:
        """Send this again and again, until the server reads no more, or to `most` bytes; how many were sent."""
        self.socket.setblocking(False)
        sent = 0
        left = memoryview(data)
        while sent < most:
            if not select.select([], [self.socket], [], 2.0)[1]:
                break
            count = self.socket.send(left)
            sent += count
            left = left[count:] or memoryview(data)
        self.socket.settimeout(60)
        return sent

    def is_cut(self) -> bool:
        """Whether the server has reset the connection; nothing is read to find out."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(scope="session")
def server(serve: Callable[..., Any], speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that waits four seconds for readers, and pings often."""
    before = "import avf_server.serve.uvicorn as r; r.PING_INTERVAL = 0.1"
    options = ["--model", str(speech), "--data-dir", str(tmp_path_factory.mktemp("data"))]
    return serve(*options, before=before, AVF_STREAM_SEND_S="4", AVF_MAX_STREAMS="4")


@pytest.fixture
def session(http: httpx.Client) -> str:
    body = {"model": "speech", "audio": {"rate": 16000}, "durability": "none"}
    return str(http.post("/v1/sessions", json=body).json()["id"])


@pytest.fixture
def raw(server: Any, session: str) -> Iterator[Callable[..., Raw]]:
    """Connect to the stream of a session; whatever is still open at the end is closed."""
    clients: list[Raw] = []

    def connect(subprotocol: str = wire.SUBPROTOCOL_BINARY, **options: Any) -> Raw:
        clients.append(Raw(server, session, subprotocol=subprotocol, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def memory(server: Any) -> Callable[[], int]:
    """The server's resident memory in bytes."""
    return lambda: 1024 * int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1])  # type: ignore[index]


@pytest.fixture
def streams(http: httpx.Client) -> Callable[[], int]:
    """How many streams the server holds."""
    return lambda: int(float(re.search(r"^avf_streams (\S+)$", http.get("/metrics").text, re.MULTILINE)[1]))  # type: ignore[index]


def many_samples(observations: int) -> dict[str, Any]:
    """A message that is answered by megabytes of estimates."""
    return {"type": "samples", "offset": 0, "s16": base64.b64encode(bytes(2 * SIZE * observations)).decode()}


def sound(*, blocks: int, observations: int) -> bytes:
    """Silence as a client would send it: messages of so many observations, each going on where the last one ended."""
    data = bytes(2 * SIZE * observations)
    messages = [binary.Samples(offset=i * SIZE * observations, encoding="s16", data=data) for i in range(blocks)]
    return b"".join(Frame(Opcode.BINARY, binary.encode(each)).serialize(mask=True) for each in messages)


def test_a_client_that_does_not_read_is_told_and_cut_and_others_go_on(
    raw: Any, http: httpx.Client, session: str, streams: Any, memory: Any, eventually: Any
) -> None:
    """Filtering its session waits for it; it is closed with 4408, and nothing that was applied is lost."""
    before = memory()
    slow = raw(wire.SUBPROTOCOL_JSON, receive_buffer=4096)
    assert slow.next_message()["type"] == "begin"
    slow.send(Frame(Opcode.TEXT, json.dumps(many_samples(3000)).encode()))
    other = http.post("/v1/sessions", json={"model": "speech", "durability": "none"}).json()["id"]
    for seq in range(1, 21):
        content = bytes(4 * SIZE)
        url, headers = f"/v1/sessions/{other}/steps?seq={seq}", {"Content-Type": "application/vnd.avf.float32"}
        assert http.post(url, content=content, headers=headers).status_code == 200
    eventually(lambda: streams() == 0, "the close of the stream that is not read")
    assert slow.close_code() == wire.CLOSE_TOO_SLOW
    assert memory() - before < MOST_GROWTH
    stood = http.get(f"/v1/sessions/{session}").json()["next_seq"]
    assert 1 < stood < 3000, "it was filtered until the buffers were full, and then no more"
    deaf = raw(wire.SUBPROTOCOL_JSON, receive_buffer=4096)
    deaf.send(Frame(Opcode.TEXT, json.dumps(many_samples(3000) | {"offset": (stood - 1) * SIZE}).encode()))
    eventually(deaf.is_cut, "the cut of the client that never reads")
    eventually(lambda: streams() == 0, "the end of its stream")


def test_pings_that_are_not_read_do_not_pile_up(raw: Any, memory: Any) -> None:
    """The server stops reading a client that lets its pongs lie."""
    before = memory()
    client = raw(receive_buffer=4096)
    assert client.push(Frame(Opcode.PING, bytes(125)).serialize(mask=True) * 500, most=96 * MEGABYTE) < 96 * MEGABYTE
    assert memory() - before < MOST_GROWTH


def test_a_client_that_writes_past_its_credit_is_not_read(
    raw: Any, session: str, http: httpx.Client, memory: Any, eventually: Any, streams: Any
) -> None:
    """Large messages wait in the client's own buffers; then it vanishes, and the session stands where it stood."""
    before = memory()
    client = raw()
    sent = client.push(sound(blocks=320, observations=500), most=2 * MOST_WAITING)
    taken = 2 * http.get(f"/v1/sessions/{session}").json()["next_sample"]
    assert sent - taken < MOST_WAITING, "the server reads on, and has not filtered what it read"
    assert memory() - before < MOST_GROWTH
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    client.close()
    eventually(lambda: streams() == 0, "the end of its stream")
    stood = http.get(f"/v1/sessions/{session}").json()
    assert stood["next_sample"] >= (stood["next_seq"] - 1) * SIZE


def test_small_messages_past_all_credit_end_the_stream(raw: Any, memory: Any) -> None:
    """Far more than were ever allowed, in a few reads of the socket: 4429."""
    before = memory()
    client = raw()
    frame = Frame(Opcode.BINARY, binary.encode(wire.KeepAlive())).serialize(mask=True)
    client.push(frame * 50_000, most=4 * MEGABYTE)
    assert client.close_code() == wire.CLOSE_TOO_MANY
    assert memory() - before < MOST_GROWTH


def test_streams_are_counted(raw: Any) -> None:
    """One more than the settings say is refused with `overloaded` and 4429; those that are open go on."""
    clients = [raw() for _ in range(4)]
    for client in clients:
        assert isinstance(client.next_message(), wire.Begin)
    refused = raw()
    assert refused.next_message().problem.type == "urn:avf:problem:overloaded"
    assert refused.close_code() == wire.CLOSE_TOO_MANY
    clients[0].say(wire.KeepAlive())
    assert clients[0].next_message() == wire.KeepAlive()


def test_a_client_that_answers_no_ping_is_not_closed(raw: Any) -> None:
    """Busy clients may be slow: the stream answers after many pings were let lie."""
    client = raw()
    pings = 0
    while pings < 5:
        pings += client.next_event().opcode is Opcode.PING
    client.say(binary.Samples(offset=0, encoding="s16", data=bytes(2 * SIZE)))
    assert client.next_message().seq == 1
