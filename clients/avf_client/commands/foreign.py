"""Numbers that look as if they were in other units than the model's, told by name while they stream.

The law: a channel is told of once, from its first numbers on, and what is streamed goes on.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import avf_wire as wire
import numpy as np
from avf_sources import foreign
from numpy.typing import NDArray

RECENT = 25  # observations by which units are judged


@dataclass(kw_only=True)
class Watch:
    """Looks at observations as they come."""

    info: wire.ModelInfo
    _recent: deque[NDArray[np.float64]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _told: set[str] = field(default_factory=set)

    def warnings(self, *rows: NDArray[np.float64]) -> Iterator[str]:
        """What is to be said of these, and of those before them; nothing of a model that knows no units."""
        info = self.info
        if info.center is None or info.scale is None:
            return
        self._recent.extend(rows)
        names = info.channels or [f"channel {n}" for n in range(info.observation_size)]
        for name, text in foreign(np.stack(self._recent), center=info.center, scale=info.scale, names=names).items():
            if name not in self._told:
                self._told.add(name)
                yield text
