"""The interface as OpenAPI: FastAPI's description, with the messages of `wire`, which it cannot see.

The law: bodies are raw bytes to FastAPI, so what they hold is said here, a line an operation, and checked against a
running server (tests/server/test_openapi.py).
"""

from typing import Any

import avf_wire as wire
import msgspec
from fastapi import FastAPI

from avf_server.codecs import negotiation
from avf_server.routes.samples import ENCODINGS
from avf_server.routes.watching import MEDIA_TYPE as EVENTS

Operation = tuple[str, str]

ONE = "/v1/sessions/{session}"
BODIES: dict[Operation, type[wire.Request]] = {
    ("post", "/v1/sessions"): wire.CreateSession,
    ("post", "/v1/tokens"): wire.TokenRequest,
    ("post", f"{ONE}/steps"): wire.Steps,
    ("post", f"{ONE}/forecast"): wire.ForecastRequest,
    ("post", f"{ONE}/fork"): wire.Branch,
    ("post", f"{ONE}/tokens"): wire.TokenRequest,
}
REPLIES: dict[Operation, type[wire.Message]] = {
    ("get", "/v1/models"): wire.Models,
    ("get", "/v1/models/{name}"): wire.ModelInfo,
    ("get", "/v1/status"): wire.Status,
    ("get", "/v1/sessions"): wire.Sessions,
    ("post", "/v1/sessions"): wire.Session,
    ("post", "/v1/sessions/restore"): wire.Session,
    ("post", "/v1/tokens"): wire.Token,
    ("get", ONE): wire.Session,
    ("post", f"{ONE}/reset"): wire.Session,
    ("post", f"{ONE}/steps"): wire.StepsReply,
    ("post", f"{ONE}/samples"): wire.SamplesReply,
    ("get", f"{ONE}/estimate"): wire.Estimate,
    ("get", f"{ONE}/history"): wire.History,
    ("post", f"{ONE}/forecast"): wire.Forecast,
    ("post", f"{ONE}/fork"): wire.Session,
    ("post", f"{ONE}/tokens"): wire.Token,
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
SNAPSHOT = {wire.SNAPSHOT_MEDIA_TYPE: BINARY}
OTHER_BODIES: dict[Operation, dict[str, Any]] = {
    ("post", f"{ONE}/samples"): dict.fromkeys(ENCODINGS, BINARY),
    ("post", "/v1/sessions/restore"): SNAPSHOT,
}
OTHER_REPLIES: dict[Operation, dict[str, Any]] = {
    ("get", f"{ONE}/snapshot"): SNAPSHOT,
    ("get", f"{ONE}/events"): {EVENTS: {"schema": {"type": "string"}}},
    ("get", "/v1/events"): {EVENTS: {"schema": {"type": "string"}}},
    ("get", "/metrics"): {"text/plain": {"schema": {"type": "string"}}},
}
EVENT_MESSAGES = (wire.AlarmRaised, wire.Missed, wire.Moves)


def describe(app: FastAPI, *, prefix: str, keys: bool) -> dict[str, Any]:
    """The description; made once. `prefix` is that of all addresses, `keys` says whether the server wants them."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    schema = FastAPI.openapi(app)
    _add_messages(schema)
    for (method, path), kind in BODIES.items():
        _operation(schema, method, path)["requestBody"] = {"required": True, "content": _content(kind)}
    for (method, path), content in OTHER_BODIES.items():
        _operation(schema, method, path)["requestBody"] = {"required": True, "content": content}
    for media_type in set(negotiation.readers()) - set(negotiation.writers()):
        _operation(schema, "post", f"{ONE}/steps")["requestBody"]["content"][media_type] = BINARY
    for (method, path), content in ({key: _content(kind) for key, kind in REPLIES.items()} | OTHER_REPLIES).items():
        responses = _operation(schema, method, path)["responses"]
        responses["201" if "201" in responses else "200"]["content"] = content
    _operation(schema, "get", f"{ONE}/estimate")["responses"]["304"] = {"description": "The same as the tag names"}
    _add_problems(schema)
    if prefix:
        schema["servers"] = [{"url": prefix}]
    if keys:
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
    app.openapi_schema = schema
    return schema


def _add_messages(schema: dict[str, Any]) -> None:
    """The schemas of all messages, by name."""
    kinds = dict.fromkeys([*BODIES.values(), *REPLIES.values(), *EVENT_MESSAGES, wire.Problem])
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema.setdefault("components", {}).setdefault("schemas", {}).update(components)


def _add_problems(schema: dict[str, Any]) -> None:
    """Every operation may answer with a problem, in place of FastAPI's own form of errors."""
    content = {wire.PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "A problem", "content": content}
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)


def _operation(schema: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = schema["paths"][path][method]
    return found


def _content(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """A message in all media types that messages have."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {media_type: {"schema": schema} for media_type in negotiation.writers()}
