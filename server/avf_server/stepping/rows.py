"""One observation on its way through a tick, and what it becomes at each stage: a row, a commit, a reply.

The law: an answer is given once; to a client that has gone, not at all (a cancelled future refuses results). Who is
told of it is told at once, and what fails there fails nobody else.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

import avf_wire as wire
import msgspec
from avf_wire.binary import Floats
from avf_wire.rows import Observed, RowForm

from avf_server import problems
from avf_server.models.setups import Setup
from avf_server.problems import ProblemError
from avf_server.sessions.clocks import Moment
from avf_server.sessions.known import Known
from avf_server.stepping import decisions
from avf_server.stepping.cached import CachedBelief
from avf_server.stepping.deadlines import Asked
from avf_server.stepping.decisions import Verdict, observation_digest
from avf_server.stepping.observations import to_stored
from avf_server.stepping.replies import Reply
from avf_server.stores import kept
from avf_server.stores.base import Commit, Meta, Position, Step
from avf_server.stores.kept import Kept
from avf_server.stores.replies import digest_of, pack

logger = logging.getLogger(__name__)

Told = Callable[[asyncio.Future[Reply]], None]
"""Who hears of an answer as it is given, not by a turn of the event loop."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One observation to filter. `belief` is as it was saved, None at the start of an epoch.

    `x` has shape (observation,), in the model's precision, NaN where nothing was observed; `inputs` are there where
    the model takes them, `moment` where it takes times; `beside` is what is kept with the belief to judge steps by.
    """

    setup: Setup
    durability: wire.Durability
    belief: bytes | None
    seed: int
    continues: Position
    x: Floats
    inputs: Floats | None = None
    moment: Moment | None = None
    beside: bytes | None = None


class Stepped(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a row: the belief after it, the estimate and its note, as they are kept."""

    belief: bytes
    estimate: bytes
    note: bytes
    beside: bytes | None = None


class Frame(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One observation on its way, of a model that takes `form`, filtered as `setup` says; `answer` is waited for.

    `came` is when, in seconds of the event loop's clock; `queued` is when it began to wait here, by the monotonic one.
    `told` hears of the answer, where somebody does not wait for it.
    """

    meta: Meta
    epoch: int | None
    seq: int
    observed: Observed
    form: RowForm
    setup: Setup
    answer: asyncio.Future[Reply]
    came: float
    queued: float
    told: Told | None = None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that applies, what it continues, and when it was, where its session has a clock."""

    frame: Frame
    continues: CachedBelief
    moment: Moment | None = None


def to_frame(
    known: Known, *, epoch: int | None, seq: int, observed: Observed, came: float, told: Told | None = None
) -> Frame:
    """An observation of a session, as it begins to wait."""
    return Frame(
        meta=known.meta,
        epoch=epoch,
        seq=seq,
        observed=observed,
        form=known.form,
        setup=known.setup,
        answer=asyncio.get_running_loop().create_future(),
        came=came,
        queued=monotonic(),
        told=told,
    )


def judge(frame: Frame, position: Position, reply: bytes | None) -> Verdict:
    """What is to be done with the frame where its session stands there, with that stored reply."""
    stored = None if reply is None else digest_of(reply)
    return decisions.judge(position, epoch=frame.epoch, seq=frame.seq, observed=frame.observed, stored=stored)


def to_asked(item: Ready, *, now: float, samples: tuple[int, int]) -> Asked:
    """What the frame asks of a tick that is filtered from `now` on, in seconds of the event loop's clock.

    `samples` are the most gradient samples of an iteration of its model, and the fewest.
    """
    meta = item.frame.meta
    left = None if meta.deadline_s is None else item.frame.came + meta.deadline_s - now
    most, least = samples
    return Asked(
        model=meta.model, iterations=meta.iterations, left=left, rows=meta.particles, samples=most, least=least
    )


def to_row(item: Ready, *, iterations: int, samples: int | None = None) -> Row:
    """The frame as the engine takes it; None for as many gradient samples as its model has."""
    meta, setup = item.frame.meta, item.frame.setup
    if setup.iterations != iterations or samples is not None:
        setup = replace(setup, iterations=iterations, gradient_samples=samples or 0)
    return Row(
        setup=setup,
        durability=meta.durability,
        belief=item.continues.kept.belief,
        seed=meta.seed,
        continues=item.continues.position,
        x=item.frame.observed.x,
        inputs=item.frame.observed.inputs,
        moment=item.moment,
        beside=item.continues.kept.beside,
    )


def after(item: Ready, stepped: Stepped) -> CachedBelief:
    """Where the session stands after a step, and what it goes on from."""
    at = item.continues.position
    time = None if item.moment is None else item.moment.time
    return CachedBelief(position=Position(at.epoch, at.seq + 1), kept=Kept(stepped.belief, time, stepped.beside))


def to_commit(item: Ready, stepped: Stepped, following: CachedBelief) -> Commit:
    """The step as the store takes it, after which the session stands at `following`."""
    frame, belief = item.frame, kept.pack(following.kept)
    assert belief is not None
    reply = pack(observation_digest(frame.observed), to_stored(frame.observed, frame.form), stepped.estimate)
    return Commit(
        session=frame.meta.id,
        continues=item.continues.position,
        belief=belief,
        steps=(Step(reply=reply, note=stepped.note),),
    )


def refusal(frame: Frame, verdict: Verdict | None, position: Position, *, window: int) -> ProblemError:
    """The problem of an observation that does not apply; None means that another server has gone on."""
    expected, seq = position.seq + 1, frame.seq
    known: dict[Verdict | None, tuple[type[ProblemError], str]] = {
        None: (problems.SessionMovedError, "another server has gone on with the session; ask again"),
        Verdict.GAP: (problems.SequenceGapError, f"seq is {seq}, expected {expected}"),
        Verdict.TOO_OLD: (
            problems.ReplayWindowPassedError,
            f"the reply to seq {seq} is no longer stored: the last {window} are; the next seq is {expected}",
        ),
        Verdict.CONFLICT: (
            problems.ObservationConflictError,
            f"seq {seq} was applied with another observation; the next seq is {expected}",
        ),
        Verdict.OTHER_EPOCH: (
            problems.EpochMismatchError,
            f"epoch is {frame.epoch}, the session is in epoch {position.epoch}, at seq {expected}",
        ),
    }
    kind, detail = known[verdict]
    return kind(detail, expected_seq=expected, expected_epoch=position.epoch)


def give(frame: Frame, reply: Reply) -> None:
    """Give the frame its reply."""
    if not frame.answer.done():
        frame.answer.set_result(reply)
        _tell(frame)


def refuse(frame: Frame, problem: ProblemError) -> None:
    """Give the frame its problem."""
    if not frame.answer.done():
        frame.answer.set_exception(problem)
        _tell(frame)


def _tell(frame: Frame) -> None:
    if frame.told is None:
        return
    try:
        frame.told(frame.answer)
    except Exception:
        logger.exception("who was to hear of the answer to seq %d failed", frame.seq)
