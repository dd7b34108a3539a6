"""A small environment for tests of beliefs: a walk of three numbers, pushed by its actions."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env[Any, Any]):
    """A random walk, pushed by the action; it ends once it has gone far. `shown` may put other numbers in its place.

    `shown` maps a step of an episode, 0 for its reset, to what is observed then.
    """

    def __init__(self, shown: dict[int, np.ndarray] | None = None, *, most: int = 10**6) -> None:
        self.observation_space = spaces.Box(-9, 9, (3,))
        self.action_space = spaces.Discrete(2)
        self.at, self.time, self.shown, self.most = np.zeros(3, dtype=np.float32), 0, shown or {}, most

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Somewhere near the middle."""
        super().reset(seed=seed)
        self.at, self.time = self.np_random.normal(size=3).astype(np.float32), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go on, to one side or the other."""
        self.time += 1
        push = 0.5 if int(action) else -0.5
        self.at = (0.9 * self.at + push + 0.3 * self.np_random.normal(size=3)).clip(-9, 9).astype(np.float32)
        return self._seen(), float(self.at[0]), False, self.time >= self.most, {}

    def _seen(self) -> np.ndarray:
        return self.shown.get(self.time, self.at).astype(np.float32)
