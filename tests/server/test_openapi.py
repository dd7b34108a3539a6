"""The running server answers as its OpenAPI description says, to whatever that allows to be asked, and to what not."""

import itertools
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.slow

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
STREAMS = r"/events$"  # these answer for ever: tests/server/test_watching.py reads them

RAW = ["application/vnd.avf.belief", "application/vnd.avf.float32", "application/vnd.avf.s16"]
schemathesis.serializer.alias(RAW, "application/octet-stream")


@schemathesis.serializer("application/msgpack")
def packed(context: Any, value: Any) -> bytes:
    """A body in MessagePack; where that has no such number, one that is cut."""
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return b"\x81"


JSON = "application/json"
SENSIBLE = {
    "POST /v1/sessions": (JSON, {"model": "tiny", "seed": 3, "iterations": 1, "durability": "behind"}),
    "POST /v1/sessions/{session}/steps": (JSON, {"seq": 1, "observations": [[0.0] * 6, [1.0] * 6, None]}),
    "POST /v1/sessions/{session}/forecast": (JSON, {"horizon": 2, "paths": 3, "with_paths": True}),
    "POST /v1/sessions/{session}/fork": ("application/msgpack", {"seed": 4}),
}
SOUND = {"POST /v1/sessions/{session}/samples", "POST /v1/sessions/restore"}
"""These want a model of sound, and a snapshot; tests/server/test_sound.py and test_branches.py have them."""


def put(case: Any, http: httpx.Client) -> None:
    """Ask about what is there: a session that is one step in, and a model."""
    path, query = case.path_parameters or {}, case.query or {}
    if "session" in path:
        path["session"] = http.post("/v1/sessions", json={"model": "tiny", "seed": 1}).json()["id"]
        http.post(f"/v1/sessions/{path['session']}/steps", json={"seq": 1, "observations": [[0.0] * 6]})
    if "name" in path:
        path["name"] = "tiny"
    if "timeout" in query:
        query["timeout"] = 0.01
    else:
        query.pop("wait_seq", None)  # which waits for as long as the server lets it


def ask(operation: Any, http: httpx.Client) -> set[int]:
    """Ask for an operation a dozen times, check each answer, and give the statuses of all.

    Every third time the body is one that the server takes, and nothing else is asked for.
    """
    statuses, count = set(), itertools.count()

    @given(case=operation.as_strategy())
    @settings(
        max_examples=12,
        database=None,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    def asked(case: Any) -> None:
        put(case, http)
        if next(count) % 3 == 2 and operation.label in SENSIBLE:
            case.query, (case.media_type, case.body) = {}, SENSIBLE[operation.label]
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    asked()
    return statuses


def test_answers_are_as_described(server: Any, http: httpx.Client) -> None:
    """No fault, and a status, a type and a message that the description has, of every operation.

    Each of them is seen to do what it is there for; but for tokens, which a server without keys does not make.
    """
    description = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [result.ok() for result in description.exclude(path_regex=STREAMS).get_all_operations()]
    seen = {operation.label: ask(operation, http) for operation in operations}
    failed = {label for label, statuses in seen.items() if min(statuses) >= 400}
    assert failed <= {"POST /v1/tokens", "POST /v1/sessions/{session}/tokens", *SOUND}


def test_the_description_and_the_protocol_have_the_same_routes(http: httpx.Client) -> None:
    """Each route of docs/protocol.md is described, and each that is described stands there."""
    described = {
        f"{method.upper()} {re.sub(r'{session}', '{id}', path)}"
        for path, operations in http.get("/openapi.json").json()["paths"].items()
        for method in operations
    }
    table = PROTOCOL.read_text().partition("## HTTP")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`?]*)`", table)) - {"GET /docs", "GET /asyncapi.json"}
    assert described <= documented
    assert {route for route in documented if "..." not in route} <= described
