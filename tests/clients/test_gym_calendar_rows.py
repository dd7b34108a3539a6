"""Rows and beliefs of a model that hears the calendar: each row's time is that of its own episode."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from avf_client.errors import InvalidSetting
from avf_client.gym import BeliefObservation, VectorBeliefObservation
from avf_client.gym.environment import FilterEnv
from avf_client.gym.vector import FilterVectorEnv
from gymnasium.vector import SyncVectorEnv

from avf_core import calendar, checkpoints
from tests.support.servers import Server
from tests.support.tides import MADE, START, save

GENERATOR = np.random.default_rng(4)
ACTIONS = GENERATOR.normal(size=(6, 2, 3)).astype(np.float32)  # levels, flows and valves of two rows
SHOWN = GENERATOR.normal(size=(5, 2)).astype(np.float32)
HOUR = 3600.0


@pytest.fixture(scope="module")
def tides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that hears a valve, the hour and the weekday."""
    return save(tmp_path_factory.mktemp("models"))


class Gauges(gymnasium.Env[np.ndarray, np.ndarray]):
    """Shows the numbers of SHOWN, one after the other; an episode ends after three actions."""

    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (2,))
    action_space = gymnasium.spaces.Box(-9.0, 9.0, (1,))
    at = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return SHOWN[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.at += 1
        return SHOWN[self.at], 0.0, self.at == 3, False, {}


def beliefs_by_hand(folder: Path, *, seed: int, start: float, valves: np.ndarray) -> np.ndarray:
    """Posterior means of the library's filter, of what is shown with these valves, an hour a step from `start` on."""
    filter = checkpoints.load(folder).filter
    dates = calendar.inputs_at(start + HOUR * np.arange(len(valves)), MADE).astype(np.float32)
    inputs = torch.tensor(np.concatenate([valves, dates], axis=1))[:, None]
    drawn = int(gymnasium.utils.seeding.np_random(seed)[0].integers(2**62))
    with torch.no_grad():
        xs = torch.tensor(SHOWN[: len(valves)])[:, None]
        _, whole = filter.scan(filter.initial(torch.tensor([drawn])), xs, inputs=inputs)
    return whole.posterior.mean[:, 0].numpy()


def rewards_of(env: FilterVectorEnv) -> np.ndarray:
    """Of two steps, of two after the first row began anew, and of two after all did."""
    found = []
    env.reset(seed=[3, 4])
    for t, actions in enumerate(ACTIONS):
        if t == 2:
            env.reset(seed=[7, None], options={"reset_mask": np.array([True, False])})
        if t == 4:
            env.reset(seed=[8, 9])
        found.append(env.step(actions)[1])
    env.close()
    return np.array(found)


def test_each_row_is_the_environment_of_its_own_episode(tides: Path, start: Callable[..., Server]) -> None:
    """One that begins anew is at the start again while the other goes on; here and on a server."""
    expected = np.zeros((6, 2))
    for row, seeds in enumerate(({0: 3, 2: 7, 4: 8}, {0: 4, 4: 9})):
        env = FilterEnv(tides, start=START)
        for t in range(6):
            if t in seeds:
                env.reset(seed=seeds[t])
            expected[t, row] = env.step(ACTIONS[t, row])[1]
        env.close()
    served = start(tides)
    for model, address in ((tides, None), ("tides", served.url)):
        whole = FilterVectorEnv(2, model, server=address, start=START)
        assert whole.single_action_space.shape == (3,)
        np.testing.assert_allclose(rewards_of(whole), expected, rtol=1e-4, atol=1e-4)
    served.stop()
    later = rewards_of(FilterVectorEnv(2, tides, start=START + 7 * HOUR))
    assert np.abs(later - expected).max() > 0.01


def test_an_episode_that_ends_by_itself_begins_the_next_at_the_start(tides: Path) -> None:
    """After the step that begins it, whose action is ignored: as single environments that are reset then."""
    rows = FilterVectorEnv(2, tides, start=START, max_episode_steps=2)
    rows.reset(seed=5)
    found = np.array([rows.step(ACTIONS[t])[1] for t in (0, 1, 5, 2, 3)])
    rows.close()
    np.testing.assert_array_equal(found[2], 0.0)
    for row in range(2):
        env = FilterEnv(tides, start=START)
        expected = []
        for t in range(4):
            if t % 2 == 0:
                env.reset(seed=5 + row if t == 0 else None)
            expected.append(env.step(ACTIONS[t, row])[1])
        env.close()
        np.testing.assert_allclose(found[[0, 1, 3, 4], row], expected, rtol=1e-4, atol=1e-4)


def test_beliefs_are_those_of_the_filter_that_was_told_the_time(tides: Path, start: Callable[..., Server]) -> None:
    """The first observation is at the start, with the valve at rest; each action is the valve of the next."""
    valves = np.array([[0.0], [0.5], [-1.0], [0.25]], dtype=np.float32)
    served = start(tides)
    for model, address in ((tides, None), ("tides", served.url)):
        env = BeliefObservation(Gauges(), model, server=address, start=START, features=("posterior_mean",))
        for seed in (3, 11):
            found = [env.reset(seed=seed)[0], *(env.step(valve)[0] for valve in valves[1:])]
            expected = beliefs_by_hand(tides, seed=seed, start=START, valves=valves)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
            elsewhen = beliefs_by_hand(tides, seed=seed, start=START + 7 * HOUR, valves=valves)
            assert np.abs(expected - elsewhen).max() > 0.01
        env.close()
    served.stop()


def test_rows_of_beliefs_are_those_of_single_environments(tides: Path) -> None:
    """Over the ends of episodes, after which the time is the start's again."""
    valve = np.full((2, 1), 0.5, dtype=np.float32)
    rows = VectorBeliefObservation(SyncVectorEnv([Gauges, Gauges]), tides, start=START, features=("posterior_mean",))
    found = [rows.reset(seed=3)[0], *(rows.step(valve)[0] for _ in range(3))]
    rows.close()
    valves = np.array([[0.0], [0.5], [0.5], [0.5]], dtype=np.float32)
    for row in range(2):
        expected = beliefs_by_hand(tides, seed=3 + row, start=START, valves=valves)
        np.testing.assert_allclose(np.array(found)[:, row], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "made",
    [
        lambda model, **start: FilterVectorEnv(2, model, **start),
        lambda model, **start: BeliefObservation(Gauges(), model, **start),
        lambda model, **start: VectorBeliefObservation(SyncVectorEnv([Gauges]), model, **start),
    ],
)
def test_rows_and_beliefs_ask_for_a_start_and_refuse_what_is_none(tides: Path, made: Callable[..., Any]) -> None:
    """As single environments do."""
    with pytest.raises(InvalidSetting, match="tides hears the calendar, but no start was said"):
        made(tides)
    with pytest.raises(InvalidSetting, match="expected seconds since 1970"):
        made(tides, start=float("inf"))
