"""Connections on which nobody is known yet: bounded in number, in bytes and in time, and told why they end."""

import json
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from avf_server.serve import connections, descriptors

from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow

MOST = 24
HALF = b"GET /health/live HTTP/1.1\r\nHost: avf\r\nX-More: "
WHOLE = b"GET /health/live HTTP/1.1\r\nHost: avf\r\n\r\n"
POST = b"POST /v1/sessions HTTP/1.1\r\nHost: avf\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
BODY = b'{"model":"tiny"}'


@pytest.fixture(scope="module")
def hasty(serve: Callable[..., Any], redis_server: Any) -> Iterator[str]:
    """A server that waits a second for what a request lacks, for long for the next one, and has few places."""
    redis = ("--redis-url", redis_server.url)
    served = serve(*redis, AVF_REQUEST_S="1", AVF_IDLE_S="600", AVF_MAX_CONNECTIONS=str(MOST))
    yield served.url
    assert "Traceback" not in served.log.read_text()
    assert served.stop() == 0


def dial(url: str) -> socket.socket:
    """A connection to a server."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=60)


def read(connection: socket.socket) -> bytes:
    """All that comes, until the other side ends it."""
    got = b""
    while True:
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            return got
        if not piece:
            return got
        got += piece


def answered(url: str) -> bool:
    """Whether a server has a place for one more."""
    return httpx.get(f"{url}/health/live").status_code == 200


def check(answer: bytes, status: int, name: str) -> bytes:
    """Assert that an answer is this problem; its headers."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == f"urn:avf:problem:{name}"
    return head


@pytest.mark.parametrize("head", [HALF, b"GET /", b"GET / HTTP/1.1\r\n"], ids=["a header", "the address", "a name"])
def test_a_head_without_an_end_is_refused_when_it_is_too_large(server: Any, head: bytes) -> None:
    """Of sixteen megabytes the server reads a little, and says that this is too much."""
    with dial(server.url) as connection:
        connection.sendall(head)
        try:
            for _ in range(256):
                connection.sendall(b"a" * (1 << 16))
        except (BrokenPipeError, ConnectionResetError):
            pass
        check(read(connection), 431, "headers-too-large")


def test_the_limit_of_a_head_is_exact(server: Any) -> None:
    """Line and headers of 64 KiB are answered, and of one byte more are not."""
    address, names = b"/health/live", [(b"host", b"avf"), (b"connection", b"close"), (b"x-more", b"")]
    room = connections.MAX_HEAD - len(address) - sum(len(name) + len(value) + 4 for name, value in names)
    for more, expected in ((0, b"200"), (1, b"431")):
        headers = b"".join(b"%s: %s\r\n" % pair for pair in [*names[:2], (b"x-more", b"a" * (room + more))])
        with dial(server.url) as connection:
            connection.sendall(b"GET %s HTTP/1.1\r\n%s\r\n" % (address, headers))
            assert read(connection)[9:12] == expected


def test_half_a_head_is_waited_for_so_long_and_others_are_served(hasty: str) -> None:
    """Half-open requests are told that they took too long; meanwhile whole ones are answered."""
    with ExitStack() as stack:
        half = [stack.enter_context(dial(hasty)) for _ in range(MOST - 4)]
        for connection in half:
            connection.sendall(HALF)
        assert httpx.get(f"{hasty}/health/live").status_code == 200
        for connection in half:
            check(read(connection), 408, "request-timeout")


def test_who_says_nothing_is_hung_up_on(serve: Callable[..., Any], redis_server: Any) -> None:
    """Before the first request, and after one, a silent connection ends without a word."""
    server = serve("--redis-url", redis_server.url, AVF_IDLE_S="2")
    with dial(server.url) as served:
        served.sendall(WHOLE)
        assert read(served).startswith(b"HTTP/1.1 200")
    with dial(server.url) as silent:
        assert read(silent) == b""
    assert server.stop() == 0


@pytest.mark.parametrize("sent", [b"", BODY[:5]], ids=["nothing", "a part"])
def test_a_body_that_does_not_go_on_is_refused(hasty: str, sent: bytes) -> None:
    """What was announced has to come."""
    with dial(hasty) as connection:
        connection.sendall(POST % len(BODY) + sent)
        check(read(connection), 408, "request-timeout")


def test_what_is_no_observation_is_small(hasty: str) -> None:
    """A request to open a session is at most 64 KiB, announced or not, whatever a body of observations may be."""
    large = BODY[:-1] + b" " * 70_000 + b"}"
    for content in (large, iter([large])):
        refused = httpx.post(f"{hasty}/v1/sessions", content=content, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["type"]) == (413, "urn:avf:problem:body-too-large")
        assert "65536" in refused.json()["detail"]


