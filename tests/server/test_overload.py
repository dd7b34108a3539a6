"""The short form of `benchmarks/overload.py`: what must hold, and no figure of speed."""

from typing import Any

import pytest

from benchmarks import overload

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_threefold_overload_closes_no_healthy_socket_and_takes_bounded_memory(server: Any) -> None:
    """Streams that offer more than can be filtered are answered in order, later; nothing is refused or piled up."""
    result = overload.overload(server.url, server.pid, streams=24, seconds=3.0)
    assert result["closed_sockets"] == 0
    assert result["refused"] == 0
    assert result["answered_per_second"] > 0
    assert result["memory_after_mib"] - result["memory_before_mib"] < 64


def test_neighbours_of_misbehaving_clients_are_not_closed(server: Any) -> None:
    """A client that does not read, one that writes too fast and one that vanishes, beside four healthy streams."""
    result = overload.neighbours(server.url, streams=4, window=2.0, windows=1)
    assert result["closed_sockets"] == 0
    assert result["beside_misbehaving_p99_ms"] > 0.0
