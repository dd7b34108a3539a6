"""Environments of a model that hears the calendar: its inputs are made of the time, and are no part of an action."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from avf_client.errors import InvalidSetting
from avf_client.gym.environment import FilterEnv
from avf_client.gym.local import LocalFilters

from avf_core import calendar, checkpoints
from tests.support.servers import Server
from tests.support.tides import MADE, START, save

GENERATOR = np.random.default_rng(1)
XS = GENERATOR.normal(size=(4, 2)).astype(np.float32)
VALVES = GENERATOR.normal(size=(4, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def tides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that hears a valve, the hour and the weekday."""
    return save(tmp_path_factory.mktemp("models"))


def by_hand(folder: Path, seed: int) -> np.ndarray:
    """Free energies of the library's filter, given the calendar of an hour a step."""
    filter = checkpoints.load(folder).filter
    dates = calendar.inputs_at(START + 3600.0 * np.arange(4), MADE).astype(np.float32)
    inputs = torch.tensor(np.concatenate([VALVES, dates], axis=1))[:, None]
    with torch.no_grad():
        _, whole = filter.scan(filter.initial(torch.tensor([seed])), torch.tensor(XS)[:, None], inputs=inputs)
    return whole.free_energy[:, 0].numpy()


def test_the_calendar_of_a_row_is_that_of_its_own_steps(tides: Path) -> None:
    """A row that begins later, or anew, is at its start then, whatever the others are at."""
    filters = LocalFilters(tides, rows=2, iterations=None, start=START)
    assert filters.spec.input_size == 1
    first, both = np.array([0]), np.array([0, 1])
    filters.begin(both, [5, 6])
    for t in (0, 1):
        filters.step(first, XS[t : t + 1], VALVES[t : t + 1])
    filters.begin(first, [5])
    found = np.stack([filters.step(both, XS[[t, t]], VALVES[[t, t]])[0].free_energy for t in range(4)])
    np.testing.assert_allclose(found[:, 0], by_hand(tides, 5), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[:, 1], by_hand(tides, 6), rtol=1e-4, atol=1e-4)


def test_an_environment_is_the_same_here_and_on_a_server(tides: Path, start: Callable[..., Server]) -> None:
    """Its action is observation and valve, without the calendar; a second episode begins at the start again."""
    actions = np.concatenate([XS, VALVES], axis=1)
    rewards = []
    served = start(tides)
    for env in (FilterEnv(tides, start=START), FilterEnv("tides", server=served.url, start=START)):
        assert env.action_space.shape == (3,)
        for seed in (3, None):
            env.reset(seed=seed)
            rewards.append([env.step(action)[1] for action in actions])
        env.close()
    served.stop()
    np.testing.assert_allclose(rewards[:2], rewards[2:], rtol=1e-4, atol=1e-4)


def test_a_start_is_asked_for_and_refused_where_it_means_nothing(tides: Path) -> None:
    """Errors say what is missing, and what is not taken."""
    with pytest.raises(InvalidSetting, match="tides hears the calendar, but no start was said"):
        FilterEnv(tides)
    with pytest.raises(InvalidSetting, match="expected seconds since 1970"):
        FilterEnv(tides, start=float("nan"))
    with pytest.raises(InvalidSetting, match="hears no calendar: leave it out"):
        FilterEnv("weather", start=START)