def test_one_connection_too_many_is_told_so(hasty: str) -> None:
    """The next one is refused at once, with the time to come again, and taken once one has left."""
    with ExitStack() as stack:
        open_ones = [stack.enter_context(dial(hasty)) for _ in range(MOST)]
        for connection in open_ones:
            connection.sendall(WHOLE)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        with dial(hasty) as refused:
            assert b"Retry-After: 1" in check(read(refused), 503, "overloaded")
    assert wait_for(lambda: answered(hasty), "a place")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [(WHOLE, b"200"), (POST % len(BODY) + BODY, b"201")],
    ids=["get", "post"],
)
def test_who_has_sent_all_and_closed_that_side_is_answered(server: Any, request_: bytes, expected: bytes) -> None:
    """RFC 9112, section 9.6; and the connection is closed after it."""
    with dial(server.url) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        assert read(connection)[9:12] == expected


def test_every_whole_request_before_the_close_is_answered(server: Any) -> None:
    """Requests that were sent one after the other, without waiting, are answered in order; a cut one is not."""
    with dial(server.url) as connection:
        connection.sendall(WHOLE * 5 + HALF)
        connection.shutdown(socket.SHUT_WR)
        assert read(connection).count(b"HTTP/1.1 200") == 5


def test_requests_in_one_piece_are_parsed_as_their_turn_comes(server: Any) -> None:
    """A thousand requests at once are a thousand answers."""
    with dial(server.url) as connection:
        connection.sendall(WHOLE * 1000)
        connection.shutdown(socket.SHUT_WR)
        assert read(connection).count(b"HTTP/1.1 200") == 1000


def test_a_cut_body_is_not_answered(server: Any) -> None:
    """What is not whole is no request."""
    with dial(server.url) as connection:
        connection.sendall(POST % len(BODY) + BODY[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert read(connection) == b""


def test_events_end_for_who_may_have_left(server: Any, http: httpx.Client) -> None:
    """A stream of events has no end of its own: it ends where the peer closes its side, before or after its start."""
    session = http.post("/v1/sessions", json={"model": "tiny"}).json()["id"]
    ask = f"GET /v1/sessions/{session}/events HTTP/1.1\r\nHost: avf\r\n\r\n".encode()
    with dial(server.url) as early, dial(server.url) as late:
        early.sendall(ask)
        early.shutdown(socket.SHUT_WR)
        late.sendall(ask)
        assert late.recv(1 << 16).startswith(b"HTTP/1.1 200")
        late.shutdown(socket.SHUT_WR)
        read(early)
        read(late)


def test_requests_behind_one_without_an_end_are_not_read(server: Any, http: httpx.Client) -> None:
    """What is sent after a stream of events was asked for fills the kernel's buffers, and not the server's memory."""
    session = http.post("/v1/sessions", json={"model": "tiny"}).json()["id"]
    with dial(server.url) as connection:
        connection.sendall(f"GET /v1/sessions/{session}/events HTTP/1.1\r\nHost: avf\r\n\r\n".encode() + WHOLE)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.settimeout(2.0)
        sent, more = 0, WHOLE * 4096
        with suppress(TimeoutError):
            while sent < 1 << 27:
                sent += connection.send(more)
        assert sent < 1 << 26


def test_what_is_no_http_is_refused_once(server: Any) -> None:
    """Nonsense is answered by 400, and the connection ends."""
    with dial(server.url) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert read(connection).count(b"HTTP/1.1 400") == 1


def test_no_more_connections_are_taken_than_there_are_descriptors_for(
    serve: Callable[..., Any], redis_server: Any
) -> None:
    """With few files to open the log says so, and who is one too many is told, not dropped."""
    few = descriptors.RESERVED + 8
    served = serve(
        "--redis-url",
        redis_server.url,
        AVF_IDLE_S="600",
        before=f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({few}, {few}))",
    )
    assert "8 connections are taken, and not AVF_MAX_CONNECTIONS=8192" in served.log.read_text()
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(dial(served.url))
            connection.sendall(WHOLE)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        with dial(served.url) as refused:
            check(read(refused), 503, "overloaded")
    assert served.stop() == 0


@pytest.mark.parametrize(("wanted", "limit", "found"), [(8192, 20_000, 8192), (8192, 1024, 896), (8192, 64, 1)])
def test_connections_fit_into_what_may_be_open(wanted: int, limit: int, found: int) -> None:
    """All of them, or what is left beside the rest of the server, and one at least."""
    assert descriptors.fitting(wanted, limit=limit) == found


def test_a_lack_of_descriptors_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The process goes on, and the log says what is wrong."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    watch = descriptors.Watch()
    assert watch.look()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        assert not watch.look()
        assert not watch.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert watch.look()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
