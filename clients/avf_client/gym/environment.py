"""A session as an environment: the action is the observation to filter, the observation the estimate, the reward -F.

    step(x) -> estimate, -free_energy, False, False, {"free_energy", "reconstruction", "kl", "iterations", "filtered"}

An episode is a sequence; it has no end of its own. `reset` begins another, at the prior.
"""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded

from avf_client.blocking.client import Client
from avf_client.gym import spaces
from avf_client.gym.filters import Array, Estimates, closed_on_error, draw_seed, unobserved
from avf_client.gym.opening import open_filters, without_key
from avf_client.gym.render import Picture, checked_mode

ROW = np.zeros(1, dtype=np.intp)


class FilterEnv(gymnasium.Env[Any, Array]):
    """One sequence being filtered.

    model, server, api_key, iterations, particles, start  see `open_filters`
    bounds  of the action space, where the model takes any number; [-1, 1] where absent. An observation beyond them
            is filtered none the less

    render_mode  "ansi": the last step in words; "rgb_array": a picture of the last 64, see `render.Picture`

    The action is the observation, (D,), followed by the inputs of a model that takes some; NaN is a missing value. The
    observation is a dict of float32 arrays: mean and log-variance of `prior_*` and `posterior_*` (L,), means
    `prediction` and `likelihood` (D,). That of `reset` is what is known before anything is observed. Energies are in
    nats. A seed fixes all episodes from that reset on.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium declares it
    _spec: EnvSpec | None = None

    def __init__(
        self,
        model: str | Path,
        *,
        server: str | Client | None = None,
        api_key: str | None = None,
        iterations: int | None = None,
        particles: int = 1,
        start: float | None = None,
        bounds: tuple[float, float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = checked_mode(render_mode)
        self._filters = open_filters(
            model, server=server, api_key=api_key, iterations=iterations, particles=particles, start=start
        )
        self._begun = False
        with closed_on_error(self._filters):
            self.action_space = spaces.observations(self._filters.spec, bounds)
            self.observation_space = spaces.estimates(self._filters.spec)
            self._unobserved = unobserved(self._filters)
        self._picture = Picture(self._filters.spec)

    @property
    def spec(self) -> EnvSpec | None:
        """How Gymnasium made this; it does not tell the API key."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = without_key(spec)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Begin another sequence; `options` has no meaning here."""
        super().reset(seed=seed)
        self._filters.begin(ROW, [draw_seed(self.np_random)])
        self._begun = True
        self._picture.clear()
        return _observation(self._unobserved), _info(self._unobserved, filtered=False)

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Filter one observation (D,). Raises InvalidObservation; ResetNeeded before the first `reset`."""
        if not self._begun:
            raise ResetNeeded("no sequence has begun: call reset() first")
        observation, inputs = self._filters.spec.split([action], rows=1)
        x = self._filters.spec.checked(observation, rows=1)
        estimates, failures = self._filters.step(ROW, x, inputs)
        for failure in failures.values():
            raise failure
        self._picture.add(x[0], estimates)
        info = _info(estimates, filtered=True)
        return _observation(estimates), -float(estimates.free_energy[0]), False, False, info

    def render(self) -> Any:
        """Text, or an image (height, width, 3) of bytes; None without a `render_mode`."""
        return self._picture.rendered(self.render_mode)

    def close(self) -> None:
        """End the session."""
        self._begun = False
        self._filters.close()


def _observation(estimates: Estimates) -> dict[str, Array]:
    return {name: array[0].copy() for name, array in spaces.fields(estimates).items()}


def _info(estimates: Estimates, *, filtered: bool) -> dict[str, Any]:
    return {
        "filtered": filtered,
        "free_energy": float(estimates.free_energy[0]),
        "reconstruction": float(estimates.reconstruction[0]),
        "kl": float(estimates.kl[0]),
        "iterations": int(estimates.iterations[0]),
    }
