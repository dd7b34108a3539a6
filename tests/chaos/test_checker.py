"""The judge is judged: each kind of violation, made by hand, is found, and nothing else is."""

import pytest

from .checker import Findings, check
from .history import Accepted, Event, History, Opened, Reply, Reset, Sent, Stood, Unknown, Value


def truth(session: str, epoch: int, count: int) -> list[Value]:
    """The estimate of seq is (epoch, seq)."""
    return [(float(epoch), float(seq)) for seq in range(1, count + 1)]


def sent(seq: int, at: float, *, epoch: int = 1, stream: str = "a") -> Sent:
    return Sent(stream=stream, session="s", epoch=epoch, seq=seq, at=at)


def reply(
    seq: int,
    at: float,
    *,
    epoch: int = 1,
    stream: str = "a",
    value: Value | None = None,
    durable: int | None = None,
) -> Reply:
    return Reply(
        stream=stream,
        session="s",
        epoch=epoch,
        seq=seq,
        value=(float(epoch), float(seq)) if value is None else value,
        durable=seq if durable is None else durable,
        asked=at - 0.5,
        at=at,
    )


def stood(next_seq: int, at: float, *, epoch: int = 1, asked: float | None = None) -> Stood:
    return Stood(session="s", epoch=epoch, next_seq=next_seq, asked=at - 0.5 if asked is None else asked, at=at)


def judged(*events: Event, durability: str = "group") -> Findings:
    return check(History([Opened(session="s", seed=1, durability=durability), *events]), truth)[durability]


def kinds(findings: Findings) -> set[str]:
    """The kinds of violations that were found."""
    return {name for name in ("lost", "doubled", "wrong", "reordered", "epochs") if getattr(findings, name)}


THREE: list[Event] = [sent(1, 1.0), sent(2, 1.0), sent(3, 1.0), reply(1, 2.0), reply(2, 3.0), reply(3, 4.0)]
AGAIN: list[Event] = [sent(3, 5.0, stream="b"), reply(3, 6.0, stream="b")]


def test_a_history_as_it_should_be_passes() -> None:
    """Retries, replays, a crash of the client, a reset: nothing is found, and each seq is counted once."""
    findings = judged(
        *THREE,
        *AGAIN,
        stood(4, 7.0),
        Reset(session="s", at=8.0),
        stood(1, 9.0, epoch=2),
        sent(1, 10.0, epoch=2, stream="c"),
        reply(1, 11.0, epoch=2, stream="c"),
    )
    assert findings == Findings(acknowledged=4)


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        ("lost", [*THREE, stood(3, 6.0)]),
        ("lost", [*THREE, Unknown(session="s", asked=5.0, at=6.0)]),
        ("lost", [*THREE, stood(4, 5.0), stood(3, 7.0)]),
        ("lost", [Reset(session="s", at=0.5), stood(1, 0.9, epoch=2), stood(4, 7.0), *THREE]),
        ("doubled", [*THREE, sent(3, 5.0, stream="b"), reply(3, 6.0, stream="b", value=(1.0, 3.0 + 1e-9))]),
        ("doubled", [*THREE, stood(5, 6.0)]),
        ("doubled", [*THREE, Accepted(session="s", epoch=1, seq=2, at=6.0)]),
        ("wrong", [sent(1, 1.0), reply(1, 2.0, value=(1.0, 1.001))]),
        ("wrong", [sent(1, 1.0), reply(1, 2.0, value=(1.0, float("nan")))]),
        ("reordered", [sent(1, 1.0), sent(2, 1.0), reply(2, 2.0), reply(1, 3.0)]),
        ("reordered", [sent(1, 1.0), sent(2, 1.0), reply(2, 2.0)]),
        ("reordered", [sent(1, 1.0), reply(1, 2.0), reply(1, 3.0)]),
        ("epochs", [*THREE, stood(1, 6.0, epoch=2)]),
        ("epochs", [sent(1, 1.0, epoch=2), reply(1, 2.0, epoch=2), Reset(session="s", at=3.0)]),
    ],
)
def test_a_violation_is_found_and_named(kind: str, events: list[Event]) -> None:
    """Lost acknowledgements, double applications, wrong estimates, disorder, and epochs out of nowhere."""
    assert kinds(judged(*events)) == {kind}


def test_an_answer_is_held_to_what_came_before_it_was_asked_for() -> None:
    """A look that was under way while a step was acknowledged may have seen the session before it."""
    assert judged(*THREE, stood(3, 6.0, asked=3.5)).violations == []
    assert kinds(judged(*THREE, stood(3, 6.0, asked=4.5))) == {"lost"}


def test_behind_may_fall_back_to_what_it_called_durable_and_no_further() -> None:
    """Steps that were told to be not yet durable are rolled back; one that was told to be durable is lost."""
    told = [sent(1, 1.0), sent(2, 1.0), sent(3, 1.0), *(reply(seq, 1.0 + seq, durable=1) for seq in (1, 2, 3))]
    fallen = judged(*told, stood(2, 6.0), durability="behind")
    assert (fallen.violations, fallen.rolled_back) == ([], 2)
    assert kinds(judged(*told, stood(1, 6.0), durability="behind")) == {"lost"}
    again = [sent(2, 7.0, stream="b"), reply(2, 8.0, stream="b", value=(1.0, 2.0 + 1e-9))]
    assert judged(*told, stood(2, 6.0), *again, durability="behind").violations == []


@pytest.mark.parametrize(("count", "apart", "kind"), [(3, 0.1, None), (70, 0.01, "lost"), (3, 5.0, "lost")])
def test_behind_may_lose_its_window_and_no_more(count: int, apart: float, kind: str | None) -> None:
    """More steps, or steps over more time, than the window are a violation, though none was called durable."""
    asked = [sent(seq, 0.5) for seq in range(1, count + 1)]
    told = [reply(seq, 1.0 + apart * seq, durable=0) for seq in range(1, count + 1)]
    assert kinds(judged(*asked, *told, stood(1, 100.0), durability="behind")) == ({kind} if kind else set())
