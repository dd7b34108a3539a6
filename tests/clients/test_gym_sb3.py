"""Beliefs for agents of stable-baselines3: its own checks, its own rows against single environments, its own agents."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from avf_client.gym import BeliefObservation
from avf_client.gym.features import BELIEF
from avf_client.gym.sb3 import BeliefVecEnv
from gymnasium.wrappers import FlattenObservation
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from tests.support.walks import Walk

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("where", ["local", "remote"])
def test_rows_have_the_beliefs_of_single_environments(gaussian: Path, server: str, where: str) -> None:
    """Over the ends of episodes, whose last observations are beliefs too, and with the same infos."""
    model, address = (gaussian, None) if where == "local" else ("gaussian", server)
    features = (*BELIEF, "observation", "observed")
    rows = BeliefVecEnv(DummyVecEnv([lambda: Walk(most=4)] * 3), model, server=address, features=features)
    singles = [BeliefObservation(Walk(most=4), gaussian, features=features) for _ in range(3)]
    rows.seed(7)
    expected = [single.reset(seed=7 + row)[0] for row, single in enumerate(singles)]
    np.testing.assert_allclose(rows.reset(), expected, rtol=1e-4, atol=1e-5)
    generator, ends = np.random.default_rng(0), 0
    for _ in range(10):
        actions = generator.integers(0, 2, 3)
        seen, rewards, dones, infos = rows.step(actions)
        assert isinstance(seen, np.ndarray)
        for row, single in enumerate(singles):
            belief, reward, terminated, truncated, info = single.step(actions[row])
            assert rewards[row] == pytest.approx(reward)
            assert dones[row] == (terminated or truncated)
            if dones[row]:
                ends += 1
                np.testing.assert_allclose(infos[row]["terminal_observation"], belief, rtol=1e-4, atol=1e-5)
                assert infos[row]["terminal_info"]["kl"] == pytest.approx(info["kl"], rel=1e-3, abs=1e-5)
                belief, info = single.reset()
            np.testing.assert_allclose(seen[row], belief, rtol=1e-4, atol=1e-5)
            assert infos[row]["free_energy"] == pytest.approx(info["free_energy"], rel=1e-3)
            assert infos[row]["filtered"] is True
    assert ends == 6
    rows.close()


def test_an_agent_learns_from_beliefs(gaussian: Path) -> None:
    """PPO, between wrappers of stable-baselines3; what it learns is a policy of beliefs."""
    env = VecNormalize(VecMonitor(BeliefVecEnv(DummyVecEnv([lambda: Walk(most=20)] * 2), gaussian)))
    agent = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu")
    agent.learn(128)
    seen = env.reset()
    assert seen.shape == (2, 4)
    action, _ = agent.predict(seen)
    assert action.shape == (2,)
    env.close()


def test_a_single_environment_passes_the_check_of_stable_baselines3(gaussian: Path) -> None:
    """`BeliefObservation` is one that its agents take."""
    check_env(FlattenObservation(BeliefObservation(Walk(), gaussian)), warn=True)


def test_the_extra_is_named_where_it_is_missing() -> None:
    """And the rest of `avf_client.gym` does without it."""
    code = """
import sys
sys.modules["stable_baselines3"] = None
import avf_client.gym
assert "torch" not in sys.modules
try:
    import avf_client.gym.sb3
except avf_client.errors.MissingExtra as error:
    assert "avf[sb3]" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
