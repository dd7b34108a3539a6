"""Environments whose observations are a filter's beliefs about them, so that an agent sees what is hidden.

The law: a vector environment's row has the beliefs that an environment of its own would have, in each of Gymnasium's
autoreset modes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsFloat, TypeVar

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from avf_client.blocking.client import Client
from avf_client.gym.beliefs import Beliefs, Inputs
from avf_client.gym.features import BELIEF, Feature, predicting
from avf_client.gym.filters import Array, Rows
from avf_client.gym.opening import key_of, open_filters
from avf_client.gym.rows import RowGenerators, Seeds, infos_of, reset_mask

Action = TypeVar("Action")
ROW = np.zeros(1, dtype=np.intp)
EVERY = np.ones(1, dtype=np.bool_)


class BeliefObservation(gymnasium.Wrapper[Array, Action, Any, Action], RecordConstructorArgs):
    """The observation is the belief: by default posterior mean and log-variance of the latent, (2 L,) float32.

    env                                 its observations, flattened, are what the filter observes
    model, server, api_key, iterations, particles, start  see `open_filters`
    features                            what of the belief is seen: names of `features.NAMES`, or functions of estimates
    inputs                              what the model is told of an action, where it takes inputs, see `Beliefs`

    `free_energy` (how surprising the observation was), `reconstruction`, `kl` in nats and `iterations` are added to
    the info, and `filtered`: False where the filter did not take the observation, which is then missing to it. A seed
    of `reset` fixes the filter's randomness too. Raises InvalidArgument where the filter takes observations of
    another size. Where a server fails, `step` raises; what was shown is filtered first in the next one.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Action],
        model: str | Path,
        *,
        server: str | Client | None = None,
        api_key: str | None = None,
        iterations: int | None = None,
        particles: int = 1,
        start: float | None = None,
        features: Sequence[Feature] = BELIEF,
        inputs: Inputs | None = None,
    ) -> None:
        api_key = None if api_key is None else key_of(api_key)
        opened = {
            "server": server,
            "api_key": api_key,
            "iterations": iterations,
            "particles": particles,
            "start": start,
        }
        RecordConstructorArgs.__init__(
            self, model=str(model), features=features, inputs=inputs, **opened, _disable_deepcopy=True
        )
        gymnasium.Wrapper.__init__(self, env)
        filters = open_filters(
            model,
            server=server,
            api_key=api_key,
            iterations=iterations,
            particles=particles,
            start=start,
            predictions=predicting(features),
        )
        self._generators = RowGenerators(1)
        self._beliefs = Beliefs(filters, env.observation_space, env.action_space, features=features, inputs=inputs)
        self.observation_space = self._beliefs.space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Reset the environment, begin a sequence, and filter the first observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._generators.reset(seed, EVERY)
        self._beliefs.begin(ROW, self._generators.draw(ROW))
        belief, told = self._filtered(observation, None)
        return belief, info | told

    def step(self, action: Action) -> tuple[Array, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and filter what it shows."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        belief, told = self._filtered(observation, action)
        return belief, reward, terminated, truncated, info | told

    def close(self) -> None:
        """Close the environment and end the session."""
        super().close()
        self._beliefs.close()

    def _filtered(self, observation: object, action: Action | None) -> tuple[Array, dict[str, Any]]:
        beliefs, told = self._beliefs.step(ROW, [observation], [action])
        return beliefs[0], {name: array[0].item() for name, array in told.items()}


class VectorBeliefObservation(VectorWrapper[Array, Any, Any, Any, NDArray[Any]]):
    """`BeliefObservation` for a vector environment: one batched step filters the observations of all rows.

    The arguments are those of `BeliefObservation`; row i has the beliefs that a `BeliefObservation` of its own would
    give it. All of Gymnasium's autoreset modes are followed; `final_obs` are beliefs too, and `final_info` tells their
    energies.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, NDArray[Any]],
        model: str | Path,
        *,
        server: str | Client | None = None,
        api_key: str | None = None,
        iterations: int | None = None,
        particles: int = 1,
        start: float | None = None,
        features: Sequence[Feature] = BELIEF,
        inputs: Inputs | None = None,
    ) -> None:
        super().__init__(env)
        filters = open_filters(
            model,
            rows=env.num_envs,
            server=server,
            api_key=api_key,
            iterations=iterations,
            particles=particles,
            start=start,
            predictions=predicting(features),
        )
        self._generators = RowGenerators(env.num_envs)
        self._ended = np.zeros(env.num_envs, dtype=np.bool_)
        seen, done = env.single_observation_space, env.single_action_space
        self._beliefs = Beliefs(filters, seen, done, features=features, inputs=inputs)
        self.single_observation_space = self._beliefs.space
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        shape = self.observation_space.shape or ()
        self._last: Array = np.zeros(shape, dtype=np.float32)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Reset all rows, or those of `options["reset_mask"]`; those begin a sequence, the others stay."""
        mask = reset_mask(options, self.num_envs)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._generators.reset(seed, mask)
        self._ended &= ~mask
        return self._filtered(observations, infos, mask=mask, begun=mask, taken=[])

    def step(self, actions: Any) -> tuple[Array, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step the environments and filter what they show."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = np.logical_or(terminations, truncations)
        mode = self.env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        taken = list(iterate(self.env.action_space, actions))
        begun = np.zeros(self.num_envs, dtype=np.bool_)
        if mode is AutoresetMode.SAME_STEP:
            self._finish(np.flatnonzero(ended), taken, infos)
            begun = ended
        elif mode is AutoresetMode.NEXT_STEP:
            begun = self._ended
        self._ended = ended
        every = np.ones(self.num_envs, dtype=np.bool_)
        beliefs, infos = self._filtered(observations, infos, mask=every, begun=begun, taken=taken)
        return beliefs, rewards, terminations, truncations, infos

    def close(self, **kwargs: Any) -> None:
        """Close the environments and end the sessions."""
        super().close(**kwargs)
        self._beliefs.close()

    def _finish(self, rows: Rows, actions: list[Any], infos: dict[str, Any]) -> None:
        """Put beliefs in the place of the last observations of episodes, and what was learnt in their infos."""
        if not len(rows):
            return
        beliefs, told = self._beliefs.step(
            rows, [infos["final_obs"][row] for row in rows], [actions[row] for row in rows]
        )
        finals = np.full(self.num_envs, None, dtype=object)
        for row, belief in zip(rows, beliefs, strict=True):
            finals[row] = belief.copy()
        infos["final_obs"] = finals
        infos["final_info"] = infos.get("final_info", {}) | self._spread(told, rows)

    def _filtered(
        self,
        observations: Any,
        infos: dict[str, Any],
        *,
        mask: NDArray[np.bool_],
        begun: NDArray[np.bool_],
        taken: list[Any],
    ) -> tuple[Array, dict[str, Any]]:
        """The beliefs of all rows, once those of the mask have filtered what they show; some begin with that."""
        new, rows = np.flatnonzero(begun), np.flatnonzero(mask)
        self._beliefs.begin(new, self._generators.draw(new))
        shown = list(iterate(self.env.observation_space, observations))
        actions = [None if begun[row] else taken[row] for row in rows]
        beliefs, told = self._beliefs.step(rows, [shown[row] for row in rows], actions)
        self._last = self._last.copy()
        self._last[rows] = beliefs
        return self._last.copy(), infos | self._spread(told, rows)

    def _spread(self, told: dict[str, NDArray[Any]], rows: Rows) -> dict[str, Any]:
        """What rows were told, among all rows, 0 elsewhere."""
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[rows] = True
        spread = {}
        for name, values in told.items():
            spread[name] = np.zeros(self.num_envs, dtype=values.dtype)
            spread[name][rows] = values
        return infos_of(spread, mask)
