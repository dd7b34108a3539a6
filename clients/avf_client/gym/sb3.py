"""Beliefs for agents of stable-baselines3: a `VecEnv` around any other, all of whose rows are filtered by one step.

    from avf_client.gym.sb3 import BeliefVecEnv
    agent = PPO("MlpPolicy", BeliefVecEnv(make_vec_env(make, 8), "my-filter"))

The law: this module needs stable-baselines3 (extra `sb3`), and nothing else of `avf_client.gym` does. A row's sequence
begins where its episode does, and what was seen last of an episode, `terminal_observation`, is a belief too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avf_client.blocking.client import Client
from avf_client.errors import MissingExtra
from avf_client.gym.beliefs import Beliefs, Inputs
from avf_client.gym.features import BELIEF, Feature, predicting
from avf_client.gym.filters import Array
from avf_client.gym.opening import open_filters
from avf_client.gym.rows import RowGenerators

try:
    from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
    from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("stable_baselines3", "torch"):
        raise
    raise MissingExtra("avf_client.gym.sb3", "sb3") from error


class BeliefVecEnv(VecEnvWrapper):
    """The observations are beliefs; the arguments are those of `BeliefObservation`, `venv` any `VecEnv`.

    Infos tell `free_energy`, `reconstruction`, `kl`, `iterations` and `filtered` of each row, those of the episode's
    last observation in its `terminal_info`. `seed` fixes the filter's randomness too: row i's by seed + i.
    """

    def __init__(
        self,
        venv: VecEnv,
        model: str | Path,
        *,
        server: str | Client | None = None,
        api_key: str | None = None,
        iterations: int | None = None,
        particles: int = 1,
        features: Sequence[Feature] = BELIEF,
        inputs: Inputs | None = None,
    ) -> None:
        filters = open_filters(
            model,
            rows=venv.num_envs,
            server=server,
            api_key=api_key,
            iterations=iterations,
            particles=particles,
            predictions=predicting(features),
        )
        seen, done = venv.observation_space, venv.action_space
        self._beliefs = Beliefs(filters, seen, done, features=features, inputs=inputs)
        self._generators = RowGenerators(venv.num_envs)
        self._every = np.arange(venv.num_envs)
        self._acted: Sequence[Any] = ()
        super().__init__(venv, observation_space=self._beliefs.space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the environments, and the filter's rows, for the next reset."""
        seeds = super().seed(seed)
        self._generators.reset(list(seeds), np.ones(self.num_envs, dtype=np.bool_))
        return seeds

    def reset(self) -> Array:
        """Reset the environments, begin all sequences, and filter the first observations."""
        observations = self.venv.reset()
        self._beliefs.begin(self._every, self._generators.draw(self._every))
        beliefs, _ = self._beliefs.step(self._every, self._rows_of(observations), [None] * self.num_envs)
        return beliefs

    def step_async(self, actions: np.ndarray) -> None:
        """Let the environments step, each by its action."""
        self._acted = list(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for them, and filter what they show; those whose episodes ended begin anew."""
        observations, rewards, dones, infos = self.venv.step_wait()
        ended, acted = np.flatnonzero(dones), list(self._acted)
        if len(ended):
            last = [infos[row]["terminal_observation"] for row in ended]
            beliefs, told = self._beliefs.step(ended, last, [acted[row] for row in ended])
            for place, row in enumerate(ended):
                infos[row] |= {"terminal_observation": beliefs[place], "terminal_info": _at(told, place)}
                acted[row] = None
            self._beliefs.begin(ended, self._generators.draw(ended))
        beliefs, told = self._beliefs.step(self._every, self._rows_of(observations), acted)
        return beliefs, rewards, dones, [info | _at(told, row) for row, info in enumerate(infos)]

    def close(self) -> None:
        """Close the environments, and let go of the filter."""
        super().close()
        self._beliefs.close()

    def _rows_of(self, observations: Any) -> list[Any]:
        """What each environment showed; a dict or a tuple of arrays holds all rows of each part."""
        if isinstance(observations, dict):
            return [{name: part[row] for name, part in observations.items()} for row in self._every]
        if isinstance(observations, tuple):
            return [tuple(part[row] for part in observations) for row in self._every]
        return list(observations)


def _at(told: dict[str, Any], place: int) -> dict[str, Any]:
    return {name: values[place].item() for name, values in told.items()}
