"""What the server did in the last minute: counted by hand, and forgotten when the minute is over."""

import pytest
from avf_server.metrics.last_minute import BOUNDS, SLICE, LastMinute


def test_nothing_has_happened_yet() -> None:
    """No rate, and no latency of answers that there were none of."""
    recent = LastMinute()
    assert (recent.rate(100.0), recent.latency(100.0, 0.5), recent.rows(100.0)) == (0.0, None, None)


def test_rates_are_of_the_last_ten_seconds() -> None:
    """Five steps a second for twenty seconds are five a second, whatever came before; after a pause, none."""
    recent = LastMinute()
    for step in range(1000):
        recent.stepped(step / 100, seconds=[0.001])
    for step in range(100):
        recent.stepped(20 + step / 5, seconds=[0.001])
    assert recent.rate(40.0) == pytest.approx(5.0)
    assert recent.rate(42.5) < 5.0
    assert recent.rate(60.0) == 0.0


def test_latencies_are_quantiles_of_the_last_minute() -> None:
    """To the width of a bucket; the slowest hundredth shows in p99 only; older answers do not count."""
    recent = LastMinute()
    for _ in range(1000):
        recent.stepped(1.0, seconds=[5.0])
    for step in range(1000):
        recent.stepped(100.0 + step / 100, seconds=[0.5 if step % 50 == 0 else 0.002])
    middle, slow = recent.latency(110.0, 0.5), recent.latency(110.0, 0.99)
    assert middle is not None
    assert slow is not None
    assert 0.002 <= middle <= 0.002 * 1.2
    assert 0.5 <= slow <= 0.5 * 1.2
    assert recent.latency(300.0, 0.5) is None


def test_what_is_slower_than_any_bound_counts_as_the_last() -> None:
    """It is not lost."""
    recent = LastMinute()
    recent.stepped(0.0, seconds=[1e6])
    assert recent.latency(1.0, 0.5) == BOUNDS[-1]


def test_batches_are_averaged() -> None:
    """Rows a tick; nothing grows with time."""
    recent = LastMinute()
    for second in range(1000):
        recent.ticked(float(second), rows=4 if second % 2 else 8)
    assert recent.rows(1000.0) == pytest.approx(6.0, abs=0.5)
    assert len(recent._slices) * SLICE <= 60.0
