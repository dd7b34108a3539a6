"""Beliefs that are ready: what was used least recently makes room, and what is doubted is dropped."""

import random
from collections import OrderedDict

import pytest
from avf_server.stepping.cached import CachedBelief, CachedBeliefs
from avf_server.stores.base import Position
from avf_server.stores.kept import Kept


def entry(seq: int) -> CachedBelief:
    return CachedBelief(position=Position(1, seq), kept=Kept(b"%d" % seq))


def test_what_was_asked_for_stays_and_what_was_not_makes_room() -> None:
    """To be asked for is to be used: of two, the one that was put first stays where it was asked for last."""
    cache = CachedBeliefs(2)
    cache.put("a", entry(1))
    cache.put("b", entry(2))
    assert cache.get("a") == entry(1)
    cache.put("c", entry(3))
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (entry(1), None, entry(3))


def test_what_is_put_again_is_the_most_recent() -> None:
    """And holds what was put last; nothing is counted twice."""
    cache = CachedBeliefs(2)
    for name, seq in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.put(name, entry(seq))
    assert len(cache) == 2
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (entry(3), None, entry(4))


def test_what_stands_elsewhere_is_forgotten() -> None:
    """An entry of another place than where the session was found; at its own place it stays."""
    cache = CachedBeliefs(2)
    cache.put("a", entry(1))
    cache.found("a", Position(1, 1))
    cache.found("b", Position(1, 1))
    assert cache.get("a") == entry(1)
    for elsewhere in (Position(1, 2), Position(2, 1)):
        cache.put("a", entry(1))
        cache.found("a", elsewhere)
        assert cache.get("a") is None


@pytest.mark.parametrize("capacity", [1, 3])
def test_any_calls_leave_what_a_list_in_order_of_use_leaves(capacity: int) -> None:
    """A thousand calls, beside a list that says what should be there."""
    draw, cache = random.Random(capacity), CachedBeliefs(capacity)
    expected: OrderedDict[str, CachedBelief] = OrderedDict()
    for seq in range(1000):
        name = draw.choice("abcde")
        match draw.choice(["get", "put", "drop"]):
            case "get":
                assert cache.get(name) == expected.get(name)
                if name in expected:
                    expected[name] = expected.pop(name)
            case "put":
                cache.put(name, entry(seq))
                expected.pop(name, None)
                expected[name] = entry(seq)
                expected = OrderedDict(list(expected.items())[-capacity:])
            case "drop":
                cache.drop(name)
                expected.pop(name, None)
        assert len(cache) == len(expected)
