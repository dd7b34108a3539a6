"""The SDK for blocking code against the real server: steps, streams, missing values, cuts, refusals."""

import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from avf_client import Client, Estimate, Retry, errors
from avf_client.blocking.client import Session

from tests.support.estimates import frames, same

pytestmark = pytest.mark.slow

QUICK = Retry(attempts=12, first=0.002, most=0.1)
NO_RETRY = Retry(attempts=1)


@pytest.fixture
def client(server: str) -> Iterator[Client]:
    """A client of the real server."""
    with Client(server, retry=QUICK) as made:
        yield made


@pytest.fixture
def session(client: Client) -> Iterator[Session]:
    """A session on the tiny music model."""
    with client.session("tiny", seed=5) as made:
        yield made


def collect(estimates: Iterable[Estimate], got: list[int]) -> None:
    """Note the numbers of the estimates as they come, so that they are known where an error ends them."""
    for estimate in estimates:
        got.append(estimate.seq)


def uncut(client: Client, xs: np.ndarray, seed: int = 5) -> list[Estimate]:
    """The estimates of `xs` by plain HTTP, with nothing in between."""
    with client.session("tiny", seed=seed) as session:
        return session.steps(xs)


def test_models_are_listed(client: Client) -> None:
    """Both models, with what a client needs to know of them."""
    assert {info.name: info.observation_size for info in client.models()} == {"tiny": 88, "gaussian": 3}


def test_a_step_gives_an_estimate(session: Session) -> None:
    """Shapes and sums are as documented."""
    estimate = session.step(frames(1)[0])
    assert (estimate.seq, estimate.epoch, session.next_seq) == (1, 1, 2)
    assert estimate.free_energy == pytest.approx(estimate.reconstruction + estimate.kl, rel=1e-5)
    assert estimate.posterior_mean.shape == estimate.prior_deviation.shape == (4,)
    assert estimate.prediction.shape == estimate.likelihood.shape == (88,)
    assert estimate.prediction_deviation is None
    assert len(estimate.free_energies) == estimate.iterations + 1 == 3
    assert estimate.durability == "group"
    same([session.estimate()], [estimate])


def test_options_of_a_session_hold(client: Client) -> None:
    """Seed, iterations and durability are those asked for."""
    with client.session("tiny", seed=9, iterations=1, durability="none") as session:
        assert (session.info.seed, session.info.iterations) == (9, 1)
        assert session.step(frames(1)[0]).durability == "none"
    with pytest.raises(errors.InvalidSetting):
        client.session("tiny", iterations=10**6)


def test_more_steps_than_a_request_holds(client: Client) -> None:
    """200 observations take two requests, and streaming them gives the same."""
    xs = frames(200)
    estimates = uncut(client, xs)
    assert [e.seq for e in estimates] == list(range(1, 201))
    with client.session("tiny", seed=5) as session:
        same(list(session.stream(xs)), estimates)
        assert session.next_seq == 201


def test_steps_of_nothing_are_nothing(session: Session) -> None:
    """An empty list and an empty stream change nothing."""
    assert session.steps([]) == []
    assert list(session.stream([])) == []
    assert session.next_seq == 1


def test_live_sources_get_each_estimate_before_the_next_observation(session: Session) -> None:
    """With in_flight=1 nothing is taken ahead."""
    taken: list[int] = []

    def source() -> Iterator[np.ndarray]:
        for index, x in enumerate(frames(6)):
            taken.append(index + 1)
            yield x

    for estimate in session.stream(source(), in_flight=1):
        assert taken[-1] == estimate.seq


def test_missing_values_travel_as_null(client: Client) -> None:
    """NaN in a dimension, None in a dimension, None for all: and where all is missing, F is 0."""
    x = frames(1)[0]
    with_nan = x.copy()
    with_nan[10:20] = np.nan
    with client.session("tiny", seed=5) as one, client.session("tiny", seed=5) as other:
        by_nan = one.step(with_nan)
        by_none = other.step([None if 10 <= d < 20 else float(v) for d, v in enumerate(x)])
        same([by_nan], [by_none])
        missing = one.step(None)
        assert missing.free_energy == 0.0
        np.testing.assert_array_equal(missing.posterior_mean, missing.prior_mean)
        same([missing], list(other.stream([np.full(88, np.nan)])))


def test_a_reset_begins_again(session: Session) -> None:
    """A new epoch, from seq 1."""
    session.steps(frames(3))
    session.reset()
    assert (session.epoch, session.next_seq) == (2, 1)
    assert session.step(frames(1)[0]).epoch == 2
    assert [e.epoch for e in session.stream(frames(2))] == [2, 2]


