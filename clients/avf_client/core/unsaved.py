"""Observations that were answered before they were saved: what a client must send again where its server dies.

The law: with durability `behind` an answer leaves before the save, and says by `durable_seq` how far saves have come
(None: it does not say).
Until then the client is the only one who surely has the observation. In the other modes nothing is kept: an answer
means saved, or (`none`) that nothing will be. What is kept is bounded; past the bound the oldest go, and their loss,
should it come to that, is told and not hidden.
"""

from collections import OrderedDict
from typing import TypeAlias

from avf_wire import binary

from avf_client.observations import Sent

SETTLED = frozenset({"none", "group", "wait"})
"""Durabilities of which an answer says all: nothing is saved later."""
MOST_VALUES = 1 << 20
"""Numbers kept, over all observations: 8 MiB as float64."""


Item: TypeAlias = Sent | binary.Samples
"""What a `seq` was sent as: the observation, or those of its samples that this client sent."""


class Unsaved:
    """Answered observations by `seq`, without gaps.

    active  whether anything is to be kept: for sessions of durability `behind`
    most    numbers kept, over all observations
    """

    def __init__(self, *, active: bool = False, most: int = MOST_VALUES) -> None:
        self._active = active
        self._most = most
        self._values = 0
        self._kept: OrderedDict[int, Item] = OrderedDict()

    def __getitem__(self, seq: int) -> Item:
        return self._kept[seq]

    def __len__(self) -> int:
        return len(self._kept)

    def answered(self, seq: int, x: Item, *, durable_seq: int | None) -> None:
        """Observation `seq` was answered, and all up to `durable_seq` is saved."""
        self.saved(durable_seq)
        if self._active and seq > (durable_seq or 0):
            self._kept[seq] = x
            self._values += _size(x)
            while self._values > self._most:
                self._drop_oldest()

    def saved(self, durable_seq: int | None) -> None:
        """All up to `durable_seq` is saved."""
        while self._kept and next(iter(self._kept)) <= (durable_seq or 0):
            self._drop_oldest()

    def reaches(self, start: int, end: int) -> bool:
        """Whether all of start, ..., end - 1 are kept."""
        return all(seq in self._kept for seq in range(start, end))

    def clear(self) -> None:
        """Forget all: another epoch has begun."""
        self._kept.clear()
        self._values = 0

    def _drop_oldest(self) -> None:
        _, x = self._kept.popitem(last=False)
        self._values -= _size(x)


def _size(item: Item) -> int:
    if isinstance(item, binary.Samples):
        return len(item)
    return (1 if item.x is None else len(item.x)) + len(item.inputs or ())
