"""Many sessions as a vector environment: one batched step for all of them.

The law: row i is the `FilterEnv` that was reset with seed + i. Autoreset is `next step`: the step after an episode's
last one begins the next episode, its action is ignored and its reward is 0.
"""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from avf_client.blocking.client import Client
from avf_client.errors import InvalidArgument
from avf_client.gym import spaces
from avf_client.gym.filters import Array, Estimates, Rows, closed_on_error, unobserved
from avf_client.gym.opening import open_filters, without_key
from avf_client.gym.rows import RowGenerators, Seeds, energies, infos_of, reset_mask


class FilterVectorEnv(VectorEnv[dict[str, Array], Array, NDArray[Any]]):
    """`num_envs` sequences being filtered together; the other arguments are those of `FilterEnv`.

    max_episode_steps  after so many steps a row is truncated; never where absent

    `reset(options={"reset_mask": mask})` begins only the rows of the mask anew.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as Gymnasium does

    _spec: EnvSpec | None = None

    def __init__(
        self,
        num_envs: int,
        model: str | Path,
        *,
        server: str | Client | None = None,
        api_key: str | None = None,
        iterations: int | None = None,
        bounds: tuple[float, float] | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        if max_episode_steps is not None and max_episode_steps < 1:
            raise InvalidArgument(f"max_episode_steps is {max_episode_steps}, expected at least 1")
        self._filters = open_filters(model, rows=num_envs, server=server, api_key=api_key, iterations=iterations)
        self._most = max_episode_steps
        self.num_envs = num_envs
        with closed_on_error(self._filters):
            self.single_action_space = spaces.observations(self._filters.spec, bounds)
            self._unobserved = unobserved(self._filters)
        self.single_observation_space = spaces.estimates(self._filters.spec)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators = RowGenerators(num_envs)
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.zeros(num_envs, dtype=np.bool_)
        self._last: Estimates | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """How Gymnasium made this; it does not tell the API key."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = without_key(spec)

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Begin the sequences anew: of all rows, or of those of `options["reset_mask"]`."""
        mask = reset_mask(options, self.num_envs)
        if self._last is None and not mask.all():
            raise ResetNeeded("rows outside of the reset_mask have not begun: call reset() without it first")
        self._generators.reset(seed, mask)
        if self._last is None:
            self._last = self._unobserved.repeated(self.num_envs)
        self._begin(np.flatnonzero(mask), self._last)
        return _observations(self._last), _infos(self._last, mask)

    def step(self, actions: Array) -> tuple[dict[str, Array], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Filter one observation of every row, (num_envs, D). Raises as `FilterEnv.step` does."""
        if self._last is None:
            raise ResetNeeded("no sequence has begun: call reset() first")
        xs = self._filters.spec.checked(actions, rows=self.num_envs)
        estimates = self._unobserved.repeated(self.num_envs)
        going = np.flatnonzero(~self._ended)
        if len(going):
            estimates.put(going, self._filters.step(going, xs[going]))
        self._steps[going] += 1
        self._begin(np.flatnonzero(self._ended), estimates)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_) if self._most is None else self._steps >= self._most
        self._last = estimates
        # 0 - F, not -F: the reward of a reset is 0, not -0.
        rewards, terminations = 0.0 - estimates.free_energy, np.zeros(self.num_envs, dtype=np.bool_)
        infos = _infos(estimates, np.ones(self.num_envs, dtype=np.bool_))
        return _observations(estimates), rewards, terminations, self._ended.copy(), infos

    def close_extras(self, **kwargs: Any) -> None:
        """End the sessions."""
        self._filters.close()

    def _begin(self, rows: Rows, estimates: Estimates) -> None:
        if len(rows):
            self._filters.begin(rows, self._generators.draw(rows))
            estimates.put(rows, self._unobserved.repeated(len(rows)))
            self._steps[rows] = 0
            self._ended[rows] = False


def _infos(estimates: Estimates, mask: NDArray[np.bool_]) -> dict[str, Any]:
    return infos_of(energies(estimates), mask)


def _observations(estimates: Estimates) -> dict[str, Array]:
    return {name: array.copy() for name, array in spaces.fields(estimates).items()}
