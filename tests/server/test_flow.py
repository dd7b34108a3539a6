"""What is under way on a stream, and which answers are estimates: no sockets."""

import asyncio
import json

import avf_wire as wire
import msgspec
import numpy as np
import pytest
from avf_server import problems
from avf_server.stepping.replies import Reply
from avf_server.streams import dialects, flow
from avf_wire import binary
from avf_wire.rows import RowForm
from hypothesis import given
from hypothesis import strategies as st

from tests.support import messages


def reply(seq: int, *, alarmed: bool = False) -> Reply:
    alarm = wire.Alarm(raised=alarmed, p=0.5, high=True, statistic=1.0, threshold=2.0)
    estimate = msgspec.structs.replace(messages.estimate(seq), alarm=alarm)
    return Reply(1, seq, binary.encode(binary.estimate_of(estimate)), seq)


def test_an_alarm_is_sent_whatever_its_number() -> None:
    """Of each tenth estimate, and the seventh raises one; what comes after it is owed an ack as before."""
    thinning = flow.Thinning(10, most=2)
    assert [seq for seq in range(1, 13) if thinning.wants(reply(seq, alarmed=seq == 7))] == [7, 10]
    assert thinning.due


@given(st.integers(1, 9), st.integers(1, 20), st.lists(st.booleans(), max_size=60))
def test_every_observation_is_answered_and_no_ack_is_late(every: int, most: int, idle: list[bool]) -> None:
    """By an estimate or an ack; never are more than `most` owed one."""
    thinning = flow.Thinning(every, most=most)
    answered = 0
    for seq, nothing_waits in enumerate(idle, 1):
        if thinning.wants(reply(seq)):
            assert seq % every == 0
            answered = seq
        elif thinning.due or nothing_waits:
            ack = thinning.ack()
            assert ack is not None
            assert (ack.seq, ack.durable_seq) == (seq, seq)
            answered = seq
        assert seq - answered < most
    last = thinning.ack()
    assert (answered if last is None else last.seq) == len(idle)
    assert thinning.ack() is None


async def test_credit_is_waited_for_and_one_message_may_take_all_of_it() -> None:
    """Nothing passes a message that waits for more than is left."""
    credit = flow.Credit(8)
    assert await credit.take(100) == 8
    waiting = asyncio.create_task(credit.take(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    credit.give(2)
    await asyncio.sleep(0)
    assert not waiting.done()
    credit.give(6)
    assert await waiting == 3


@pytest.mark.parametrize("given", [{"every": "0"}, {"every": "-1"}, {"every": "²"}, {"every": ""}, {"fields": "mean"}])
def test_options_out_of_range_are_refused(given: dict[str, str]) -> None:
    """By name, with what is expected."""
    with pytest.raises(problems.InvalidSettingError, match=next(iter(given))):
        flow.options(**({"every": None, "fields": None} | given))


def test_options_have_defaults() -> None:
    """All estimates, whole."""
    assert flow.options(every=None, fields=None) == flow.Options()
    assert flow.options(every="3", fields="scalars") == flow.Options(every=3, arrays=False)


def heard(text: str) -> dialects.Item:
    """What is made of a message of JSON."""
    event = {"type": "websocket.receive", "text": text}
    return asyncio.run(dialects.DIALECTS["avf.v1.json"].decode(event, form=RowForm(size=6)))


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "samples", "offset": 0}',
        '{"type": "samples", "offset": 0, "s16": "AAA=", "f32": [0]}',
        '{"type": "samples", "offset": 0, "s16": "AA=="}',
        '{"type": "samples", "offset": 0, "s16": "A"}',
        '{"type": "samples", "offset": 0, "f32": []}',
        '{"type": "samples", "offset": -1, "f32": [0]}',
        '{"type": "samples", "offset": 9007199254740993, "f32": [0]}',
        '{"type": "marker", "text": "' + "ö" * 600 + '"}',
        '{"type": "marker", "text": "\\ud800"}',
        '{"type": "keepalive", "more": 1}',
        "[" * 100_000,
    ],
)
def test_messages_of_json_that_are_none_are_fatal_and_raise_nothing(text: str) -> None:
    """With the code of the close."""
    item = heard(text)
    assert isinstance(item, dialects.Fatal)
    assert item.code == 1007


@given(st.text(max_size=50) | st.sampled_from(['{"type":"samples","offset":0,"f32":[1e39]}', '{"type":"end"}']))
def test_any_text_is_a_message_or_fatal(text: str) -> None:
    """Nothing is raised."""
    assert heard(text) is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"type": "observe", "seq": 1, "x": [' + "[]," * 300_000 + "[]]}", "holds nothing else"),
        ('{"type": "observe", "seq": 1, "x": ["' + "a" * 900_000 + '"]}', "holds nothing else"),
        ('{"type": "samples", "offset": 0, "f32": [[' + "0," * 300_000 + "0]]}", "no list of numbers"),
        ('{"type": "marker", "text": "' + "a" * 900_000 + '"}', "expected at most 65536"),
        ('{"type": "keepalive"' + " " * 900_000 + "}", "expected at most 65536"),
        ('{"' + "a" * 900_000 + '": 1}', "no message"),
    ],
)
def test_large_messages_are_fatal_by_what_they_hold(text: str, why: str) -> None:
    """Before it is made, and in few words."""
    item = heard(text)
    assert isinstance(item, dialects.Fatal)
    assert why in item.detail
    assert len(item.detail) < 400


def test_samples_as_numbers_are_those_that_were_sent() -> None:
    """Also where they are read in pieces; an infinity stands for what 32 bits do not hold."""
    numbers = [*np.linspace(-1, 1, 100_001).tolist(), 1e39]
    item = heard(json.dumps({"f32": numbers, "type": "samples", "offset": 3}))
    assert isinstance(item, binary.Samples)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(item.numbers(), np.array(numbers).astype(np.float32))


def test_an_observation_of_too_many_numbers_is_refused_by_their_count() -> None:
    """It is a message, which the model refuses."""
    item = heard(json.dumps({"type": "observe", "seq": 1, "x": [0] * 500_000}))
    assert isinstance(item, dialects.Observations)
    assert [each.x.shape for each in item.observed] == [(500_000,)]


def test_sub_protocols_are_taken_in_the_clients_order() -> None:
    """JSON where none is offered, none where none is known."""
    assert dialects.chosen([]) is dialects.DIALECTS["avf.v1.json"]
    assert dialects.chosen(["avf.v9.bin", "avf.v1.bin", "avf.v1.json"]) is dialects.DIALECTS["avf.v1.bin"]
    assert dialects.chosen(["avf.v9.bin"]) is None
