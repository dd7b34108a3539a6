"""One thread or all: what is faster goes on, by the times that it is told."""

from collections.abc import Callable

from avf_core.native.crossing import AGAIN, TRIES, Crossing


def used(crossing: Crossing, rows: int, seconds: Callable[[int], float], *, calls: int, most: int = 4) -> list[int]:
    """The threads of so many calls, each of which takes as long as is said of its number of threads."""
    found = []
    for _ in range(calls):
        threads = crossing.threads(rows, most)
        crossing.took(rows, threads, seconds(threads))
        found.append(threads)
    return found


def test_both_are_tried_and_the_faster_goes_on() -> None:
    """In turns at first, then the one; the other again only now and then."""
    for pays in (True, False):
        faster = dict.fromkeys((1, 4), 2.0) | {4 if pays else 1: 1.0}
        threads = used(Crossing(), 8, faster.__getitem__, calls=200)
        assert threads[: 2 * TRIES] == [4, 1] * TRIES
        others = [place + 1 for place, count in enumerate(threads) if place >= 2 * TRIES and (count > 1) != pays]
        assert others == [AGAIN]


def test_sizes_of_batches_are_told_apart() -> None:
    """Small batches stay with one thread, where large ones take all; what a size is told is not told of others."""
    crossing = Crossing()
    small = used(crossing, 2, lambda count: 1.0 if count == 1 else 3.0, calls=20)
    large = used(crossing, 64, lambda count: 8.0 if count == 1 else 3.0, calls=20)
    assert small[2 * TRIES :] == [1] * 14
    assert large[2 * TRIES :] == [4] * 14
    assert used(crossing, 2, lambda count: 1.0, calls=1) == [1]


def test_there_is_no_more_than_one_thread_a_row_nor_than_there_are() -> None:
    """One row, or one thread, is no choice."""
    assert used(Crossing(), 1, float, calls=10) == [1] * 10
    assert used(Crossing(), 9, float, calls=10, most=1) == [1] * 10
    assert max(used(Crossing(), 3, float, calls=10, most=16)) == 3


def test_what_is_tried_again_may_take_over() -> None:
    """Where the machine has become busy, or idle again, the other is found within a few tries."""
    crossing = Crossing()
    assert used(crossing, 8, lambda count: 1.0 if count > 1 else 2.0, calls=20)[-1] == 4
    assert used(crossing, 8, lambda count: 9.0 if count > 1 else 2.0, calls=20)[-1] == 1
    back = used(crossing, 8, lambda count: 1.0 if count > 1 else 2.0, calls=8 * AGAIN)
    assert back[-1] == 4


def test_a_call_that_was_interrupted_says_little() -> None:
    """One that takes a thousand times as long counts as twice."""
    crossing = Crossing()
    used(crossing, 8, lambda count: 1.0 if count > 1 else 2.0, calls=20)
    used(crossing, 8, lambda count: 1000.0, calls=1)
    assert used(crossing, 8, lambda count: 1.0 if count > 1 else 2.0, calls=1) == [4]
