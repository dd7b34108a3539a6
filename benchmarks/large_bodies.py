"""Bodies and messages of 4 MB that cost as much as they can: what `benchmarks.doors` sends, and how."""

import json

import httpx
import msgspec
import numpy as np
import websockets.exceptions
import websockets.sync.client
from avf_wire import binary

SIZE = 4096  # of an observation of the second
BYTES = (4 << 20) - 4096  # of a body: just below the limit
JSON, MSGPACK, F32, S16 = (
    "application/json",
    "application/msgpack",
    "application/vnd.avf.float32",
    "application/vnd.avf.s16",
)
SNAPSHOT = "application/vnd.avf.belief"


def filled(before: bytes, unit: bytes, after: bytes) -> bytes:
    """As many units as there is room for."""
    return before + unit * ((BYTES - len(before) - len(after)) // len(unit)) + after


def bodies() -> dict[str, tuple[str, str, bytes]]:
    """By name: the address below the session's (or all of it), the media type, the body."""
    steps, opened = b'{"seq":1,"observations":[', b"]}"
    packed = b"\x82\xa3seq\x01\xacobservations"
    array, row = packed + b"\xdd\x00\x3f\xf0\x00", packed + b"\x91\xdd\x00\x3f\x00\x00"
    rows = np.zeros((128, SIZE)).tolist()
    return {
        "json: a million lists": ("steps", JSON, filled(steps, b"[],", b"[]" + opened)),
        "json: a million nulls": ("steps", JSON, filled(steps, b"null,", b"null" + opened)),
        "json: one long row": ("steps", JSON, filled(steps + b"[", b"1,", b"1]" + opened)),
        "json: rows of nulls": (
            "steps",
            JSON,
            filled(steps, b"[" + b"null," * 4095 + b"null],", b"null" + opened),
        ),
        "json: deep": ("steps", JSON, filled(steps, b"[", b"")),
        "json: a string": ("steps", JSON, filled(steps + b'"', b"\\u0041", b'"' + opened)),
        "json: a name": ("steps", JSON, filled(b'{"', b"a", b'":1}')),
        "json: many names": ("steps", JSON, filled(steps + b"{", b'"a":1,', b'"a":1}' + opened)),
        "json: a number": ("steps", JSON, filled(b'{"observations":[null],"seq":', b"1", b"}")),
        "json: blanks": ("steps", JSON, filled(steps, b" ", b"null" + opened)),
        "json: 128 observations": ("steps", JSON, msgspec.json.encode({"seq": 1, "observations": rows})),
        "json: a model's name": ("/v1/sessions", JSON, filled(b'{"model":"', b"a", b'"}')),
        "msgpack: nils": ("steps", MSGPACK, filled(array, b"\xc0", b"")),
        "msgpack: arrays": ("steps", MSGPACK, filled(array, b"\x90", b"")),
        "msgpack: one long row": (
            "steps",
            MSGPACK,
            row + b"\x01" * 0x3F0000,
        ),
        "msgpack: maps in a row": (
            "steps",
            MSGPACK,
            row + b"\x80" * 0x3F0000,
        ),
        "msgpack: deep": ("steps", MSGPACK, filled(packed, b"\x91", b"\xc0")),
        "msgpack: 100 observations": ("steps", MSGPACK, msgspec.msgpack.encode({"seq": 1, "observations": rows[:100]})),
        "float32: rows": ("steps?seq=1", F32, bytes(BYTES // (4 * SIZE) * 4 * SIZE)),
        "float32: 128 observations": ("steps?seq=1", F32, bytes(128 * 4 * SIZE)),
        "s16: samples": ("samples?offset=0", S16, bytes(BYTES)),
        "snapshot: names": (
            "/v1/sessions/restore",
            SNAPSHOT,
            (BYTES - 8).to_bytes(8, "little") + filled(b'{"__metadata__":{', b'"a":"",', b'"b":""}}'),
        ),
    }


def messages() -> dict[str, tuple[str, str | bytes | list[bytes]]]:
    """By name: the sub-protocol, and the message, in frames where it is a list."""

    def text(*parts: bytes) -> str:
        return filled(*parts).decode()

    observe, samples = b'{"type":"observe","seq":1,"x":[', b'{"type":"samples","offset":0,"f32":['
    rows = binary.Observations(seq=1, rows=np.zeros((200, SIZE), dtype=np.float32))
    return {
        "avf.v1.json: lists": ("avf.v1.json", text(observe, b"[],", b"[]]}")),
        "avf.v1.json: nulls": ("avf.v1.json", text(observe, b"null,", b"null]}")),
        "avf.v1.json: numbers of sound": ("avf.v1.json", text(samples, b"0,", b"0]}")),
        "avf.v1.json: lists of sound": ("avf.v1.json", text(samples, b"[],", b"[]]}")),
        "avf.v1.json: base64": ("avf.v1.json", text(b'{"type":"samples","offset":0,"s16":"', b"AAAA", b'"}')),
        "avf.v1.json: a marker": ("avf.v1.json", text(b'{"type":"marker","text":"', b"a", b'"}')),
        "avf.v1.json: a name": ("avf.v1.json", text(b'{"', b"a", b'":1}')),
        "avf.v1.json: type last": ("avf.v1.json", text(b'{"seq":1,"x":[', b"[],", b'[]],"type":"observe"}')),
        "avf.v1.bin: observations": ("avf.v1.bin", binary.encode(rows)),
        "avf.v1.bin: sound": ("avf.v1.bin", binary.encode(binary.Samples(offset=0, encoding="s16", data=bytes(BYTES)))),
        "avf.v1.bin: frames of a byte": ("avf.v1.bin", [b"\0"] * 500_000),
    }


def post(url: str, session: str, address: str, media_type: str, body: bytes) -> str:
    """Send one body; what was answered."""
    where = address if address.startswith("/") else f"/v1/sessions/{session}/{address}"
    with httpx.Client(base_url=url, timeout=120) as http:
        try:
            return str(http.post(where, content=body, headers={"content-type": media_type}).status_code)
        except httpx.HTTPError as error:
            return type(error).__name__


def say(url: str, session: str, subprotocol: str, message: str | bytes | list[bytes]) -> str:
    """Send one message; what was answered: the type or the length, or the close code."""
    address = f"{url.replace('http', 'ws', 1)}/v1/sessions/{session}/stream"
    with websockets.sync.client.connect(address, subprotocols=[subprotocol], max_size=None) as stream:  # type: ignore[list-item]
        stream.recv()
        try:
            stream.send(message)
            answer = stream.recv(timeout=60)
        except websockets.exceptions.ConnectionClosed as closed:
            return str(closed.rcvd.code if closed.rcvd else "cut")
        except TimeoutError:
            return "nothing"
        return json.loads(answer)["type"] if isinstance(answer, str) else f"{len(answer)} bytes"
