"""The answer to one observation, in the forms that clients ask for.

The law: an estimate stays as it is stored until an answer is written. Whoever asks for scalars has no array read, and
JSON and MessagePack are made here, of the message, and nowhere before.
"""

import avf_wire as wire
import msgspec
from avf_wire import binary, binary_batches
from avf_wire.rows import RowForm

from avf_server.stepping.observations import from_stored
from avf_server.stores.base import Record
from avf_server.stores.replies import estimate_of, observation_of


class Reply(msgspec.Struct, frozen=True):
    """Where an observation was applied, and its estimate as it is stored.

    `durable_seq` is the last observation that was as safe as its session chose when this was answered.
    """

    epoch: int
    seq: int
    estimate: bytes
    durable_seq: int

    @classmethod
    def of(cls, record: Record, *, seq: int | None = None) -> "Reply":
        """The reply that came with a session: to observation `seq`, or to its last."""
        assert record.reply is not None
        at = record.position
        return cls(at.epoch, at.seq if seq is None else seq, estimate_of(record.reply), record.durable_seq)

    def binary(self, *, arrays: bool = True) -> bytes:
        """The estimate of avf.v1.bin, with its arrays or without."""
        message = binary_batches.with_durable_seq(self.estimate, self.durable_seq)
        return message if arrays else binary_batches.without_arrays(message)

    def summary(self) -> wire.Summary:
        """The scalars of the estimate."""
        return binary_batches.summary_of(self.binary(arrays=False))

    @property
    def alarmed(self) -> bool:
        """Whether an alarm was raised."""
        alarm = self.summary().alarm
        return alarm is not None and alarm.raised

    def message(
        self,
        *,
        observation: wire.Observation | msgspec.UnsetType = msgspec.UNSET,
        inputs: list[float] | None = None,
    ) -> wire.Estimate:
        """The estimate as JSON and MessagePack say it."""
        estimate = binary.decode_server(self.binary())
        assert isinstance(estimate, binary.Estimate)
        return binary.message_of(estimate, observation=observation, inputs=inputs)


def last_of(record: Record, form: RowForm | None = None) -> wire.Estimate:
    """The estimate of a session's reply; with `form`, and where it is stored, what was observed."""
    assert record.reply is not None
    stored = None if form is None else observation_of(record.reply)
    if form is None or stored is None:
        return Reply.of(record).message()
    observation, inputs = from_stored(stored, form)
    return Reply.of(record).message(observation=observation, inputs=inputs)