def test_a_session_can_be_gone_on_with(client: Client, session: Session) -> None:
    """Attached by its identifier, it stands where it stood; leaving the block leaves it open."""
    first = session.steps(frames(4))
    with client.attach(session.id) as attached:
        assert attached.next_seq == 5
        rest = list(attached.stream(frames(8)[4:]))
    session.refresh()
    assert session.next_seq == 9
    assert [e.seq for e in first + rest] == list(range(1, 9))


def test_a_closed_session_is_gone(client: Client) -> None:
    """`close` may be called twice; after it, the session is unknown, over HTTP and as a stream."""
    with client.session("tiny") as session:
        session.close()
        session.close()
        with pytest.raises(errors.UnknownSession):
            session.step(frames(1)[0])
        with pytest.raises(errors.UnknownSession):
            list(session.stream(frames(1)))
    with pytest.raises(errors.UnknownSession):
        client.attach(session.id)


def test_an_unknown_model_lists_those_there_are(client: Client) -> None:
    """The server's own words."""
    with pytest.raises(errors.UnknownModel, match="tiny"):
        client.session("large")


@pytest.mark.parametrize("bad", [np.full(88, np.inf), np.zeros(87), [["x"]]])
def test_what_does_not_fit_is_refused_before_anything_is_sent(session: Session, bad: Any) -> None:
    """No request of a list with one bad observation is sent."""
    with pytest.raises(errors.InvalidObservation):
        session.steps([*frames(3), bad])
    session.refresh()
    assert session.next_seq == 1


def test_a_bad_observation_ends_a_stream_after_those_before_it(session: Session) -> None:
    """The estimates of the first three are given, then the error; the session goes on at the fourth."""
    got: list[int] = []
    with pytest.raises(errors.InvalidObservation):
        collect(session.stream([*frames(3), np.full(88, np.inf), *frames(2)]), got)
    assert got == [1, 2, 3]
    assert session.step(frames(1)[0]).seq == 4


def test_an_error_of_the_source_comes_out_unchanged(session: Session) -> None:
    """Even one that looks like the network's."""

    def source() -> Iterator[np.ndarray]:
        yield from frames(2)
        raise ConnectionResetError("the microphone was unplugged")

    got: list[int] = []
    with pytest.raises(ConnectionResetError, match="microphone"):
        collect(session.stream(source()), got)
    assert got == [1, 2]
    assert session.next_seq == 3


def test_the_server_refuses_a_value_out_of_range(session: Session) -> None:
    """A key is 0 or 1: the observations before the refused one are filtered, and their estimates are there."""
    xs = frames(5)
    xs[3] = 7.0
    with pytest.raises(errors.InvalidObservation) as caught:
        session.steps(xs)
    assert [e.seq for e in caught.value.estimates] == [1, 2, 3]
    assert session.next_seq == 4
    got: list[int] = []
    with pytest.raises(errors.InvalidObservation):
        collect(session.stream(xs[1:]), got)
    assert got == [4, 5]
    session.refresh()
    assert session.next_seq == 6


def test_leaving_a_stream_early_leaves_the_session_in_place(session: Session) -> None:
    """What was taken is filtered; the client knows where the session stands."""
    for estimate in session.stream(frames(200)):
        if estimate.seq == 5:
            break
    believed = session.next_seq
    session.refresh()
    assert session.next_seq == believed >= 6
    assert session.step(frames(1)[0]).seq == believed


def test_another_clients_steps_are_noticed(client: Client, session: Session) -> None:
    """Two handles on one session: the one behind is told of the conflict, and goes on after `refresh`."""
    other = client.attach(session.id)
    session.steps(frames(2))
    with pytest.raises(errors.ObservationConflict):
        other.step(frames(5)[4])
    other.refresh()
    assert other.step(frames(1)[0]).seq == 3
    session.reset()
    with pytest.raises(errors.EpochMismatch):
        other.step(frames(1)[0])
    with pytest.raises(errors.EpochMismatch):
        list(other.stream(frames(1)))


def test_a_gaussian_model_has_deviations(client: Client) -> None:
    """Predictions of real numbers come with their spread."""
    with client.session("gaussian") as session:
        estimate = session.step([0.1, float("nan"), -0.3])
        assert estimate.prediction_deviation is not None
        assert estimate.prediction_deviation.shape == (3,)


# --- cuts


def test_a_stream_survives_cuts(client: Client, proxy: Callable[[list[int]], Any]) -> None:
    """The connection is cut seven times, at the handshake and in the midst of answers: the estimates are the same."""
    xs = frames(120)
    expected = uncut(client, xs)
    with Client(proxy([10, 2_000, 9_000, 40_001, 300, 25_000, 7_777]).url, retry=QUICK) as cut_client:
        attached = cut_client.attach  # the first connection of the proxy is cut here, and asked again
        with client.session("tiny", seed=5) as session:
            cut = attached(session.id)
            same(list(cut.stream(xs)), expected)
            assert cut.next_seq == 121


