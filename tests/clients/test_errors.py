"""The exceptions, and the decisions to try again."""

import re
from pathlib import Path

import avf_wire as wire
import pytest
from avf_client import errors
from avf_client.core import addresses, closing, rest, retries

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


def documented() -> dict[str, int]:
    """The problems of docs/protocol.md and their statuses."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", PROTOCOL.read_text(), flags=re.MULTILINE)
    return {name: int(status) for name, status in rows}


def test_every_documented_problem_has_a_class() -> None:
    """The table of exceptions and the table of problems name the same."""
    assert set(errors.PROBLEMS) == set(documented())


def test_an_unknown_problem_is_a_plain_problem_error() -> None:
    """A newer server may have problems that this client does not know."""
    error = errors.from_problem(wire.Problem(type="urn:avf:problem:new", title="New", status=418, detail="teapot"))
    assert type(error) is errors.ProblemError
    assert "teapot" in str(error)


def failed(name: str) -> errors.ProblemError:
    """The exception of a documented problem."""
    return errors.refused(name, "why", status=documented()[name])


def gateway(status: int) -> errors.AvfClientError:
    """What a gateway before the server says by itself."""
    return rest.failure("POST /v1/sessions", status=status, media_type="text/html", body=b"<html>")


@pytest.mark.parametrize(
    ("error", "idempotent", "expected"),
    [
        (retries.NeverSent("refused"), False, True),
        (errors.ConnectionFailed("broke"), False, False),
        (errors.ConnectionFailed("broke"), True, True),
        (failed("overloaded"), False, True),
        (failed("session-moved"), True, True),
        (failed("session-moved"), False, False),
        (gateway(502), True, True),
        (gateway(502), False, False),
        (gateway(504), False, False),
        (failed("invalid-observation"), True, False),
        (failed("internal-error"), True, False),
        (errors.ProtocolError("strange"), True, False),
    ],
)
def test_a_request_is_repeated_only_where_that_is_safe(
    error: errors.AvfClientError, idempotent: bool, expected: bool
) -> None:
    """Never where it may have been applied and is not idempotent, nor where it would be refused again."""
    assert retries.may_repeat(error, idempotent=idempotent) is expected


APPLIED = {"overloaded": False, "store-unavailable": False, "stopping": False, "not-replicated": True}
"""Of each problem of status 503, whether what was asked may have been done nevertheless."""


@pytest.mark.parametrize("name", sorted(name for name, status in documented().items() if status == 503))
def test_every_problem_that_passes_is_waited_for(name: str) -> None:
    """Steps and streams go on after each of them; what may not be done twice, after those that did nothing."""
    assert name in APPLIED, f"decide what clients do after {name}: retries.BUSY or retries.HELD, and here"
    assert (name in retries.BUSY, name in retries.HELD) == (not APPLIED[name], APPLIED[name])
    assert retries.may_repeat(failed(name), idempotent=True)
    assert retries.may_repeat(failed(name), idempotent=False) is not APPLIED[name]
    assert retries.may_reconnect(failed(name))


def test_no_other_problem_is_taken_for_one_that_passes() -> None:
    """What waiting does not change is an error at once; but for a step, where another server took the session."""
    lasting = [failed(name) for name, status in documented().items() if status != 503]
    assert not any(retries.may_repeat(error, idempotent=False) or retries.may_reconnect(error) for error in lasting)
    repeated = [errors.name_of(error.problem) for error in lasting if retries.may_repeat(error, idempotent=True)]
    assert repeated == ["session-moved"]


def test_a_stream_goes_on_where_that_is_of_use() -> None:
    """Not where another client took the session: the two would take it from each other for ever."""
    assert retries.may_reconnect(retries.Lagging("lost"))
    assert not any(retries.may_reconnect(failed(name)) for name in ("session-moved", "invalid-observation"))
    assert not retries.may_reconnect(errors.ProtocolError("strange"))


def test_delays_grow_are_jittered_and_end() -> None:
    """Delays double up to the longest, vary by chance from none at all, add to Retry-After, and end."""
    retry = retries.Retry(attempts=5, first=1.0, most=3.0, total=20.0)
    assert [retry.delay(n, chance=0.999999) for n in (1, 2, 3)] == pytest.approx([1.0, 2.0, 3.0], abs=1e-4)
    assert retry.delay(1, chance=0.0) == 0.0
    assert retry.delay(1, chance=0.5, retry_after=2.0) == 2.5
    assert retry.delay(1, chance=0.0, retry_after=3600.0) == 3.0
    assert retry.delay(5, chance=0.0) is None
    assert retry.delay(2, chance=0.5, elapsed=18.9) == 1.0
    assert retry.delay(2, chance=0.5, elapsed=19.1) is None


def test_a_call_ends_in_time_with_all_its_tries() -> None:
    """No try may take longer than what is left of `total`, and none begins after it."""
    tries = retries.Tries(retries.Retry(attempts=9, first=1.0, total=20.0), now=100.0)
    assert tries.limit(15.0, now=100.0) == 15.0
    cut = errors.ConnectionFailed("cut")
    assert tries.failed(cut, idempotent=True, now=114.0, chance=0.5, retry_after=None) == 0.5
    assert tries.limit(15.0, now=114.5) == 5.5
    with pytest.raises(errors.ConnectionFailed, match="cut"):
        tries.failed(cut, idempotent=True, now=119.9, chance=0.5, retry_after=None)
    with pytest.raises(errors.ConnectionFailed, match="cut"):
        retries.Tries(retries.Retry(), now=0.0).failed(cut, idempotent=False, now=0.0, chance=0.0, retry_after=None)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (4401, errors.Unauthorised),
        (4404, errors.UnknownSession),
        (4410, errors.UnknownSession),
        (4409, errors.SessionMoved),
        (1007, errors.ProtocolError),
        (1012, errors.ConnectionFailed),
        (None, errors.ConnectionFailed),
    ],
)
def test_close_codes_are_errors(code: int | None, kind: type[errors.AvfClientError]) -> None:
    """Each close code of the protocol is one kind of error."""
    assert type(closing.closed("ws://x", code=code, reason="")) is kind


@pytest.mark.parametrize(
    ("status", "media_type", "body", "kind"),
    [
        (200, "application/json", b"{}", errors.ProtocolError),
        (200, "text/html", b"<html>", errors.ProtocolError),
        (404, "text/html", b"<html>", errors.ProtocolError),
        (502, "text/html", b"<html>", errors.Overloaded),
        (404, wire.PROBLEM_MEDIA_TYPE, b"{}", errors.ProtocolError),
        (
            404,
            wire.PROBLEM_MEDIA_TYPE + "; charset=utf-8",
            b'{"type":"urn:avf:problem:unknown-session","title":"t","status":404,"detail":"d","more":1}',
            errors.UnknownSession,
        ),
    ],
)
def test_responses_that_are_no_reply_are_errors(
    status: int, media_type: str, body: bytes, kind: type[errors.AvfClientError]
) -> None:
    """What answers may be a proxy, another server, or a problem; new fields are ignored."""
    with pytest.raises(kind):
        rest.read(rest.session("s"), status=status, media_type=media_type, body=body)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "", "http://host:port"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """The address needs its scheme."""
    with pytest.raises(errors.InvalidArgument, match="http"):
        addresses.checked_url(url)


def test_the_streams_address_follows_the_servers() -> None:
    """https becomes wss, and an identifier cannot leave its place in the path."""
    assert addresses.stream_url("https://h/avf/", "a/b") == "wss://h/avf/v1/sessions/a%2Fb/stream"
    with pytest.raises(errors.InvalidArgument, match="empty"):
        rest.session("")
