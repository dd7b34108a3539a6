"""The HTTP interface, as docs/protocol.md states it. Codecs turn raw bytes into wire's structs, and back.

The law: the transport decides nothing; it decodes, calls the service, and encodes. Observations of one
request are filtered in order, and the first that is refused ends it.
"""

from typing import Annotated

import msgspec
from avf_client import wire
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from avf_server import negotiation, problems
from avf_server.auth import owner_of
from avf_server.codecs.base import Body, MessageCodec, Place
from avf_server.problems import ProblemError
from avf_server.runtime import Runtime
from avf_server.stores.base import unpack
from avf_server.telemetry import MEDIA_TYPE

router = APIRouter()


class _StepsReply(msgspec.Struct, frozen=True, kw_only=True):
    """`wire.StepsReply`, with the estimates as they are stored."""

    session: str
    epoch: int
    next_seq: int
    estimates: list[msgspec.Raw]


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


Server = Annotated[Runtime, Depends(_runtime)]


def _owner(request: Request, server: Server) -> str:
    return owner_of(request.headers, keys=server.settings.api_keys)


Owner = Annotated[str, Depends(_owner)]


def _writer(request: Request) -> MessageCodec:
    return negotiation.writer(request.headers.get("accept", ""))


Writer = Annotated[MessageCodec, Depends(_writer)]


@router.get("/v1/models", tags=["models"])
async def list_models(server: Server, owner: Owner, writer: Writer) -> Response:
    """The models this server holds."""
    return _reply(writer, wire.Models(models=server.models()))


@router.get("/v1/models/{name}", tags=["models"])
async def get_model(name: str, server: Server, owner: Owner, writer: Writer) -> Response:
    """One model."""
    server.sessions.checkpoint(name)
    return _reply(writer, next(model for model in server.models() if model.name == name))


@router.post("/v1/sessions", status_code=201, tags=["sessions"])
async def create_session(request: Request, server: Server, owner: Owner, writer: Writer) -> Response:
    """Open a session."""
    server.service.check_running()
    session = await server.sessions.create(await _body(request, wire.CreateSession), owner=owner)
    return _opened(writer, session)


@router.post("/v1/sessions/restore", status_code=201, tags=["sessions"])
async def restore_session(
    request: Request,
    server: Server,
    owner: Owner,
    writer: Writer,
    seed: int | None = None,
    iterations: int | None = None,
    durability: wire.Durability | None = None,
) -> Response:
    """Open a session that goes on from a snapshot, which is the body."""
    server.service.check_running()
    negotiation.check(request.headers.get("content-type", ""), expected=wire.SNAPSHOT_MEDIA_TYPE)
    options = wire.Branch(seed=seed, iterations=iterations, durability=durability)
    return _opened(writer, await server.branches.restore(await request.body(), options, owner=owner))


@router.get("/v1/sessions/{session}", tags=["sessions"])
async def get_session(session: str, server: Server, owner: Owner, writer: Writer) -> Response:
    """Where a session stands."""
    return _reply(writer, await server.sessions.session(session, owner=owner))


@router.delete("/v1/sessions/{session}", status_code=204, tags=["sessions"])
async def delete_session(session: str, server: Server, owner: Owner) -> Response:
    """End a session."""
    await server.sessions.delete(session, owner=owner)
    return Response(status_code=204)


@router.post("/v1/sessions/{session}/steps", tags=["steps"])
async def post_steps(
    session: str,
    request: Request,
    server: Server,
    owner: Owner,
    writer: Writer,
    seq: int | None = None,
    epoch: int | None = None,
) -> Response:
    """Filter observations. `seq` and `epoch` stand in the address where the body is raw numbers."""
    reader = negotiation.reader(request.headers.get("content-type", ""))
    size = await server.sessions.observation_size(session, owner=owner)
    steps = reader.steps(await request.body(), place=Place(seq=seq, epoch=epoch), size=size)
    most = server.settings.replay_window
    if not 1 <= len(steps.observations) <= most:
        raise problems.MalformedBodyError(
            f"{len(steps.observations)} observations in one request, expected 1 to {most}", session=session
        )
    epoch, estimates = steps.epoch, []
    for at, x in enumerate(steps.observations, steps.seq):
        reply = await server.service.observe(session, seq=at, x=x, owner=owner, epoch=epoch)
        epoch = reply.epoch
        estimates.append(writer.stored(reply.estimate))
    return _reply(writer, _StepsReply(session=session, epoch=reply.epoch, next_seq=reply.seq + 1, estimates=estimates))


