"""Numbers that look as if they were in other units than the model's, told by name as they are sent.

The law: a channel is told of once, from its first numbers on, and what is sent is sent.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import avf_wire as wire
import numpy as np
from avf_sources import foreign
from numpy.typing import NDArray

RECENT = 25  # observations by which units are judged


class ForeignUnits(UserWarning):
    """Numbers lie where those of a model's channel never lay: other units, or swapped columns."""


@dataclass(kw_only=True)
class Watch:
    """Looks at observations as they come; `sparing`, at the 1st, 2nd, 4th, 8th, ... only, at next to no cost."""

    info: wire.ModelInfo | wire.Session
    sparing: bool = False
    _seen: int = 0
    _recent: deque[NDArray[np.float64]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _told: set[str] = field(default_factory=set)

    def warnings(self, *rows: NDArray[np.float64]) -> Iterator[str]:
        """What is to be said of these, and of those before them; nothing of a model that knows no units."""
        info, before = self.info, self._seen
        if info.center is None or info.scale is None or not rows:
            return
        self._recent.extend(rows[-RECENT:])
        self._seen += len(rows)
        if self.sparing and before.bit_length() == self._seen.bit_length():
            return
        names = info.channels or [f"channel {n}" for n in range(info.observation_size)]
        for name, text in foreign(np.stack(self._recent), center=info.center, scale=info.scale, names=names).items():
            if name not in self._told:
                self._told.add(name)
                yield text
