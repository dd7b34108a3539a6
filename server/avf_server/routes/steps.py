"""Steps of a session: observations in, estimates out, and what comes next.

The law: observations of one request are filtered in order, and the first that is refused ends it.
"""

import avf_wire as wire
import msgspec
from fastapi import APIRouter, Request, Response

from avf_server import problems
from avf_server.codecs import negotiation
from avf_server.codecs.base import Place
from avf_server.routes.common import Owner, Server, Viewer, With, Writer, body, part, reply
from avf_server.sessions.options import form_of
from avf_server.stepping.replies import last_of
from avf_server.turns import in_turns

router = APIRouter(tags=["steps"])


class _StepsReply(msgspec.Struct, frozen=True, kw_only=True):
    """`wire.StepsReply`, in which each estimate itself says what is safe."""

    session: str
    epoch: int
    next_seq: int
    estimates: list[msgspec.Raw]


@router.post("/v1/sessions/{session}/steps")
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
    form = await server.sessions.form(session, owner=owner)
    data = await request.body()
    try:
        steps = reader.steps(data, place=Place(seq=seq, epoch=epoch), form=form, most=server.settings.replay_window)
        xs = await in_turns(steps.observations, first=len(data) <= wire.LONGEST_CONTROL)
    except problems.MalformedBodyError as problem:
        problem.session = session
        raise
    epoch, estimates = steps.epoch, []
    for at, observed in enumerate(xs, steps.seq):
        done = await server.service.observe(
            session, seq=at, x=observed.x, inputs=observed.inputs, time=observed.time, owner=owner, epoch=epoch
        )
        epoch = done.epoch
        estimates.append(part(writer, done.message()))
    return reply(writer, _StepsReply(session=session, epoch=done.epoch, next_seq=done.seq + 1, estimates=estimates))


@router.get("/v1/sessions/{session}/estimate")
async def get_estimate(
    session: str,
    request: Request,
    server: Server,
    owner: Viewer,
    writer: Writer,
    wait_seq: int | None = None,
    timeout: float | None = None,
    with_: With = None,
) -> Response:
    """The last estimate; with `wait_seq`, once that observation has been filtered, within `timeout` seconds.

    `with=observation`: and what was observed.
    """
    if wait_seq is None:
        record = await server.polls.last(session, owner=owner)
    else:
        record = await server.polls.reached(session, seq=wait_seq, timeout=timeout, owner=owner)
    tag = f"{record.position.epoch}.{record.position.seq}{'.x' if with_ else ''}"
    headers = {"ETag": f'W/"{tag}"', "Vary": "Accept"}
    if _known(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    form = None if with_ is None else form_of(record.meta, server.models)
    return reply(writer, last_of(record, form), headers=headers)


@router.post("/v1/sessions/{session}/forecast")
async def post_forecast(session: str, request: Request, server: Server, owner: Viewer, writer: Writer) -> Response:
    """Forecast the next observations; the session stays as it is."""
    server.stopping.check()
    wanted = await body(request, wire.ForecastRequest)
    return reply(writer, await server.forecasts.forecast(session, wanted, owner=owner))


def _known(if_none_match: str, tag: str) -> bool:
    """Whether the client has what this tag stands for (RFC 9110, section 13.1.2: compared weakly)."""
    tags = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags
