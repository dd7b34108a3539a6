"""Servers of WebSockets that filter nothing: what came within 5 ms is answered together, as by a tick.

    python -m benchmarks.peer.echo NAME PORT

An answer has as many bytes as an estimate. `straight` is the way of single observations in avf, `queue` that of all
else there, by ASGI; the others have the same application where they speak ASGI, and callbacks where they do not.
"""

import argparse
import asyncio
from collections.abc import Callable
from typing import Any, cast

import uvicorn
import uvloop
from avf_server.streams.sockets import SOCKET, bounded
from avf_wire import binary

HOST = "127.0.0.1"
TICK = 0.005  # seconds
BEGIN = bytes((0, binary.Kind.BEGIN))
ESTIMATE = bytes((0, binary.Kind.ESTIMATE)) + bytes(2842)  # as many as srnn-jsb says
UVICORN = {"straight": bounded(30.0), "queue": bounded(30.0), "websockets": "websockets-sansio", "wsproto": "wsproto"}
OTHERS = ("wsproto", "granian", "picows")  # by the package that each needs
SERVERS = ("straight", "queue", "websockets", *OTHERS)

asked: list[asyncio.Future[bytes]] = []


def ask() -> asyncio.Future[bytes]:
    """The answer to come, with all that are asked for until the next tick."""
    loop = asyncio.get_running_loop()
    if not asked:
        loop.call_later(TICK, answer)
    asked.append(loop.create_future())
    return asked[-1]


def answer() -> None:
    """Answer whoever still waits."""
    for each in asked:
        if not each.done():
            each.set_result(ESTIMATE)
    asked.clear()


def taker(write: Callable[[bytes], object]) -> Callable[[bytes], bool]:
    """Who takes messages, and writes their answers once they are there."""

    def take(_message: bytes) -> bool:
        ask().add_done_callback(lambda answer: write(answer.result()))
        return True

    return take


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Over ASGI: a message is awaited, then its answer."""
    await receive()
    await send({"type": "websocket.accept"})
    if "/straight/" in scope["path"]:
        below = scope["state"][SOCKET]
        below.straight = taker(below.write)
    await send({"type": "websocket.send", "bytes": BEGIN})
    while (await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": await ask()})


async def by_picows(port: int) -> None:
    """Over no interface: a callback for every frame."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    class Listener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(WSMsgType.BINARY, BEGIN)
            self._take = taker(lambda answer: transport.send(WSMsgType.BINARY, answer))

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.BINARY:
                self._take(frame.get_payload_as_bytes())

    await (await ws_create_server(lambda _: Listener(), HOST, port)).serve_forever()


def serve(name: str, port: int) -> None:
    """Be one of the servers, until ended."""
    if name == "picows":
        uvloop.run(by_picows(port))
    elif name == "granian":
        from granian.constants import Interfaces, Loops
        from granian.server import Server

        target = "benchmarks.peer.echo:application"
        Server(target, port=port, interface=Interfaces.ASGINL, loop=Loops.uvloop, log_enabled=False).serve()
    else:
        ws = cast(Any, UVICORN[name])
        uvicorn.run(application, port=port, loop="uvloop", ws=ws, ws_per_message_deflate=False, log_level="error")


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SERVERS)
    parser.add_argument("port", type=int)
    told = parser.parse_args()
    serve(told.name, told.port)


if __name__ == "__main__":
    main()
