"""Watching all of an owner's sessions: latest wins, nothing is counted twice, nothing of others is seen."""

import avf_wire as wire
from avf_server.stores.base import Position
from avf_server.watching.feed import Feed, Moved, Watch


def session(name: str, *, epoch: int = 1, next_seq: int = 1) -> wire.Session:
    """A session of this id."""
    sizes = {"seed": 0, "iterations": 0, "observation_size": 1, "latent_size": 1}
    return wire.Session(
        id=name,
        model="m",
        model_digest="",
        epoch=epoch,
        next_seq=next_seq,
        durability="group",
        created_at=0.0,
        expires_in=1.0,
        **sizes,
    )


def test_a_watch_holds_the_latest_of_each_session() -> None:
    """However many steps: one entry, with their number; told once."""
    watch = Watch()
    watch.opened(session("a"))
    for seq in range(1, 1001):
        watch.stepped("a", Position(1, seq), b"%d" % seq)
    opened, moved, ended = watch.take()
    assert [each.id for each in opened] == ["a"]
    assert moved == [Moved("a", 1000, Position(1, 1000), b"1000")]
    assert ended == []
    assert watch.take() == ([], [], [])


def test_no_step_is_counted_twice_whoever_tells_of_it() -> None:
    """What a look at the store finds may be older or newer than what this server has just done."""
    watch = Watch()
    watch.opened(session("a", next_seq=11))
    watch.stepped("a", Position(1, 12), b"12")
    watch.stepped("a", Position(1, 11), b"11")
    watch.stepped("a", Position(1, 12), b"12")
    watch.stepped("a", Position(1, 15), b"15")
    assert watch.take()[1] == [Moved("a", 5, Position(1, 15), b"15")]
    watch.stepped("a", Position(2, 3), b"3")
    assert watch.take()[1] == [Moved("a", 3, Position(2, 3), b"3")]


def test_sessions_that_come_and_go_unseen_are_not_told() -> None:
    """Opened and ended between two looks is nothing; ended is told once, and what it did before is not."""
    watch = Watch()
    watch.opened(session("a"))
    watch.ended("a")
    assert watch.take() == ([], [], [])
    watch.opened(session("b"))
    watch.take()
    watch.stepped("b", Position(1, 1), b"1")
    watch.ended("b")
    watch.ended("b")
    watch.ended("never")
    assert watch.take() == ([], [], ["b"])


def test_owners_see_their_own_and_watches_end() -> None:
    """Two pages of one owner see the same; another owner nothing; who has left is forgotten."""
    feed = Feed()
    first, second, other = feed.watch("me"), feed.watch("me"), feed.watch("you")
    feed.opened("me", session("a"))
    feed.stepped("me", "a", Position(1, 1), b"1")
    assert first.take() == second.take() != ([], [], [])
    assert other.take() == ([], [], [])
    feed.ended("me", "a")
    feed.leave("me", first)
    assert second.take()[2] == ["a"]
    feed.leave("me", second)
    feed.leave("you", other)
    assert not feed._watches
    feed.stepped("me", "a", Position(1, 2), b"2")
