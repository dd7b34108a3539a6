"""Sound over HTTP: a chunk of samples in, the estimates of the observations that it completes out.

The law: what a stream says to a chunk, this says too; the remainder is kept in the session before the answer leaves.
"""

import avf_wire as wire
import msgspec
from avf_wire.binary import WIDTHS, Samples
from fastapi import APIRouter, Request, Response

from avf_server import problems
from avf_server.codecs import float32, s16
from avf_server.codecs.negotiation import media_type_of
from avf_server.routes.common import Owner, Server, Writer, part, reply
from avf_server.sound.runs import SoundRun
from avf_server.stepping.runs import Run
from avf_server.stores.base import MAX_SEQ

router = APIRouter(tags=["steps"])

ENCODINGS: dict[str, wire.Encoding] = {
    s16.codec.media_type: "s16",
    float32.codec.media_type: "f32",
}
"""By media type."""


class _SamplesReply(msgspec.Struct, frozen=True, kw_only=True):
    """`wire.SamplesReply`, whose estimates are written."""

    session: str
    epoch: int
    next_seq: int
    next_sample: int
    estimates: list[msgspec.Raw]


@router.post("/v1/sessions/{session}/samples")
async def post_samples(
    session: str,
    request: Request,
    server: Server,
    owner: Owner,
    writer: Writer,
    offset: int,
    epoch: int | None = None,
) -> Response:
    """Filter samples of sound. The first one is sample `offset` of the epoch, from 0."""
    server.stopping.check()
    chunk = _chunk(request.headers.get("content-type", ""), await request.body(), offset)
    record = await server.sessions.record(session, owner=owner)
    if epoch not in (None, record.position.epoch):
        raise problems.EpochMismatchError(
            f"epoch is {epoch}, the session is in epoch {record.position.epoch}",
            session=session,
            expected_seq=record.position.seq + 1,
            expected_epoch=record.position.epoch,
        )
    run = Run(server.service, record, owner=owner)
    sound = SoundRun(run, record)
    most = server.settings.replay_window
    if sound.completes(len(chunk)) - 1 > most:
        raise problems.MalformedBodyError(
            f"{len(chunk)} samples complete more than {most} observations, which is the limit: send smaller chunks",
            session=session,
        )
    estimates = [part(writer, done.message()) async for done in sound.take(chunk)]
    await sound.keep()
    return reply(
        writer,
        _SamplesReply(
            session=session,
            epoch=run.epoch,
            next_seq=run.answered + 1,
            next_sample=sound.next_sample,
            estimates=estimates,
        ),
    )


def _chunk(content_type: str, body: bytes, offset: int) -> Samples:
    """The samples of a body. Raises UnsupportedMediaTypeError, MalformedBodyError."""
    media_type = media_type_of(content_type)
    if media_type not in ENCODINGS:
        raise problems.UnsupportedMediaTypeError(
            f"the body is {media_type or 'of no stated type'}, expected {' or '.join(ENCODINGS)}"
        )
    encoding = ENCODINGS[media_type]
    if not body or len(body) % WIDTHS[encoding]:
        raise problems.MalformedBodyError(
            f"the body has {len(body)} bytes, expected whole samples of {WIDTHS[encoding]} bytes, and at least one"
        )
    if not 0 <= offset <= MAX_SEQ:
        raise problems.MalformedBodyError(f"offset is no number in [0, {MAX_SEQ}]")
    return Samples(offset=offset, encoding=encoding, data=body)
