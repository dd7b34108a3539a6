"""Sound as the client sends it: samples of any kind of number, in chunks of any length, in the session's encoding.

The law: chunks make no difference. Samples go out as whole observations, so that a thousand tiny chunks are not a
thousand messages; what fills no observation yet waits for the next chunk, and goes out before the end. Until the
observation that a sample is in has been answered, the sample is kept.
"""

import avf_wire as wire
from avf_wire import binary

from avf_client.core.protocol import Outgoing, Stream
from avf_client.core.unsaved import Unsaved
from avf_client.errors import ProtocolError, refused
from avf_client.observations import ObservationLike
from avf_client.sound import to_bytes


class SoundStream(Stream):
    """A stream of samples, over a session that stands at (`epoch`, `next_seq`) and at sample `next_sample`.

    size      samples in one observation
    encoding  as the session agreed
    """

    def __init__(
        self,
        *,
        session: str,
        epoch: int,
        next_seq: int,
        next_sample: int,
        size: int,
        encoding: wire.Encoding,
        in_flight: int | None = None,
        every: int = 1,
        unsaved: Unsaved | None = None,
    ) -> None:
        super().__init__(
            session=session, epoch=epoch, next_seq=next_seq, in_flight=in_flight, every=every, unsaved=unsaved
        )
        self._size = size
        self._encoding: wire.Encoding = encoding
        self._width = binary.WIDTHS[encoding]
        self._waiting = bytearray()  # offered, and not yet part of a whole observation within the window
        self._start = self._offset = next_sample  # of the stream, and of the first of those that wait
        self._began = False

    @property
    def next_sample(self) -> int:
        """The sample that the session goes on at, once all that was offered is answered."""
        return self._offset + len(self._waiting) // self._width

    @property
    def wants_observation(self) -> bool:
        """Whether `offer` may be called: no whole observation waits."""
        return super().wants_observation and len(self._waiting) < self._missing

    def offer_samples(self, x: ObservationLike) -> None:
        """Take a chunk of samples (T,), of any length."""
        if not self.wants_observation:
            raise RuntimeError("samples were offered beyond the credit: ask wants_observation first")
        self._waiting += to_bytes(x, encoding=self._encoding)

    def outgoing(self) -> list[Outgoing]:
        """What may be sent now, in whole observations; what is left over goes before the end."""
        while len(self._waiting) >= self._missing and self.unanswered < self._window:
            self._keep(self._cut(self._missing))
        return super().outgoing()

    def abandon(self) -> None:
        """Forget what is unanswered; the session goes on at `acknowledged`, and `next_sample`."""
        super().abandon()
        self._waiting.clear()
        self._offset = max(self._start, (self.acknowledged - 1) * self._size)

    def _cut(self, length: int) -> binary.Samples:
        """The first bytes of those that wait."""
        data = bytes(self._waiting[:length])
        del self._waiting[:length]
        samples = binary.Samples(offset=self._offset, encoding=self._encoding, data=data)
        self._offset += length // self._width
        return samples

    @property
    def _missing(self) -> int:
        """Bytes that complete the observation at which those that wait begin."""
        return self._width * (self._size - self._offset % self._size)

    def _last_words(self) -> list[Outgoing]:
        left = bytes(self._waiting)
        return [binary.Samples(offset=self._offset, encoding=self._encoding, data=left)] if left else []

    @property
    def _complete(self) -> bool:
        return len(self._waiting) < self._missing

    def _begin(self, message: wire.Begin) -> None:
        super()._begin(message)
        stands = message.next_sample
        if stands is None:
            raise ProtocolError(f"session {self.session} was opened without audio: it takes no samples")
        if not self._began and stands != self._start:
            raise refused(
                "sequence-gap",
                f"the session has {stands} samples, this client expected {self._start}: it was fed elsewhere, or lost "
                "its remainder; call refresh() and go on from there",
                status=409,
                session=self.session,
            )
        self._began = True

    def _ended(self, message: wire.Ended) -> None:
        super()._ended(message)
        if message.next_sample != self.next_sample:
            raise ProtocolError(f"the stream ended at sample {message.next_sample}, expected {self.next_sample}")
