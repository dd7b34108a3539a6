"""What a session's client remembers, and which calls it makes: no I/O. Both faces are thin faces of this.

The law: the place in the sequence moves on only by estimates that came; after a lost reply the same observation is
sent under the same `seq`, so that nothing is applied twice. What the server loses although it had answered, because
the session's durability is `behind`, is sent again; what cannot be sent again is an error.
"""

import warnings
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import avf_wire as wire
import numpy as np
from avf_wire import binary
from avf_wire.rows import RowForm

from avf_client.core import rest
from avf_client.core.protocol import Stream
from avf_client.core.sound import SoundStream
from avf_client.core.units import ForeignUnits, Watch
from avf_client.core.unsaved import SETTLED, Unsaved
from avf_client.errors import ConnectionFailed, InvalidArgument, ProblemError, ProtocolError, SequenceGap, refused
from avf_client.observations import Sent, Step, StepLike, to_sent
from avf_client.results.estimates import Estimate, from_wire
from avf_client.results.histories import History, of_entries

T = TypeVar("T")
Fields: TypeAlias = Literal["all", "scalars"]
Script: TypeAlias = Generator[rest.Call[Any], Any, T]
"""Calls to make, one after the other: each is sent its reply, or thrown its error; it returns what they came to."""

REFILLS = 8
"""How often in a row a server may lose what it had answered before that is an error."""


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How a stream is answered. Raises InvalidArgument.

    in_flight  how many observations may be unanswered; as many as the server allows where absent
    every      estimates come of observations `every`, 2 `every`, ... only
    fields     "all", or "scalars": estimates without arrays
    """

    in_flight: int | None = None
    every: int = 1
    fields: Fields = "all"

    def __post_init__(self) -> None:
        if self.in_flight is not None and self.in_flight < 1:
            raise InvalidArgument(f"in_flight is {self.in_flight}, expected at least 1")
        if self.every < 1:
            raise InvalidArgument(f"every is {self.every}, expected at least 1")
        if self.fields not in ("all", "scalars"):
            raise InvalidArgument(f"fields is {self.fields!r}, expected 'all' or 'scalars'")

    @property
    def query(self) -> dict[str, str]:
        """What stands in the stream's address."""
        given = {"every": str(self.every)} if self.every > 1 else {}
        return given | ({"fields": self.fields} if self.fields != "all" else {})


def listed(limit: int | None) -> Script[list[wire.SessionSummary]]:
    """The caller's sessions, page by page."""
    found: list[wire.SessionSummary] = []
    cursor: str | None = None
    while limit is None or len(found) < limit:
        page: wire.Sessions = yield rest.sessions(cursor=cursor)
        found += page.sessions
        cursor = page.cursor
        if cursor is None:
            break
    return found[:limit]


def form_of(info: wire.Session) -> RowForm:
    """What a session takes with each observation."""
    return RowForm(
        size=info.observation_size,
        input_size=info.input_size,
        timed=info.timed,
        wide=info.precision == "float64",
    )


