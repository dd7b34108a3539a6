"""The description of streams for tools: an AsyncAPI 3.0 document, made of the messages themselves.

    python -m avf_server.transports.asyncapi > docs/asyncapi.json

The law: every message of `wire` and every kind of `binary` is in it, and what a running server says fits it; tests
compare. The document is of the server: what it receives is what clients say.
"""

import json
from collections.abc import Mapping
from typing import Any, get_args

import avf_wire as wire
import msgspec
from avf_wire import binary
from avf_wire.binary import Kind

PATH = "/asyncapi.json"
ADDRESS = "/v1/sessions/{session}/stream"

CLIENT: tuple[type[msgspec.Struct], ...] = get_args(wire.ClientMessage)
SERVER: tuple[type[msgspec.Struct], ...] = get_args(wire.ServerMessage)

KINDS: Mapping[Kind, type[msgspec.Struct]] = {
    Kind.OBSERVE: wire.Observe,
    Kind.SAMPLES_F32: wire.Samples,
    Kind.SAMPLES_S16: wire.Samples,
    Kind.MARKER: wire.Marker,
    Kind.END: wire.End,
    Kind.KEEPALIVE: wire.KeepAlive,
    Kind.BEGIN: wire.Begin,
    Kind.ESTIMATE: wire.Estimate,
    Kind.ACK: wire.Ack,
    Kind.ERROR: wire.Error,
    Kind.ENDED: wire.Ended,
    Kind.GOAWAY: wire.GoAway,
}
"""What each kind of binary message says."""

QUERY = {
    "type": "object",
    "properties": {
        "every": {"type": "integer", "minimum": 1, "default": 1, "description": "estimates of every so many"},
        "fields": {"enum": ["all", "scalars"], "default": "all", "description": "scalars: estimates without arrays"},
        "token": {"type": "string", "description": "a short-lived token, where no header can be set"},
    },
}


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    messages = _json_messages() | _binary_messages()
    _, schemas = msgspec.json.schema_components([*CLIENT, *SERVER], ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "avf streams",
            "version": wire.VERSION,
            "description": "The stream of one session. docs/protocol.md is the law; this is its form. One message is "
            f"one WebSocket frame: text in {wire.SUBPROTOCOL_JSON}, binary in {wire.SUBPROTOCOL_BINARY}.",
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:8000", "protocol": "ws", "description": "as `avf serve` starts"}},
        "channels": {
            "stream": {
                "address": ADDRESS,
                "parameters": {"session": {"description": "the session's id"}},
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "query": QUERY, "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            f"{action}{title}": {
                "action": action,
                "channel": {"$ref": "#/channels/stream"},
                "summary": f"what the {side} says in {subprotocol}",
                "messages": [{"$ref": f"#/channels/stream/messages/{name}"} for name in names],
            }
            for action, side, title, subprotocol, names in _operations()
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _operations() -> list[tuple[str, str, str, str, list[str]]]:
    """Action, who speaks, a part of the name, the sub-protocol, and the messages."""
    heard = [kind for kind in Kind if kind < 0x80]
    said = [kind for kind in Kind if kind >= 0x80 or kind in (Kind.MARKER, Kind.KEEPALIVE)]
    return [
        ("receive", "client", "Json", wire.SUBPROTOCOL_JSON, [kind.__name__ for kind in CLIENT]),
        ("send", "server", "Json", wire.SUBPROTOCOL_JSON, [kind.__name__ for kind in SERVER]),
        ("receive", "client", "Binary", wire.SUBPROTOCOL_BINARY, [_binary_name(kind) for kind in heard]),
        ("send", "server", "Binary", wire.SUBPROTOCOL_BINARY, [_binary_name(kind) for kind in said]),
    ]


def _json_messages() -> dict[str, Any]:
    kinds = dict.fromkeys((*CLIENT, *SERVER))
    return {
        kind.__name__: {
            "name": msgspec.inspect.type_info(kind).tag,  # type: ignore[attr-defined]
            "title": f"{kind.__name__}, {wire.SUBPROTOCOL_JSON}",
            "summary": _first_line(kind),
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        }
        for kind in kinds
    }


def _binary_messages() -> dict[str, Any]:
    """Messages whose form JSON Schema cannot say; docs/protocol.md states it, byte by byte."""
    header = {"struct": binary.HEADER.format, "magic": binary.MAGIC, "bytes": binary.HEADER.size}
    return {
        _binary_name(kind): {
            "name": kind.name.lower(),
            "title": f"{kind.name}, {wire.SUBPROTOCOL_BINARY}",
            "summary": _first_line(said),
            "contentType": "application/octet-stream",
            "payload": {"type": "string", "format": "binary"},
            "x-avf-header": header | {"kind": int(kind)},
        }
        for kind, said in KINDS.items()
    }


def _binary_name(kind: Kind) -> str:
    return f"Binary{kind.name.title().replace('_', '')}"


def _first_line(kind: type[msgspec.Struct]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def text() -> str:
    """The document as it stands in docs/asyncapi.json."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
