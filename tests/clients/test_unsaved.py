"""What a client keeps of what was answered and is not saved: all of that, and nothing else."""

import pytest
from avf_client.core.unsaved import Unsaved
from avf_client.observations import Sent


@pytest.mark.parametrize("durable", range(6))
def test_what_is_saved_is_kept_no_longer(durable: int) -> None:
    """Up to the seq that was named, and that one too; what comes after it stays, whole."""
    unsaved = Unsaved(active=True)
    for seq in range(1, 6):
        unsaved.answered(seq, Sent([float(seq)]), durable_seq=0)
    unsaved.saved(durable)
    assert len(unsaved) == 5 - durable
    for seq in range(1, 6):
        assert unsaved.reaches(seq, 6) is (seq > durable)
    assert [unsaved[seq] for seq in range(durable + 1, 6)] == [Sent([float(seq)]) for seq in range(durable + 1, 6)]


def test_an_answer_that_says_that_it_is_saved_leaves_nothing() -> None:
    """Itself included; without a word on saves, all are kept."""
    told, untold = Unsaved(active=True), Unsaved(active=True)
    for seq in (1, 2, 3):
        told.answered(seq, Sent([0.0]), durable_seq=seq)
        untold.answered(seq, Sent([0.0]), durable_seq=None)
    assert (len(told), len(untold)) == (0, 3)
    inactive = Unsaved()
    inactive.answered(1, Sent([0.0]), durable_seq=0)
    assert len(inactive) == 0


def test_past_the_bound_the_oldest_go() -> None:
    """The bound counts numbers, not observations, and all of it may be used; what is missing counts as one."""
    unsaved = Unsaved(active=True, most=7)
    for seq, x in enumerate(([0.0] * 3, None, [0.0] * 3), 1):
        unsaved.answered(seq, Sent(x), durable_seq=0)
    assert unsaved.reaches(1, 4)
    unsaved.answered(4, Sent(None), durable_seq=0)
    assert not unsaved.reaches(1, 5)
    assert unsaved.reaches(2, 5)
    unsaved.clear()
    for seq in (1, 2):
        unsaved.answered(seq, Sent([0.0] * 3), durable_seq=0)
    assert unsaved.reaches(1, 3)
