"""Streams' sockets read and write what `websockets` does, whatever is said on them and however it is cut."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from avf_server.streams.sockets import FEW_WAITING, PIECE, bounded
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

LARGEST = 100_000
SAID = st.tuples(
    st.sampled_from(["binary", "text", "ping", "in two"]),
    st.one_of(st.binary(max_size=200), st.integers(0, LARGEST).map(bytes)),
)


class Transport:
    """The network: what was written, and whether the socket is read."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True
        self.closing = False

    def write(self, data: bytes) -> None:
        """To the client."""
        self.written += data

    def pause_reading(self) -> None:
        """Read no more."""
        self.reading = False

    def resume_reading(self) -> None:
        """Read again."""
        self.reading = True

    def is_closing(self) -> bool:
        """Whether it is over."""
        return self.closing

    def close(self) -> None:
        """It is over."""
        self.closing = True

    def get_extra_info(self, name: str) -> Any:
        """Nothing is known of it."""
        return None


class Stream:
    """A socket and its client, over such a network; the application sends back what it receives, after `began`."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.began = asyncio.Event()
        config = uvicorn.Config(
            self._application, interface="asgi3", ws_max_size=LARGEST, ws_per_message_deflate=False, log_config=None
        )
        config.load()
        loop = asyncio.get_running_loop()
        self.socket = bounded(30.0)(config=config, server_state=ServerState(), app_state={}, _loop=loop)
        self.transport: Any = Transport()
        self.client = ClientProtocol(parse_uri("ws://there/"), max_size=None)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await self.began.wait()
        while (event := await receive())["type"] == "websocket.receive":
            self.received.append(event.get("bytes") if event.get("text") is None else event["text"])
            await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})

    async def open(self) -> None:
        """Shake hands."""
        self.socket.connection_made(self.transport)
        self.client.send_request(self.client.connect())
        self.socket.data_received(b"".join(self.client.data_to_send()))
        while not self.transport.written:
            await asyncio.sleep(0)
        self.hear()

    def say(self, what: str, data: bytes) -> bytes:
        """The frames of a message."""
        if what == "binary":
            self.client.send_binary(data)
        elif what == "text":
            self.client.send_text(data.hex().encode()[: LARGEST // 2])
        elif what == "ping":
            self.client.send_ping(data[:100])
        else:
            self.client.send_binary(data[:10], fin=False)
            self.client.send_continuation(data[10:], fin=True)
        return b"".join(self.client.data_to_send())

    def hear(self) -> list[Any]:
        """What the client has been sent since."""
        data, self.transport.written = self.transport.written, b""
        self.client.receive_data(data)
        return [event for event in self.client.events_received() if isinstance(event, Frame)]

    async def close(self) -> None:
        """The client has gone."""
        self.began.set()
        self.socket.connection_lost(None)
        for task in list(self.socket.tasks):
            await task


def as_received(what: str, data: bytes) -> Any:
    """What the application is to be told."""
    return data.hex()[: LARGEST // 2] if what == "text" else data


@settings(max_examples=60, deadline=None)
@given(st.lists(SAID, max_size=12), st.lists(st.integers(0, 200_000), max_size=8))
def test_what_is_said_arrives_whole_and_in_order(said: list[tuple[str, bytes]], cuts: list[int]) -> None:
    """Short and long, in one frame or more, with pings in between, cut anywhere; and so does what is sent back."""

    async def scenario() -> None:
        stream = Stream()
        await stream.open()
        stream.began.set()
        data = b"".join(stream.say(*each) for each in said)
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        for start, end in pairwise(places):
            stream.socket.data_received(data[start:end])
            while not stream.transport.reading:
                await asyncio.sleep(0)
        expected = [as_received(*each) for each in said if each[0] != "ping"]
        while len(stream.received) < len(expected):
            await asyncio.sleep(0)
        assert stream.received == expected
        heard = stream.hear()
        assert [bytes(f.data) for f in heard if f.opcode is Opcode.PONG] == [d[:100] for w, d in said if w == "ping"]
        back = [bytes(f.data) for f in heard if f.opcode is not Opcode.PONG]
        assert back == [each.encode() if isinstance(each, str) else each for each in expected]
        await stream.close()

    asyncio.run(scenario())


async def test_short_messages_do_not_go_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not parsed by `websockets`, which still is where it was, and judges what comes then."""
    stream = Stream()
    await stream.open()
    stream.began.set()
    parsed: list[bytes] = []
    receive_data = stream.socket.conn.receive_data

    def counted(data: bytes) -> None:
        parsed.append(data)
        receive_data(data)

    monkeypatch.setattr(stream.socket.conn, "receive_data", counted)
    stream.socket.data_received(stream.say("binary", b"one") + stream.say("binary", bytes(5000)))
    assert parsed == []
    text = stream.say("text", b"three")
    stream.socket.data_received(text)
    assert parsed == [text]
    while len(stream.received) < 3:
        await asyncio.sleep(0)
    assert stream.received == [b"one", bytes(5000), b"three".hex()]
    await stream.close()


async def test_a_message_without_a_mask_or_beyond_the_largest_ends_the_stream() -> None:
    """As `websockets` has it: 1002 and 1009."""
    for data, code in ((b"\x82\x03abc", 1002), (b"\x82\xff" + (LARGEST + 1).to_bytes(8, "big") + bytes(4), 1009)):
        stream = Stream()
        await stream.open()
        stream.socket.data_received(data)
        assert stream.transport.closing
        stream.hear()
        assert stream.client.close_rcvd is not None
        assert stream.client.close_rcvd.code == code
        await stream.close()


@pytest.mark.parametrize("size", [1, 300])
async def test_messages_that_nobody_takes_are_not_read_for_ever(size: int) -> None:
    """Past a few the socket is left unread until they are taken; what had come in a piece is kept, in order."""
    stream = Stream()
    await stream.open()
    piece = b"".join(stream.say("binary", bytes([k % 256]) * size) for k in range(FEW_WAITING + 1))
    assert len(piece) < PIECE
    stream.socket.data_received(piece)
    assert not stream.transport.reading
    stream.began.set()
    while len(stream.received) < FEW_WAITING + 1:
        await asyncio.sleep(0)
    assert stream.received == [bytes([k % 256]) * size for k in range(FEW_WAITING + 1)]
    assert stream.transport.reading
    await stream.close()
