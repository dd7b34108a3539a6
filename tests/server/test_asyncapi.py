"""The AsyncAPI document: complete, sound, and what a running server says fits it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import avf_wire as wire
import httpx
import jsonschema_rs
import msgspec
import pytest
import websockets
from avf_server.transports import asyncapi
from avf_wire import binary

ROOT = Path(__file__).parents[2]


def references(value: Any) -> Iterator[str]:
    """Every $ref in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from references(part)


def resolve(document: Any, reference: str) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        document = document[name]
    return document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asyncapi.text())
    return found


@pytest.fixture(scope="module")
def check(document: dict[str, Any]) -> Any:
    """Assert that a JSON message is one of those that this side says."""

    def checked(message: dict[str, Any], action: str) -> str:
        operation = document["operations"][f"{action}Json"]
        names = [reference["$ref"].rpartition("/")[2] for reference in operation["messages"]]
        by_tag = {document["components"]["messages"][name]["name"]: name for name in names}
        name = by_tag[message["type"]]
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.validator_for(schema).validate(message)
        return str(message["type"])

    return checked


def test_the_document_in_docs_is_the_one_that_is_served(server: Any) -> None:
    """Otherwise: python -m avf_server.transports.asyncapi > docs/asyncapi.json."""
    assert (ROOT / "docs" / "asyncapi.json").read_text() == asyncapi.text(), "write it again, as the docstring says"
    served = httpx.get(f"{server.url}/asyncapi.json", timeout=60)
    assert served.text == asyncapi.text()
    assert served.headers["Content-Type"].startswith("application/vnd.aai.asyncapi+json")


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """And the messages of an operation are of its channel, as AsyncAPI 3.0 wants."""
    found = list(references(document))
    assert found
    for reference in found:
        assert resolve(document, reference)
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert all(message["$ref"].startswith("#/channels/stream/messages/") for message in operation["messages"])


def test_every_message_and_kind_is_described(document: dict[str, Any]) -> None:
    """Both ways, in both sub-protocols; binary kinds with their numbers."""
    names = {message["name"] for message in document["components"]["messages"].values()}
    assert {msgspec.inspect.type_info(kind).tag for kind in (*asyncapi.CLIENT, *asyncapi.SERVER)} <= names  # type: ignore[attr-defined]
    kinds = [message.get("x-avf-header", {}).get("kind") for message in document["components"]["messages"].values()]
    assert {kind for kind in kinds if kind is not None} == {int(kind) for kind in binary.Kind}
    protocol = (ROOT / "docs" / "protocol.md").read_text()
    for kind, said in asyncapi.KINDS.items():
        assert f"| {int(kind):#04x} | `{msgspec.inspect.type_info(said).tag}` |" in protocol  # type: ignore[attr-defined]


async def test_what_is_said_on_a_stream_fits_the_document(server: Any, http: httpx.Client, check: Any) -> None:
    """All that a client may say, and nearly all that a server does."""
    said = [
        {"type": "observe", "seq": 1, "x": [0, 1, None, 0, 1, 0]},
        {"type": "observe", "seq": 2, "x": None},
        {"type": "observe", "seq": 7, "x": [0, 1, 0, 0, 1, 0]},
        {"type": "observe", "seq": 3, "x": [0, 1, 0, 0, 1, 0]},
        {"type": "samples", "offset": 0, "s16": "AAA="},
        {"type": "samples", "offset": 0, "f32": [0.5]},
        {"type": "marker", "text": "here"},
        {"type": "keepalive"},
        {"type": "end"},
    ]

    async def scenario(query: str) -> set[str]:
        session = http.post("/v1/sessions", json={"model": "tiny"}).json()["id"]
        url = f"{server.ws}/v1/sessions/{session}/stream{query}"
        async with websockets.connect(url, subprotocols=[websockets.Subprotocol("avf.v1.json")]) as connection:
            for message in said:
                check(message, "receive")
                await connection.send(json.dumps(message))
            return {check(json.loads(message), "send") async for message in connection}

    heard = (await scenario("")) | (await scenario("?every=2&fields=scalars"))
    assert heard == {"begin", "estimate", "summary", "ack", "error", "marker", "keepalive", "ended"}


def test_what_the_document_does_not_know_is_refused(check: Any) -> None:
    """The comparison can fail."""
    with pytest.raises(jsonschema_rs.ValidationError):
        check({"type": "observe", "seq": 1, "x": [0], "more": 1}, "receive")
    with pytest.raises(jsonschema_rs.ValidationError):
        check({"type": "ack", "epoch": 1}, "send")


def test_a_fault_in_the_tables_would_be_found() -> None:
    """Each direction's tables are those of the codec."""
    assert set(asyncapi.KINDS) == set(binary.Kind)
    assert {wire.Summary} == set(asyncapi.SERVER) - set(asyncapi.KINDS.values()), (
        "in binary, an estimate without arrays"
    )
