"""Tests and the servers that they run in threads may both parse Python, whatever Python this is."""

import ast
import gc
import sys
import threading
from collections.abc import Iterator

import pytest

SOURCE = "\n".join(
    f"def f{i}(a, b=[{i}, (1, 2)]):\n    return {{'x': a[b:{i}] + (lambda q: q*{i})(b)}}" for i in range(40)
)


class Lingering:
    """What is collected by Python code, which lets other threads in wherever it runs."""

    def __init__(self) -> None:
        self.own = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can, and collections come often."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def test_threads_that_parse_at_the_same_time_do_not_disturb_each_other(restless: None) -> None:
    """At whatever depth of calls each of them is."""
    faults: list[SystemError] = []

    def parse(depth: int) -> None:
        if depth:
            return parse(depth - 1)
        for _ in range(25):
            Lingering()
            try:
                ast.parse(SOURCE)
            except SystemError as fault:
                faults.append(fault)
        return None

    threads = [threading.Thread(target=parse, args=(depth,)) for depth in (5, 30, 60, 120)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
