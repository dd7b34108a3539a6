"""The protocol as a state machine: two servers on one Redis, without transports, held to the table of docs/protocol.md.

Each rule sends something to either server and knows what must come back; what was applied is held to the library's own
run at the end of every example.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import avf_wire as wire
import msgspec
import pytest
from avf_server.problems import ProblemError
from avf_server.runtime import Runtime, open_runtime
from avf_server.settings import Settings
from avf_server.stepping.replies import Reply
from avf_server.stores.embedded import EmbeddedRedis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from .checker import TOLERANCE, difference
from .history import Value
from .offline import MODEL, Numbers, crowd, save_model, scan, value

pytestmark = pytest.mark.slow

WINDOW = 4
EXAMPLES, STEPS = 10, 40
servers = st.integers(0, 1)
observed = st.integers(0, 2**6 - 1)


def numbers(x: int) -> Numbers:
    """An observation by the bits of a number."""
    return [float(x >> i & 1) for i in range(6)]


def stored(reply: Reply) -> wire.Estimate:
    """The estimate as it was stored: what is durable is said when it is given."""
    estimate = reply.message()
    assert estimate.durable_seq is not None
    assert estimate.durable_seq >= reply.seq
    return msgspec.structs.replace(estimate, durable_seq=None)


@dataclass
class Expected:
    """A session as the protocol's page would have it. `before` is what its belief had seen when it began."""

    seed: int
    before: list[int] = field(default_factory=list)
    epoch: int = 1
    xs: list[int] = field(default_factory=list)
    replies: dict[int, wire.Estimate] = field(default_factory=dict)
    past: list[tuple[list[int], list[Value]]] = field(default_factory=list)

    @property
    def next_seq(self) -> int:
        return len(self.xs) + 1

    @property
    def values(self) -> list[Value]:
        """The estimates of this epoch."""
        return [value(self.replies[seq]) for seq in sorted(self.replies)]


