"""Streams of samples: chunks of any length are the same sound, and every sample counts once, whatever is cut."""

from collections import deque
from typing import Any

import avf_wire as wire
import numpy as np
import pytest
from avf_client import errors
from avf_client.core.sound import SoundStream
from avf_client.sound import to_bytes
from avf_wire import binary
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.messages import SESSION, begin, estimate

SIZE = 4


class FakeServer:
    """A server of sound as docs/protocol.md wants it: frames of SIZE samples, a remainder, offsets."""

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.samples: list[int] = []
        self.up: deque[Any] = deque()
        self.down: deque[Any] = deque()

    def connect(self) -> None:
        self.up.clear()
        self.down.clear()
        seq = len(self.samples) // SIZE + 1
        self.down.append(begin(next_seq=seq, credit=self.credit, next_sample=len(self.samples)))

    def work(self) -> None:
        if not self.up:
            return
        message = self.up.popleft()
        if isinstance(message, wire.End):
            seq = len(self.samples) // SIZE + 1
            self.down.append(wire.Ended(next_seq=seq, next_sample=len(self.samples)))
            return
        assert isinstance(message, binary.Samples)
        assert message.offset <= len(self.samples), "the client left a gap"
        chunk = np.frombuffer(message.data, "<i2").tolist()
        known = self.samples[message.offset : message.offset + len(chunk)]
        assert known == chunk[: len(known)], "the client sent other samples under the same offset"
        self.samples += chunk[len(known) :]
        end = message.offset + len(chunk)
        for seq in range(message.offset // SIZE + 1, end // SIZE + 1):
            self.down.append(estimate(seq, value=float(sum(self.samples[(seq - 1) * SIZE : seq * SIZE]))))


@settings(max_examples=200, deadline=None)
@given(
    actions=st.lists(st.sampled_from(["offer", "send", "work", "deliver", "cut"]), max_size=80),
    chunks=st.lists(st.integers(0, 11), max_size=8),
    rest=st.integers(0, SIZE - 1),
    credit=st.integers(1, 4),
)
def test_every_sample_counts_once(actions: list[str], chunks: list[int], rest: int, credit: int) -> None:
    """Chunks of any length, from the midst of an observation on, over connections that are cut anywhere."""
    server = FakeServer(credit)
    server.samples = list(range(rest))
    stream = SoundStream(session=SESSION, epoch=1, next_seq=1, next_sample=rest, size=SIZE, encoding="s16")
    server.connect()
    total = rest
    left = list(chunks)
    given_out = []

    def act(name: str) -> None:
        nonlocal total
        if name == "offer" and stream.wants_observation:
            if left:
                stream.offer_samples(np.arange(total, total + left[0], dtype=np.int16))
                total += left.pop(0)
            else:
                stream.finish()
        elif name == "send":
            server.up.extend(stream.outgoing())
        elif name == "work":
            server.work()
        elif name == "deliver" and server.down and not stream.done:
            answer = stream.receive(server.down.popleft())
            given_out.extend([] if answer is None else [(answer.seq, answer.free_energy)])
        elif name == "cut":
            stream.disconnected()
            server.connect()

    for action in actions:
        act(action)
    act("cut")
    for _ in range(40 * (len(chunks) + 2)):
        for action in ("offer", "send", "work", "deliver"):
            act(action)
    assert stream.done
    assert server.samples == list(range(total))
    assert stream.next_sample == total
    frames = [range(seq * SIZE, (seq + 1) * SIZE) for seq in range(total // SIZE)]
    assert given_out == [(seq + 1, float(sum(frame))) for seq, frame in enumerate(frames)]


def test_tiny_chunks_are_no_swarm_of_messages() -> None:
    """A hundred samples, one by one, go out as 25 observations, and the message before the end has what is left."""
    stream = SoundStream(session=SESSION, epoch=1, next_seq=1, next_sample=0, size=SIZE, encoding="s16")
    stream.receive(begin(credit=100, next_sample=0))
    sent = []
    for sample in range(102):
        stream.offer_samples(np.array([sample], dtype=np.int16))
        sent += stream.outgoing()
    assert len(sent) == 25
    stream.finish()
    rest, end = stream.outgoing()
    assert isinstance(rest, binary.Samples)
    assert (rest.offset, len(rest), end) == (100, 2, wire.End())


def test_sound_that_was_fed_elsewhere_is_noticed() -> None:
    """Samples that the session already has would be dropped in silence: the user is told in their place."""
    stream = SoundStream(session=SESSION, epoch=1, next_seq=1, next_sample=0, size=SIZE, encoding="s16")
    with pytest.raises(errors.SequenceGap, match="refresh"):
        stream.receive(begin(next_sample=3))
    stream = SoundStream(session=SESSION, epoch=1, next_seq=1, next_sample=0, size=SIZE, encoding="s16")
    with pytest.raises(errors.ProtocolError, match="without audio"):
        stream.receive(begin())


def test_numbers_become_samples_and_back() -> None:
    """16-bit integers travel as they are, numbers are rounded to levels, and both mean the same."""
    levels = np.array([-32768, -1, 0, 1, 32767], dtype=np.int16)
    numbers = levels / 32768.0
    assert to_bytes(levels, encoding="s16") == to_bytes(numbers, encoding="s16") == levels.astype("<i2").tobytes()
    assert to_bytes(levels, encoding="f32") == to_bytes(numbers.astype(np.float32), encoding="f32")
    assert np.frombuffer(to_bytes([1.0], encoding="s16"), "<i2")[0] == 32767
    assert to_bytes([], encoding="f32") == b""


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.zeros((2, 2)), "mono"),
        (np.array([1, 2]), "int64"),
        ([0.0, float("nan")], "NaN"),
        ([0.0, 1.5], "beyond"),
        (["a"], "text"),
    ],
)
def test_what_is_no_sound_is_refused(bad: Any, said: str) -> None:
    """With what was expected."""
    with pytest.raises(errors.InvalidObservation, match=said):
        to_bytes(bad, encoding="s16")
