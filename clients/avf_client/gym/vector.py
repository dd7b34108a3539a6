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
from avf_client.errors import InvalidArgument, refused
from avf_client.gym import spaces
from avf_client.gym.filters import Array, Estimates, Rows, closed_on_error, unobserved
from avf_client.gym.opening import open_filters, without_key
from avf_client.gym.render import Picture, checked_mode
from avf_client.gym.rows import RowGenerators, Seeds, energies, infos_of, reset_mask
from avf_client.gym.steady import SteadyRows


class FilterVectorEnv(VectorEnv[dict[str, Array], Array, NDArray[Any]]):
    """`num_envs` sequences being filtered together; the other arguments are those of `FilterEnv`.

    max_episode_steps  after so many steps a row is truncated; never where absent

    `reset(options={"reset_mask": mask})` begins only the rows of the mask anew. An observation that the filter cannot
    hold, so that its estimate would not be finite, is missing to its row, whose info `filtered` is False. Where a
    server fails, `step` raises; what could not be filtered is filtered first in the next step.
    """

    metadata = {  # noqa: RUF012 - as Gymnasium does
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }
    _spec: EnvSpec | None = None

    def __init__(
        self,
        num_envs: int,
        model: str | Path,
        *,
        server: str | Client | None = None,
        api_key: str | None = None,
        iterations: int | None = None,
        particles: int = 1,
        start: float | None = None,
        bounds: tuple[float, float] | None = None,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = checked_mode(render_mode)
        if max_episode_steps is not None and max_episode_steps < 1:
            raise InvalidArgument(f"max_episode_steps is {max_episode_steps}, expected at least 1")
        self._filters = open_filters(
            model,
            rows=num_envs,
            server=server,
            api_key=api_key,
            iterations=iterations,
            particles=particles,
            start=start,
        )
        self._most = max_episode_steps
        self.num_envs = num_envs
        with closed_on_error(self._filters):
            self.single_action_space = spaces.observations(self._filters.spec, bounds)
            self._unobserved = unobserved(self._filters)
        self.single_observation_space = spaces.estimates(self._filters.spec)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._rows = SteadyRows(self._filters)
        self._pictures = [Picture(self._filters.spec) for _ in range(num_envs)]
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
        return _observations(self._last), _infos(self._last, mask, filtered=np.zeros(self.num_envs, dtype=np.bool_))

    def step(self, actions: Array) -> tuple[dict[str, Array], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Filter one observation of every row, (num_envs, D). Raises as `FilterEnv.step` does; then no row has moved.

        The action of a row whose episode has ended is not looked at.
        """
        if self._last is None:
            raise ResetNeeded("no sequence has begun: call reset() first")
        going = np.flatnonzero(~self._ended)
        xs, inputs = self._checked(actions, going)
        estimates, filtered = self._unobserved.repeated(self.num_envs), np.zeros(self.num_envs, dtype=np.bool_)
        if len(going):
            found = self._rows.step(going, xs, inputs)
            estimates.put(going, found.estimates)
            filtered[going] = found.as_shown
            for place, row in enumerate(going):
                self._pictures[row].add(xs[place], estimates.at([int(row)]))
        self._steps[going] += 1
        self._begin(np.flatnonzero(self._ended), estimates)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_) if self._most is None else self._steps >= self._most
        self._last = estimates
        # 0 - F, not -F: the reward of a reset is 0, not -0.
        rewards, terminations = 0.0 - estimates.free_energy, np.zeros(self.num_envs, dtype=np.bool_)
        infos = _infos(estimates, np.ones(self.num_envs, dtype=np.bool_), filtered=filtered)
        return _observations(estimates), rewards, terminations, self._ended.copy(), infos

    def render(self) -> tuple[Any, ...] | None:
        """What `FilterEnv.render` gives, of every row."""
        if self.render_mode is None:
            return None
        return tuple(picture.rendered(self.render_mode) for picture in self._pictures)

    def close_extras(self, **kwargs: Any) -> None:
        """End the sessions."""
        self._filters.close()

    def _checked(self, actions: Array, rows: Rows) -> tuple[Array, Array]:
        """Observations and inputs of these rows. Raises InvalidObservation."""
        if len(actions) != self.num_envs:
            raise refused(
                "invalid-observation", f"there are {len(actions)} actions for {self.num_envs} rows", status=422
            )
        spec = self._filters.spec
        observations, inputs = spec.split(actions[rows], rows=len(rows))
        return spec.checked(observations, rows=len(rows)), inputs

    def _begin(self, rows: Rows, estimates: Estimates) -> None:
        if len(rows):
            self._rows.begin(rows, self._generators.draw(rows))
            for row in rows:
                self._pictures[row].clear()
            estimates.put(rows, self._unobserved.repeated(len(rows)))
            self._steps[rows] = 0
            self._ended[rows] = False


def _infos(estimates: Estimates, mask: NDArray[np.bool_], *, filtered: NDArray[np.bool_]) -> dict[str, Any]:
    return infos_of({"filtered": filtered, **energies(estimates)}, mask)


def _observations(estimates: Estimates) -> dict[str, Array]:
    return {name: array.copy() for name, array in spaces.fields(estimates).items()}
