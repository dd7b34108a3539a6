"""Environments whose observations are a filter's beliefs about them, so that an agent sees what is hidden.

The law: the filter observes what the agent would have, from a reset's observation on, and nothing else; a sequence of
the filter begins where an episode does.
"""

from pathlib import Path
from typing import Any, SupportsFloat, TypeVar

import gymnasium
import numpy as np
from avf_sources import numbers
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from avf_client.blocking.client import Client
from avf_client.errors import InvalidArgument
from avf_client.gym import spaces
from avf_client.gym.filters import Array, Estimates, Rows, Spec, closed_on_error
from avf_client.gym.opening import key_of, open_filters
from avf_client.gym.rows import RowGenerators, Seeds, energies, infos_of, reset_mask

Action = TypeVar("Action")
ROW = np.zeros(1, dtype=np.intp)
EVERY = np.ones(1, dtype=np.bool_)


class BeliefObservation(gymnasium.Wrapper[Array, Action, Any, Action], RecordConstructorArgs):
    """The observation is the belief: posterior mean and log-variance of the latent, (2 L,) float32.

    env                                 its observations, flattened, are what the filter observes
    model, server, api_key, iterations  see `open_filters`
    with_observation                    the flattened observation follows the belief: (2 L + D,)

    `free_energy` (how surprising the observation was), `reconstruction`, `kl` in nats and `iterations` are added to
    the info. A seed of `reset` fixes the filter's randomness too. Raises InvalidArgument where the filter takes
    observations of another size.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Action],
        model: str | Path,
        *,
        server: str | Client | None = None,
        api_key: str | None = None,
        iterations: int | None = None,
        with_observation: bool = False,
    ) -> None:
        api_key = None if api_key is None else key_of(api_key)
        told = {"server": server, "api_key": api_key, "iterations": iterations}
        RecordConstructorArgs.__init__(
            self, model=str(model), **told, with_observation=with_observation, _disable_deepcopy=True
        )
        gymnasium.Wrapper.__init__(self, env)
        self._filters = open_filters(model, server=server, api_key=api_key, iterations=iterations)
        self._with_observation = with_observation
        self._generators = RowGenerators(1)
        with closed_on_error(self._filters):
            self.observation_space = _space(env.observation_space, self._filters.spec, with_observation)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Reset the environment, begin a sequence, and filter the first observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._generators.reset(seed, EVERY)
        self._filters.begin(ROW, self._generators.draw(ROW))
        belief, told = self._filtered(observation)
        return belief, info | told

    def step(self, action: Action) -> tuple[Array, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and filter what it shows."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        belief, told = self._filtered(observation)
        return belief, reward, terminated, truncated, info | told

    def close(self) -> None:
        """Close the environment and end the session."""
        super().close()
        self._filters.close()

    def _filtered(self, observation: object) -> tuple[Array, dict[str, Any]]:
        xs = self._filters.spec.checked(_flat(self.env.observation_space, [observation]), rows=1)
        estimates = self._filters.step(ROW, xs)
        told = {name: array[0].item() for name, array in energies(estimates).items()}
        return _beliefs(estimates, xs, self._with_observation)[0], told


class VectorBeliefObservation(VectorWrapper[Array, Any, Any, Any, NDArray[Any]]):
    """`BeliefObservation` for a vector environment: one batched step filters the observations of all rows.

    The arguments are those of `BeliefObservation`; row i has the beliefs that a `BeliefObservation` of its own would
    give it. All of Gymnasium's autoreset modes are followed; `final_obs` are beliefs too.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, NDArray[Any]],
        model: str | Path,
        *,
        server: str | Client | None = None,
        api_key: str | None = None,
        iterations: int | None = None,
        with_observation: bool = False,
    ) -> None:
        super().__init__(env)
        self._filters = open_filters(model, rows=env.num_envs, server=server, api_key=api_key, iterations=iterations)
        self._with_observation = with_observation
        self._generators = RowGenerators(env.num_envs)
        self._ended = np.zeros(env.num_envs, dtype=np.bool_)
        with closed_on_error(self._filters):
            self.single_observation_space = _space(env.single_observation_space, self._filters.spec, with_observation)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        shape = self.observation_space.shape or ()
        self._last: Array = np.zeros(shape, dtype=np.float32)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Reset all rows, or those of `options["reset_mask"]`; those begin a sequence, the others stay."""
        mask = reset_mask(options, self.num_envs)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._generators.reset(seed, mask)
        self._ended &= ~mask
        self._begin(mask)
        return self._filtered(observations, mask, infos)

    def step(self, actions: Any) -> tuple[Array, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step the environments and filter what they show."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = np.logical_or(terminations, truncations)
        mode = self.env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode is AutoresetMode.SAME_STEP:
            self._finish(ended, infos)
            self._begin(ended)
        elif mode is AutoresetMode.NEXT_STEP:
            self._begin(self._ended)
        self._ended = ended
        beliefs, infos = self._filtered(observations, np.ones(self.num_envs, dtype=np.bool_), infos)
        return beliefs, rewards, terminations, truncations, infos

    def close(self, **kwargs: Any) -> None:
        """Close the environments and end the sessions."""
        super().close(**kwargs)
        self._filters.close()

    def _begin(self, mask: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(mask)
        if len(rows):
            self._filters.begin(rows, self._generators.draw(rows))

    def _finish(self, ended: NDArray[np.bool_], infos: dict[str, Any]) -> None:
        """Put beliefs in the place of the last observations of episodes; their sequences end with them."""
        rows = np.flatnonzero(ended)
        if len(rows):
            last = _flat(self.env.single_observation_space, [infos["final_obs"][row] for row in rows])
            beliefs, _ = self._step(rows, last)
            finals = np.full(self.num_envs, None, dtype=object)
            for row, belief in zip(rows, beliefs, strict=True):
                finals[row] = belief.copy()
            infos["final_obs"] = finals

    def _filtered(
        self, observations: Any, mask: NDArray[np.bool_], infos: dict[str, Any]
    ) -> tuple[Array, dict[str, Any]]:
        """The beliefs of all rows, once those of the mask have filtered their observations."""
        rows = np.flatnonzero(mask)
        flat = _flat(self.env.single_observation_space, list(iterate(self.env.observation_space, observations)))
        beliefs, estimates = self._step(rows, flat[rows])
        self._last = self._last.copy()
        self._last[rows] = beliefs
        spread = {name: _spread(array, rows, self.num_envs) for name, array in energies(estimates).items()}
        return self._last.copy(), infos | infos_of(spread, mask)

    def _step(self, rows: Rows, flat: NDArray[Any]) -> tuple[Array, Estimates]:
        xs = self._filters.spec.checked(flat, rows=len(rows))
        estimates = self._filters.step(rows, xs)
        return _beliefs(estimates, xs, self._with_observation), estimates


def _space(seen: gymnasium.Space[Any], spec: Spec, with_observation: bool) -> gymnasium.Space[Array]:
    """The space of beliefs about observations of the space `seen`."""
    size = gymnasium.spaces.flatdim(seen)
    if size != spec.observation_size:
        raise InvalidArgument(
            f"the environment's observations have {size} numbers, {spec.model} observes {spec.observation_size}: "
            "take a filter of this environment, or wrap the environment so that it shows what the filter observes"
        )
    belief = spaces.box(2 * spec.latent_size)
    if not with_observation:
        return belief
    raw = gymnasium.spaces.flatten_space(seen)
    assert isinstance(raw, gymnasium.spaces.Box)  # what has a flatdim flattens to a box
    low = np.concatenate([belief.low, np.maximum(raw.low, -spaces.MOST)])
    high = np.concatenate([belief.high, np.minimum(raw.high, spaces.MOST)])
    return gymnasium.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _flat(space: gymnasium.Space[Any], observations: list[Any]) -> NDArray[Any]:
    """Observations of a space as rows of numbers."""
    return np.stack([_flattened(space, each) for each in observations])


def _flattened(space: gymnasium.Space[Any], observation: Any) -> NDArray[Any]:
    """One observation as a row; Gymnasium's own flattening would read what a mask covers."""
    if isinstance(observation, np.ma.MaskedArray):
        return numbers(observation).ravel()
    if isinstance(space, gymnasium.spaces.Dict):
        return np.concatenate([_flattened(part, observation[name]) for name, part in space.spaces.items()])
    if isinstance(space, gymnasium.spaces.Tuple):
        return np.concatenate([_flattened(part, each) for part, each in zip(space.spaces, observation, strict=True)])
    return np.asarray(gymnasium.spaces.flatten(space, observation))


def _beliefs(estimates: Estimates, xs: Array, with_observation: bool) -> Array:
    parts = [estimates.posterior_mean, estimates.posterior_log_variance, *([xs] if with_observation else [])]
    return np.concatenate(parts, axis=-1)


def _spread(values: NDArray[Any], rows: Rows, count: int) -> NDArray[Any]:
    """The rows' values among `count` rows, 0 elsewhere."""
    spread = np.zeros(count, dtype=values.dtype)
    spread[rows] = values
    return spread
