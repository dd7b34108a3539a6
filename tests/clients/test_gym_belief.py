"""Beliefs as observations: the wrappers against the filter's own estimates, rows against single environments."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from avf_client import Client, errors
from avf_client.gym import BeliefObservation, VectorBeliefObservation
from avf_client.gym.features import BELIEF
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

MODES = list(AutoresetMode)
Make = Callable[[], gymnasium.Env[Any, Any]]


class Walk(gymnasium.Env[Any, Any]):
    """A random walk of three numbers, pushed by the action; it ends once it has gone far."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict({"a": spaces.Box(-9, 9, (2,)), "b": spaces.Box(-9, 9, (1, 1))})
        self.action_space = spaces.Box(-1, 1, (1,))
        self.at = np.zeros(3, dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.normal(size=3).astype(np.float32)
        return self._seen(), {"far": False}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at = (0.5 * action + self.at + self.np_random.normal(size=3)).clip(-9, 9).astype(np.float32)
        far = bool(np.abs(self.at).max() > 2.5)
        return self._seen(), float(self.at[0]), far, False, {"far": far}

    def _seen(self) -> dict[str, np.ndarray]:
        return {"a": self.at[:2].copy(), "b": self.at[2:, None].copy()}


@pytest.mark.parametrize("features", [BELIEF, ("posterior_mean", "observation", "observed")])
def test_a_wrapped_environment_passes_gymnasiums_check(gaussian: Path, server: str, features: tuple[str, ...]) -> None:
    """In this process and on a server; all it says is that a wrapper is no raw environment."""
    for model, address in ((gaussian, None), ("gaussian", server)):
        env = BeliefObservation(Walk(), model, server=address, features=features)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
            warnings.filterwarnings("ignore", message=".*A Box observation space .* value is -?infinity.*")
            check_env(env, skip_render_check=True)
        env.close()


def test_beliefs_are_the_estimates_of_what_was_seen(gaussian: Path, server: str) -> None:
    """The posteriors of a session that was sent the same; infos tell its energies beside the environment's own."""
    env, bare = BeliefObservation(Walk(), gaussian, features=(*BELIEF, "observation")), Walk()
    with Client(server) as client:
        for seed in (2, 3):
            belief, info = env.reset(seed=seed)
            seen, _ = bare.reset(seed=seed)
            drawn = int(gymnasium.utils.seeding.np_random(seed)[0].integers(2**62))
            with client.session("gaussian", seed=drawn) as session:
                for step in range(5):
                    x = np.concatenate([seen["a"], seen["b"][0]])
                    truth = session.step(x)
                    expected = [truth.posterior_mean, 2.0 * np.log(truth.posterior_deviation), x]
                    np.testing.assert_allclose(belief, np.concatenate(expected), rtol=1e-4, atol=1e-5)
                    assert info["free_energy"] == pytest.approx(truth.free_energy, rel=1e-5)
                    assert info["iterations"] == truth.iterations
                    assert "far" in info
                    action = np.array([0.1 * step], dtype=np.float32)
                    belief, *_, info = env.step(action)
                    seen, *_ = bare.step(action)


def wrapped(model: Path) -> Make:
    """Makes environments with a wrapper of their own."""
    return lambda: BeliefObservation(gymnasium.wrappers.TimeLimit(Walk(), 4), model)


def bare() -> gymnasium.Env[Any, Any]:
    """The same, not wrapped."""
    return gymnasium.wrappers.TimeLimit(Walk(), 4)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.value))
def test_rows_have_the_beliefs_of_single_environments(gaussian: Path, mode: AutoresetMode) -> None:
    """Wrapping a vector environment is making one of wrapped environments, whichever way it resets its rows."""
    rows = VectorBeliefObservation(SyncVectorEnv([bare] * 3, autoreset_mode=mode), gaussian)
    truth = SyncVectorEnv([wrapped(gaussian)] * 3, autoreset_mode=mode)
    assert rows.single_observation_space == truth.single_observation_space
    assert rows.observation_space == truth.observation_space
    generator = np.random.default_rng(0)
    equal(rows.reset(seed=6), truth.reset(seed=6))
    ends = 0
    for _ in range(15):
        actions = generator.uniform(-1, 1, (3, 1)).astype(np.float32)
        found, expected = rows.step(actions), truth.step(actions)
        equal(found, expected)
        ended = found[2] | found[3]
        ends += int(ended.sum())
        if mode is AutoresetMode.DISABLED and ended.any():
            equal(rows.reset(options={"reset_mask": ended}), truth.reset(options={"reset_mask": ended}))
    assert ends > 3
    rows.close()
    truth.close()


def equal(found: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    """The same returns of reset or step, infos included, `final_info` too."""
    for one, other in zip(found[:-1], expected[:-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    infos, others = found[-1], expected[-1]
    for one, other in ((infos, others), (infos.get("final_info", {}), others.get("final_info", {}))):
        assert one.keys() == other.keys()
        for name in one.keys() - {"final_info", "final_obs"}:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6)
    for one, other in zip(infos.get("final_obs", ()), others.get("final_obs", ()), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_server_filters_the_rows_too(gaussian: Path, server: str) -> None:
    """The same beliefs as in this process."""
    here, there = (
        VectorBeliefObservation(SyncVectorEnv([bare] * 2), model, server=address)
        for model, address in ((gaussian, None), ("gaussian", server))
    )
    np.testing.assert_allclose(here.reset(seed=1)[0], there.reset(seed=1)[0], rtol=1e-4, atol=1e-5)
    for _ in range(6):
        actions = np.zeros((2, 1), dtype=np.float32)
        np.testing.assert_allclose(here.step(actions)[0], there.step(actions)[0], rtol=1e-4, atol=1e-5)
    there.close()


def test_a_wrapped_environment_can_be_made_again(gaussian: Path) -> None:
    """Its spec holds the wrapper with its arguments."""
    gymnasium.register("Walk-v0", entry_point=Walk)
    env = BeliefObservation(gymnasium.make("Walk-v0"), gaussian, features=(*BELIEF, "observation"))
    assert env.spec is not None
    again = gymnasium.make(env.spec)
    assert again.observation_space == env.observation_space
    np.testing.assert_array_equal(again.reset(seed=3)[0], env.reset(seed=3)[0])
    del gymnasium.registry["Walk-v0"]


def test_a_filter_of_another_size_is_refused(checkpoint: Path) -> None:
    """At once, and told both sizes."""
    with pytest.raises(errors.InvalidArgument, match="3 numbers, tiny observes 88"):
        BeliefObservation(Walk(), checkpoint)
    with pytest.raises(errors.InvalidArgument, match="3 numbers, tiny observes 88"):
        VectorBeliefObservation(SyncVectorEnv([Walk]), checkpoint)
