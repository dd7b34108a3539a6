"""A stream stands by a server that is busy: what passes by itself ends no stream before its time."""

from typing import Any, cast

import pytest
from avf_client import errors
from avf_client.core import retries
from avf_client.core.protocol import Stream
from avf_client.core.retries import Retry
from avf_client.core.running import Run
from avf_client.core.session import StreamOptions
from avf_client.errors import refused

MINUTE = 60.0


class Core:
    """A session that stands at its beginning."""

    def machine(self, options: StreamOptions) -> Stream:
        """A stream of it, with one observation that is not answered."""
        machine = Stream(session="s", epoch=1, next_seq=1)
        machine._keep([0.0])
        return machine

    def follow(self, machine: Stream) -> None:
        """It stays there."""


def run(retry: Retry) -> Run:
    """A run of a stream through that session."""
    return Run(cast(Any, Core()), retry, StreamOptions())


def patience(stream: Run, error: errors.AvfClientError, now: float) -> float | None:
    """Seconds until the next try; None where the error is raised."""
    try:
        wait = stream.lost(error, now=now)
    except errors.ProblemError:
        return None
    return wait


@pytest.mark.parametrize("name", ["store-unavailable", "overloaded", "not-replicated"])
def test_a_busy_server_is_asked_for_as_long_as_a_stream_may_wait(name: str) -> None:
    """However often it says so; the waits stay within the longest, and the end is that of `total`."""
    stream, now, tries = run(Retry(first=0.01, most=1.0, total=MINUTE)), 0.0, 0
    busy = refused(name, "not now", status=503, session="s")
    while (wait := patience(stream, busy, now)) is not None:
        assert 0.0 <= wait <= 1.0
        now, tries = now + wait + 0.01, tries + 1
    assert now > MINUTE - 1.1
    assert tries > 8


def test_a_server_that_is_not_there_is_given_up_after_some_tries() -> None:
    """Eight in a row; and one that was told to try once does."""
    stream = run(Retry(first=0.01))
    for _ in range(7):
        stream.lost(retries.NeverSent("nobody is there"), now=0.0)
    with pytest.raises(errors.ConnectionFailed):
        stream.lost(retries.NeverSent("nobody is there"), now=0.0)
    with pytest.raises(errors.ProblemError):
        run(Retry(attempts=1)).lost(refused("overloaded", "not now", status=503, session="s"), now=0.0)