def test_a_live_stream_survives_cuts(client: Client, proxy: Callable[[list[int]], Any]) -> None:
    """So does a stream of one observation at a time."""
    xs = frames(40)
    expected = uncut(client, xs)
    with client.session("tiny", seed=5) as session:
        made = proxy([100_000, 3_000, 12_000, 5_000])
        with Client(made.url, retry=QUICK) as cut_client:
            same(list(cut_client.attach(session.id).stream(xs, in_flight=1)), expected)
        assert made.connections >= 4


def test_a_lost_reply_is_asked_for_again(client: Client, proxy: Callable[[list[int]], Any]) -> None:
    """Each reply to steps is cut once: the steps are applied once, and the estimates are the same."""
    xs = frames(200)
    expected = uncut(client, xs)
    with client.session("tiny", seed=5) as session:
        made = proxy([1_500, 5_000, 70_000, 90_000])
        with Client(made.url, retry=QUICK) as cut_client:
            same(cut_client.attach(session.id).steps(xs), expected)
        assert made.connections >= 5


def test_a_stream_gives_up_after_too_many_tries(client: Client, session: Session, proxy: Callable[..., Any]) -> None:
    """Tries are bounded; afterwards the stream can go on where it stood, by another way."""
    made = proxy([100_000] + [300] * 100)
    with Client(made.url, retry=Retry(attempts=3, first=0.001)) as cut_client:
        behind = cut_client.attach(session.id)
        with pytest.raises(errors.ConnectionFailed):
            list(behind.stream(frames(50)))
        assert made.connections == 4
        assert behind.next_seq == 1
    same(list(session.stream(frames(50))), uncut(client, frames(50)))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stream_survives_its_server(own_server: Any, client: Client, how: signal.Signals) -> None:
    """The server is stopped and started in the midst of a stream: the estimates are those of an undisturbed run."""
    xs = frames(60)
    expected = uncut(client, xs)
    with Client(own_server.url, retry=QUICK) as own, own.session("tiny", seed=5) as session:
        got = []
        for estimate in session.stream(xs):
            got.append(estimate)
            if estimate.seq == 20:
                own_server.stop(how)
                own_server.start()
        same(got, expected)
        assert session.next_seq == 61


def test_where_no_server_is_the_error_says_so() -> None:
    """After the retries, one error of the client's own."""
    with Client("http://127.0.0.1:9", retry=NO_RETRY) as client:
        with pytest.raises(errors.ConnectionFailed, match="no server answers at http://127"):
            client.models()
        with pytest.raises(errors.ConnectionFailed):
            client.session("tiny")


# --- answers that the real server gives seldom


def transport(*answers: httpx.Response | Exception) -> httpx.MockTransport:
    """A transport that gives these answers, one after the other."""
    remaining = list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        answer = remaining.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx.MockTransport(handle)


def busy() -> httpx.Response:
    """A refusal for the moment."""
    problem = {"type": "urn:avf:problem:overloaded", "title": "Overloaded", "status": 503, "detail": "later"}
    return httpx.Response(
        503, json=problem, headers={"content-type": "application/problem+json", "retry-after": "0.001"}
    )


def test_a_busy_server_is_asked_again() -> None:
    """503 is tried again, also where the request is not idempotent: nothing was applied."""
    models = httpx.Response(200, json={"models": []})
    with Client("http://x", retry=QUICK, transport=transport(busy(), busy(), models)) as client:
        assert client.models() == []
    with (
        Client("http://x", retry=Retry(attempts=2, first=0.001), transport=transport(busy(), busy())) as client,
        pytest.raises(errors.Overloaded, match="later"),
    ):
        client.models()


def test_opening_a_session_is_not_repeated_once_it_may_have_been_done() -> None:
    """A reply that was lost may have opened a session: the error is told, and no second one is opened."""
    cut = transport(httpx.ReadError("reset"), busy())
    with Client("http://x", retry=QUICK, transport=cut) as client, pytest.raises(errors.ConnectionFailed):
        client.session("tiny")
    never = transport(httpx.ConnectError("refused"), httpx.Response(200, text="hello"))
    with Client("http://x", retry=QUICK, transport=never) as client, pytest.raises(errors.ProtocolError):
        client.session("tiny")


def test_the_key_is_sent() -> None:
    """As `Authorization: Bearer KEY`."""

    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        return httpx.Response(200, json={"models": []})

    with Client("http://x", "secret", transport=httpx.MockTransport(handle)) as client:
        client.models()