class SessionCore:
    """The place of one session, (`epoch`, `next_seq`), and the calls and replies that move it."""

    def __init__(self, info: wire.Session) -> None:
        self.info = info
        self.epoch = info.epoch
        self.next_seq = info.next_seq
        self.next_sample = info.next_sample or 0
        self._unsaved = Unsaved(active=info.durability not in SETTLED)
        self._units = Watch(info=info, sparing=True)

    def place(self, info: wire.Session) -> None:
        """Stand where the server says the session stands; or where it will, once it has been sent what it lost."""
        if info.id != self.info.id:
            raise ProtocolError(f"the server answered for session {info.id}, not {self.info.id}")
        if info.epoch != self.epoch:
            self._unsaved.clear()
        elif info.next_seq < self.next_seq and self._unsaved.reaches(info.next_seq, self.next_seq):
            self.info = info
            return
        self.info, self.epoch, self.next_seq = info, info.epoch, info.next_seq
        self.next_sample = info.next_sample or 0

    @property
    def form(self) -> RowForm:
        """What the session takes with each observation."""
        return form_of(self.info)

    def steps(self, xs: Iterable[StepLike]) -> Script[list[Estimate]]:
        """Filter observations, at most 128 in a call, all checked before the first is sent.

        Raises ProblemError, whose `estimates` are those of the observations before the refused one.
        """
        checked = [to_sent(x, self.form) for x in xs]
        self._look(checked)
        estimates: list[Estimate] = []
        for start in range(0, len(checked), rest.CHUNK):
            chunk = checked[start : start + rest.CHUNK]
            try:
                estimates += yield from self._filtered(chunk)
            except ProblemError as error:
                if applied := self._applied_before(error, count=len(chunk)):
                    estimates += yield from self._filtered(chunk[:applied])
                error.estimates = estimates
                raise
        return estimates

    def history(self, newest: int | None) -> Script[History]:
        """The steps that the server remembers: all of them, page by page, or the newest."""
        page: wire.History = yield rest.history(self.info.id, newest=newest)
        entries = page.entries
        while page.more:
            page = yield rest.history(self.info.id, cursor=page.cursor)
            entries = entries + page.entries
        return of_entries(entries)

    def machine(self, options: StreamOptions) -> Stream:
        """A stream from here on: of samples where the session was opened with audio, else of observations."""
        if self.info.audio is None:
            return Stream(
                session=self.info.id,
                epoch=self.epoch,
                next_seq=self.next_seq,
                in_flight=options.in_flight,
                every=options.every,
                unsaved=self._unsaved,
            )
        return SoundStream(
            session=self.info.id,
            epoch=self.epoch,
            next_seq=self.next_seq,
            next_sample=self.next_sample,
            size=self.info.observation_size,
            encoding=self.info.audio.encoding,
            in_flight=options.in_flight,
            every=options.every,
            unsaved=self._unsaved,
        )

    def offer(self, machine: Stream, x: StepLike) -> None:
        """Give a stream what its source gave: a step, or a chunk of samples. Raises InvalidObservation."""
        if not isinstance(machine, SoundStream):
            sent = to_sent(x, self.form)
            self._look([sent])
            machine.offer(sent)
        elif isinstance(x, Step):
            raise InvalidArgument("a session of sound streams samples, with which nothing else comes")
        else:
            machine.offer_samples(x)

    def pieces(self, xs: Iterable[StepLike]) -> Iterable[StepLike]:
        """The source of a stream as pieces: one array of samples is one piece."""
        if self.info.audio is not None and isinstance(xs, np.ndarray) and xs.ndim == 1:
            return [xs]
        return xs

    def follow(self, machine: Stream) -> None:
        """Stand where a stream stands."""
        self.next_seq = machine.acknowledged
        if isinstance(machine, SoundStream):
            self.next_sample = machine.next_sample

    def _look(self, observations: Sequence[Sent]) -> None:
        """Warn of what looks as if it were in other units than the model's."""
        if self.info.center is None:
            return
        nothing = [None] * self.info.observation_size
        rows = [np.array(nothing if step.x is None else step.x, dtype=np.float64) for step in observations]
        for text in self._units.warnings(*rows):
            warnings.warn(text, ForeignUnits, stacklevel=2)

    def _filtered(self, observations: Sequence[Sent]) -> Script[list[Estimate]]:
        """One call's worth of observations; where the server has lost some that it had answered, those come first."""
        start = self.next_seq
        for _ in range(REFILLS):
            try:
                yield from self._refill(start)
                reply = yield self._call(self.next_seq, observations)
            except SequenceGap as gap:
                start = self._recoverable(gap)
            else:
                return self._take(reply, observations)
        raise ConnectionFailed(f"the server of session {self.info.id} loses what it answers, again and again")

    def _recoverable(self, gap: SequenceGap) -> int:
        """The `seq` from which on the server lost what this client still has. Raises `gap` where it has it not."""
        start = gap.problem.expected_seq
        if start is None or start >= self.next_seq or not self._unsaved.reaches(start, self.next_seq):
            raise gap
        return start

    def _refill(self, start: int) -> Script[None]:
        """Send again all from `start` on that was answered."""
        for first in range(start, self.next_seq, rest.CHUNK):
            again = range(first, min(first + rest.CHUNK, self.next_seq))
            reply = yield self._call(first, [self._lost(seq) for seq in again])
            self._unsaved.saved(reply.durable_seq)

    def _lost(self, seq: int) -> Sent:
        """Observation `seq`, which was answered and lost, as it was or would have been sent as such."""
        item = self._unsaved[seq]
        if not isinstance(item, binary.Samples):
            return item
        if len(item) != self.info.observation_size:
            raise refused(
                "sequence-gap",
                f"the server has lost observation {seq}, of which this client has {len(item)} samples only",
                status=409,
                session=self.info.id,
            )
        return Sent([float(sample) for sample in item.numbers()])

    def _call(self, seq: int, observations: Sequence[Sent]) -> rest.Call[wire.StepsReply]:
        times = [step.time for step in observations]
        request = wire.Steps(
            seq=seq,
            observations=[step.x for step in observations],
            epoch=self.epoch,
            inputs=[step.inputs or [] for step in observations] if self.form.input_size else None,
            times=None if all(time is None for time in times) else times,
        )
        return rest.steps(self.info.id, request)

    def _take(self, reply: wire.StepsReply, observations: Sequence[Sent]) -> list[Estimate]:
        """The estimates of a reply to these observations; moves on past them."""
        expected = range(self.next_seq, self.next_seq + len(observations))
        if [(e.epoch, e.seq) for e in reply.estimates] != [(self.epoch, seq) for seq in expected]:
            raise ProtocolError(f"the reply has not the estimates {expected.start} to {expected.stop - 1}")
        for seq, x in zip(expected, observations, strict=True):
            self._unsaved.answered(seq, x, durable_seq=reply.durable_seq)
        self.next_seq = expected.stop
        self.next_sample = (self.next_seq - 1) * self.info.observation_size  # without remainder
        return [from_wire(message) for message in reply.estimates]

    def _applied_before(self, error: ProblemError, *, count: int) -> int:
        """How many of `count` observations from `next_seq` on were applied before the refused one."""
        refused_seq = error.problem.seq
        if refused_seq is None or error.problem.expected_epoch is not None:
            return 0
        return min(max(0, refused_seq - self.next_seq), count)