class ProtocolMachine(RuleBasedStateMachine):
    """Sessions that are observed, by either server, in and out of order, reset, forked and ended."""

    sessions: Bundle[str] = Bundle("sessions")
    runner: asyncio.Runner  # these three are set by the test
    runtimes: list[Runtime]
    model: Path

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[str, Expected] = {}
        self.random = random.Random(0)
        self.touched: str | None = None

    def call(self, awaitable: Awaitable[Any]) -> Any:
        async def waited() -> Any:
            return await awaitable

        return self.runner.run(waited())

    def observe(self, server: int, session: str, seq: int, x: int, *, epoch: int | None = None) -> Any:
        """A reply, or the name of a problem."""

        async def asked() -> Any:
            try:
                service = self.runtimes[server].service
                return await service.observe(session, seq=seq, x=numbers(x), owner="", epoch=epoch)
            except ProblemError as problem:
                return problem

        self.touched = session
        return asked()

    @rule(target=sessions, server=servers, seed=st.integers(0, 3))
    def open(self, server: int, seed: int) -> str:
        request = wire.CreateSession(model=MODEL, seed=seed, **crowd(seed))
        session: str = self.call(self.runtimes[server].sessions.create(request, owner="")).id
        self.expected[session] = Expected(seed)
        return session

    @rule(server=servers, session=sessions, x=observed, named=st.booleans())
    def observe_next(self, server: int, session: str, x: int, named: bool) -> None:
        """The next seq is applied, by whichever server."""
        if kept := self.known(session):
            reply = self.call(self.observe(server, session, kept.next_seq, x, epoch=kept.epoch if named else None))
            self.applied(kept, x, reply)

    @rule(server=servers, session=sessions, back=st.integers(1, 6), other=st.booleans())
    def observe_again(self, server: int, session: str, back: int, other: bool) -> None:
        """A seq already applied: the stored reply; with another observation a conflict; too far back neither."""
        kept = self.known(session)
        if kept is None or back >= kept.next_seq:
            return
        seq = kept.next_seq - back
        x = kept.xs[seq - 1]
        answer = self.call(self.observe(server, session, seq, x ^ 1 if other else x))
        if back > WINDOW:
            assert answer.name in ("replay-window-passed", "session-moved")
        elif other:  # a server that does not know yet that another has gone on finds out by its commit
            assert answer.name in ("observation-conflict", "session-moved")
        else:
            assert (answer.epoch, answer.seq, stored(answer)) == (kept.epoch, seq, kept.replies[seq])

    @rule(server=servers, session=sessions, ahead=st.integers(1, 3), epochs=st.sampled_from([-1, 0, 1]), x=observed)
    def observe_astray(self, server: int, session: str, ahead: int, epochs: int, x: int) -> None:
        """A gap, and another epoch, are refused, and the problem says where the session stands."""
        if kept := self.known(session):
            seq = kept.next_seq + (ahead if epochs == 0 else 0)
            answer = self.call(self.observe(server, session, seq, x, epoch=kept.epoch + epochs))
            assert answer.name == ("sequence-gap" if epochs == 0 else "epoch-mismatch")
            assert (answer.expected_epoch, answer.expected_seq) == (kept.epoch, kept.next_seq)

    @rule(session=sessions, xs=st.tuples(observed, observed))
    def race(self, session: str, xs: tuple[int, int]) -> None:
        """Both servers are given the next seq at once: one applies it; the other says the same, or refuses."""
        if kept := self.known(session):
            seq = kept.next_seq
            calls = [self.observe(server, session, seq, x) for server, x in enumerate(xs)]
            answers = self.call(asyncio.gather(*calls))
            good = [i for i, answer in enumerate(answers) if not isinstance(answer, ProblemError)]
            self.applied(kept, xs[good[0]], answers[good[0]])
            for i, answer in enumerate(answers):
                if i in good:
                    assert stored(answer) == kept.replies[seq]
                    assert xs[i] == kept.xs[-1]
                else:
                    assert answer.name in ("observation-conflict", "session-moved")

    @rule(server=servers, session=sessions, x=observed, turns=st.integers(0, 6))
    def leave(self, server: int, session: str, x: int, turns: int) -> None:
        """A client leaves at some moment: its observation was applied or not, and sending it again finds out."""
        kept = self.known(session)
        if kept is None:
            return

        async def cut() -> None:
            task = asyncio.ensure_future(self.observe(server, session, kept.next_seq, x))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.call(cut())
        self.applied(kept, x, self.call(self.observe(1 - server, session, kept.next_seq, x)))

    @rule(server=servers, session=sessions)
    def reset(self, server: int, session: str) -> None:
        """A new epoch begins at the prior."""
        if kept := self.known(session):
            found = self.call(self.runtimes[server].sessions.reset(session, owner=""))
            kept.past.append((kept.before + kept.xs, kept.values))
            kept.epoch, kept.before, kept.xs, kept.replies = kept.epoch + 1, [], [], {}
            assert (found.epoch, found.next_seq) == (kept.epoch, 1)

    @rule(target=sessions, server=servers, session=sessions)
    def fork(self, server: int, session: str) -> str:
        """A second session goes on from here."""
        kept = self.known(session)
        if kept is None:
            return session
        found = self.call(self.runtimes[server].branches.fork(session, wire.Branch(), owner=""))
        self.expected[found.id] = Expected(kept.seed, before=kept.before + kept.xs)
        name: str = found.id
        return name

    @rule(server=servers, session=sessions)
    def end(self, server: int, session: str) -> None:
        """A session that has ended is known to nobody."""
        if kept := self.known(session):
            kept.past.append((kept.before + kept.xs, kept.values))
            self.call(self.runtimes[server].sessions.delete(session, owner=""))
            self.check(self.expected.pop(session))
            for other in (0, 1):
                assert self.call(self.observe(other, session, kept.next_seq, 0)).name == "unknown-session"

    @invariant()
    def stands_as_expected(self) -> None:
        """Either server says where the session stands."""
        if self.touched in self.expected:
            kept = self.expected[self.touched]
            found = self.call(self.runtimes[self.random.randrange(2)].sessions.session(self.touched, owner=""))
            assert (found.epoch, found.next_seq) == (kept.epoch, kept.next_seq)

    def known(self, session: str) -> Expected | None:
        self.touched = session
        return self.expected.get(session)

    def applied(self, kept: Expected, x: int, reply: Any) -> None:
        """The next observation has been applied."""
        assert not isinstance(reply, ProblemError), reply
        assert (reply.epoch, reply.seq) == (kept.epoch, kept.next_seq)
        kept.xs.append(x)
        kept.replies[reply.seq] = stored(reply)

    def teardown(self) -> None:
        for kept in self.expected.values():
            kept.past.append((kept.before + kept.xs, kept.values))
            self.check(kept)

    def check(self, kept: Expected) -> None:
        """Every estimate of every epoch is that of the library's own run."""
        for xs, values in kept.past:
            if values:
                truth = scan(self.model, kept.seed, [numbers(x) for x in xs])[-len(values) :]
                assert max(difference(one, other) for one, other in zip(values, truth, strict=True)) < TOLERANCE


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[ProtocolMachine]]:
    """The machine, with two servers on a real Redis."""
    model = save_model(tmp_path_factory.mktemp("model"))
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis, asyncio.Runner() as runner:
        options = Settings(
            redis_url=redis.url,
            models=(str(model),),
            redis_timeout_s=5.0,
            threads=1,
            max_batch=2,
            replay_window=WINDOW,
        )
        stack = contextlib.AsyncExitStack()

        async def opened() -> list[Runtime]:
            return [await stack.enter_async_context(open_runtime(options)) for _ in range(2)]

        runtimes = runner.run(opened())
        yield type("Machine", (ProtocolMachine,), {"runner": runner, "runtimes": runtimes, "model": model})
        runner.run(stack.aclose())


def test_two_servers_keep_the_protocol_in_any_order(machine: type[ProtocolMachine]) -> None:
    """Whatever is sent to whichever server, the answers are those of the table, and the estimates the library's."""
    quick = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # real servers: to shrink an example would take minutes
    )
    run_state_machine_as_test(machine, settings=quick)