@router.post("/v1/sessions/{session}/reset", tags=["sessions"])
async def reset_session(session: str, server: Server, owner: Owner, writer: Writer) -> Response:
    """Begin a new epoch at the prior."""
    server.service.check_running()
    return _reply(writer, await server.sessions.reset(session, owner=owner))


@router.get("/v1/sessions/{session}/estimate", tags=["steps"])
async def get_estimate(
    session: str,
    request: Request,
    server: Server,
    owner: Owner,
    writer: Writer,
    wait_seq: int | None = None,
    timeout: float | None = None,
) -> Response:
    """The last estimate; with `wait_seq`, once that observation has been filtered, within `timeout` seconds."""
    if wait_seq is None:
        record = await server.waiting.last(session, owner=owner)
    else:
        record = await server.waiting.reached(session, seq=wait_seq, timeout=timeout, owner=owner)
    assert record.reply is not None
    headers = {"ETag": f'W/"{record.position.epoch}.{record.position.seq}"', "Vary": "Accept"}
    if _known(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return _reply(writer, writer.stored(unpack(record.reply)[1]), headers=headers)


@router.post("/v1/sessions/{session}/forecast", tags=["steps"])
async def post_forecast(session: str, request: Request, server: Server, owner: Owner, writer: Writer) -> Response:
    """Forecast the next observations."""
    server.service.check_running()
    wanted = await _body(request, wire.ForecastRequest)
    return _reply(writer, await server.forecasts.forecast(session, wanted, owner=owner))


@router.get("/v1/sessions/{session}/snapshot", tags=["sessions"])
async def get_snapshot(session: str, server: Server, owner: Owner) -> Response:
    """The belief of a session, as a safetensors file."""
    return Response(await server.branches.snapshot(session, owner=owner), media_type=wire.SNAPSHOT_MEDIA_TYPE)


@router.post("/v1/sessions/{session}/fork", status_code=201, tags=["sessions"])
async def fork_session(session: str, request: Request, server: Server, owner: Owner, writer: Writer) -> Response:
    """Open a session that goes on from where this one stands."""
    server.service.check_running()
    options = await _body(request, wire.Branch)
    return _opened(writer, await server.branches.fork(session, options, owner=owner))


@router.get("/health/live", tags=["health"])
async def live() -> Response:
    """Whether the process answers."""
    return JSONResponse({"status": "live"})


@router.get("/health/ready", tags=["health"])
async def ready(server: Server) -> Response:
    """Whether the server takes work: it is not stopping, and Redis answers."""
    server.service.check_running()
    try:
        await server.store.ping()
    except problems.StoreError as error:
        raise server.sessions.unavailable(error) from error
    return JSONResponse({"status": "ready"})


@router.get("/metrics", tags=["health"])
async def metrics(server: Server) -> Response:
    """Metrics, for Prometheus."""
    return Response(server.telemetry.expose(), media_type=MEDIA_TYPE)


async def _body(request: Request, kind: type[Body]) -> Body:
    """The request's body. Raises UnsupportedMediaTypeError, BodyTooLargeError, MalformedBodyError."""
    reader = negotiation.message_reader(request.headers.get("content-type", ""))
    return reader.decode(await request.body(), kind)


def _known(if_none_match: str, tag: str) -> bool:
    """Whether the client has what this tag stands for (RFC 9110, section 13.1.2: compared weakly)."""
    tags = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags


def _reply(
    writer: MessageCodec, message: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """The message in the form that the client asked for."""
    varying = {"Vary": "Accept"} | (headers or {})
    return Response(writer.encode(message), status, varying, media_type=writer.media_type)


def _opened(writer: MessageCodec, session: wire.Session) -> Response:
    """A session that has just been opened."""
    return _reply(writer, session, status=201, headers={"Location": f"/v1/sessions/{session.id}"})


def problem_response(problem: ProblemError) -> Response:
    """The problem as problem+json."""
    return Response(
        problems.to_json(problem),
        problem.status,
        problems.headers(problem),
        media_type=wire.PROBLEM_MEDIA_TYPE,
    )
