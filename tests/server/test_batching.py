"""The decisions of a tick."""

import numpy as np
from avf_server.stepping.decisions import (
    Verdict,
    judge,
    observation_digest,
    padded_size,
    take,
    warmed_sizes,
)
from avf_server.stores.base import Position
from avf_wire.rows import Observed
from hypothesis import given
from hypothesis import strategies as st

QUEUES = st.lists(st.integers(0, 5), max_size=40)


def one_tick(queue: list[tuple[int, int]], max_batch: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """One tick of a queue of numbered items, all of one owner."""
    taken, left, _ = take(
        queue, session=lambda item: item[1], owner=lambda item: "", weight=lambda item: 1, ahead={}, max_batch=max_batch
    )
    return taken, left


@given(QUEUES, st.integers(1, 8))
def test_a_tick_takes_at_most_one_frame_of_a_session_and_loses_none(sessions: list[int], max_batch: int) -> None:
    """Taken and left together are the queue; the taken are of different sessions, and within the limit."""
    taken, left = one_tick(list(enumerate(sessions)), max_batch)
    assert sorted(taken + left) == list(enumerate(sessions))
    assert len({session for _, session in taken}) == len(taken) <= max_batch
    assert left == sorted(left)


@given(QUEUES, st.integers(1, 8))
def test_ticks_keep_the_order_within_a_session_and_starve_nobody(sessions: list[int], max_batch: int) -> None:
    """Ticks until the queue is empty serve every session's frames in order, and the head of the queue always."""
    queue, served = list(enumerate(sessions)), []
    while queue:
        head = queue[0]
        taken, queue = one_tick(queue, max_batch)
        assert head in taken
        served += taken
    for session in set(sessions):
        order = [number for number, owner in served if owner == session]
        assert order == sorted(order)


@given(
    st.integers(1, 3), st.integers(0, 5), st.none() | st.integers(1, 3), st.integers(1, 8), st.booleans(), st.booleans()
)
def test_only_the_next_seq_of_the_current_epoch_applies(
    epoch: int, last: int, asked: int | None, seq: int, kept: bool, same: bool
) -> None:
    """The verdict follows the protocol's table."""
    mine, other = Observed(x=np.array([1.0, 0.0])), Observed(x=np.array([0.0, 1.0]))
    stored = None if not kept or seq > last else observation_digest(mine if same else other)
    verdict = judge(Position(epoch, last), epoch=asked, seq=seq, observed=mine, stored=stored)
    if asked not in (None, epoch):
        assert verdict is Verdict.OTHER_EPOCH
    elif seq == last + 1:
        assert verdict is Verdict.APPLY
    elif seq > last:
        assert verdict is Verdict.GAP
    else:
        expected = Verdict.REPLAY if same else Verdict.CONFLICT
        assert verdict is (expected if kept else Verdict.TOO_OLD)


def test_the_digest_knows_an_observation_again_and_tells_missing_from_zero() -> None:
    """Zero has one digest whatever its sign; missing is not zero. What came with an observation is part of it."""

    def digest(*x: float, inputs: tuple[float, ...] | None = None, time: float | None = None) -> bytes:
        came = None if inputs is None else np.array(inputs)
        return observation_digest(Observed(x=np.array(x), inputs=came, time=time))

    assert digest(0.0, 1.0) == digest(-0.0, 1.0)
    assert digest(np.nan, 1.0) == digest(-np.nan, 1.0)
    assert digest(np.nan, 1.0) != digest(0.0, 1.0)
    assert len({digest(0.0), digest(0.0, inputs=(0.0,)), digest(0.0, inputs=(1.0,)), digest(0.0, time=2.0)}) == 4


@given(st.integers(1, 300), st.data())
def test_batches_are_padded_to_a_warmed_size(max_batch: int, data: st.DataObject) -> None:
    """Every batch fits in the next size, which is one of few."""
    sizes = warmed_sizes(max_batch)
    rows = data.draw(st.integers(1, max_batch))
    assert rows <= padded_size(rows, sizes) <= max_batch
    assert padded_size(rows, sizes) in sizes
    assert list(sizes) == sorted(set(sizes))
