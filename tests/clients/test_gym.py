"""Filters as environments: Gymnasium's own checks, the library and a server as the truth, rows against single ones."""

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from avf_client import Client, errors
from avf_client.gym import FilterEnv, FilterVectorEnv, open_filters
from avf_client.gym.zoo import environment_id, zoo
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from avf_core import checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*A Box observation space .* value is -?infinity")]

UNBOUNDED = r".*A Box observation space (minimum|maximum) value is -?infinity.*"
Make = Callable[..., FilterEnv]


@pytest.fixture(params=["local", "remote"])
def make(request: pytest.FixtureRequest, checkpoint: Path) -> Iterator[Make]:
    """Makes environments of the tiny music model, in this process and on a real server; closed after the test."""
    made: list[FilterEnv] = []

    def opened(**options: Any) -> FilterEnv:
        server = request.getfixturevalue("server") if request.param == "remote" else None
        made.append(FilterEnv("tiny" if server else checkpoint, server=server, **options))
        return made[-1]

    yield opened
    for env in made:
        env.close()


def rolls(count: int, seed: int = 0) -> np.ndarray:
    """Random notes, (count, 88)."""
    return (np.random.default_rng(seed).random((count, 88)) < 0.05).astype(np.float32)


def same(first: object, second: object, tolerance: float = 0.0) -> None:
    """The same nested tuples and dicts of arrays and numbers, types included."""
    assert type(first) is type(second)
    if isinstance(first, tuple):
        assert isinstance(second, tuple)
        for one, other in zip(first, second, strict=True):
            same(one, other, tolerance)
        return
    if isinstance(first, dict):
        assert isinstance(second, dict)
        assert first.keys() == second.keys()
        for name in first:
            same(first[name], second[name], tolerance)
    elif isinstance(first, np.ndarray):
        assert isinstance(second, np.ndarray)
        assert first.dtype == second.dtype
        np.testing.assert_allclose(first, second, rtol=tolerance, atol=tolerance)
    else:
        assert first == pytest.approx(second, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("name", zoo())
def test_every_checkpoint_passes_gymnasiums_check(name: str) -> None:
    """As `gymnasium.make` makes it, spec, rendering and closing included; that latents have no bounds is so."""
    env = gymnasium.make(environment_id(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=UNBOUNDED)
        check_env(env.unwrapped)
    env.close()


def test_the_zoo_is_what_the_library_says() -> None:
    """Found without importing it."""
    assert zoo() == checkpoints.available()
    assert environment_id("srnn-jsb") == "avf/SRNN-JSB-v0"


def test_both_back_ends_pass_gymnasiums_check(make: Make) -> None:
    """All of it but what needs a registered environment."""
    check_env(make(), skip_render_check=True)


def test_a_model_of_real_numbers_passes(gaussian: Path, server: str) -> None:
    """Its numbers have no bounds, its spaces have; observations beyond them are filtered."""
    for env in (FilterEnv(gaussian), FilterEnv("gaussian", server=server), FilterEnv(gaussian, bounds=(-0.5, 0.5))):
        check_env(env, skip_render_check=True)
        env.reset(seed=1)
        _, reward, *_ = env.step(np.full(3, 2.5, dtype=np.float32))
        assert np.isfinite(reward)
        env.close()


def test_estimates_are_those_of_the_library(checkpoint: Path) -> None:
    """Step by step, with the seed that the environment draws first; NaN is a missing value."""
    xs = rolls(4)
    xs[1, 40:], xs[2] = np.nan, np.nan
    env = FilterEnv(checkpoint)
    env.reset(seed=11)
    seed = int(gymnasium.utils.seeding.np_random(11)[0].integers(2**62))
    filter = checkpoints.load(checkpoint).filter
    belief = filter.initial(torch.tensor([seed]))
    for x in torch.from_numpy(xs):
        belief, truth = filter.step(belief, x[None], observed=~x[None].isnan())
        observation, reward, terminated, truncated, info = env.step(x.numpy())
        assert (terminated, truncated) == (False, False)
        assert reward == -truth.free_energy.item() == -info["free_energy"]
        assert info["kl"] == truth.kl.item()
        assert info["reconstruction"] == truth.reconstruction.item()
        assert info["iterations"] == truth.iterations.item()
        np.testing.assert_array_equal(observation["prior_mean"], truth.prior.mean[0])
        np.testing.assert_array_equal(observation["posterior_mean"], truth.posterior.mean[0])
        np.testing.assert_array_equal(observation["posterior_log_variance"], truth.posterior.log_variance[0])
        np.testing.assert_array_equal(observation["prediction"], truth.prediction.mean[0])
        np.testing.assert_array_equal(observation["likelihood"], truth.likelihood.mean[0])


def test_a_server_gives_what_this_process_gives(checkpoint: Path, server: str) -> None:
    """The same seeds, the same estimates, but for the rounding of deviations on the wire."""
    here, there = FilterEnv(checkpoint), FilterEnv("tiny", server=server)
    assert here.observation_space == there.observation_space
    assert here.action_space == there.action_space
    for seed in (3, None):
        same(here.reset(seed=seed), there.reset(seed=seed), tolerance=1e-4)
        for x in rolls(5):
            same(here.step(x), there.step(x), tolerance=1e-4)
    there.close()


def test_a_reset_shows_the_first_prior(make: Make) -> None:
    """The posterior is the prior, F is 0, and the first observation is predicted as it will be, by other samples."""
    env = make()
    before, info = env.reset(seed=1)
    after, *_ = env.step(rolls(1)[0])
    np.testing.assert_array_equal(before["posterior_mean"], before["prior_mean"])
    assert info == {"filtered": False, "free_energy": 0.0, "reconstruction": 0.0, "kl": 0.0, "iterations": 0}
    for name in ("prior_mean", "prior_log_variance"):
        np.testing.assert_allclose(before[name], after[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(before["prediction"], after["prediction"], atol=0.05)


def test_iterations_are_as_told(make: Make) -> None:
    """Five instead of the checkpoint's two."""
    env = make(iterations=5)
    env.reset(seed=1)
    assert env.step(rolls(1)[0])[-1]["iterations"] == 5


@pytest.mark.parametrize(
    "wrong",
    [np.zeros(87), np.full(88, np.inf), np.full(88, 1.5), np.zeros((1, 88))],
    ids=["size", "inf", "range", "2d"],
)
def test_what_does_not_fit_is_refused(make: Make, wrong: np.ndarray) -> None:
    """Told what was expected; the sequence goes on."""
    env, other = make(), make()
    env.reset(seed=1)
    other.reset(seed=1)
    with pytest.raises(errors.InvalidObservation, match=r"88|infinity|\[0, 1\]"):
        env.step(wrong)
    same(env.step(rolls(1)[0]), other.step(rolls(1)[0]))


def test_wrong_arguments_are_told(make: Make, gaussian: Path, server: str) -> None:
    """Models that are none, bounds that are none, a step before the reset."""
    with pytest.raises(ResetNeeded):
        make().step(rolls(1)[0])
    with pytest.raises(errors.UnknownModel, match="none-such"):
        FilterEnv("none-such")
    with pytest.raises(errors.UnknownModel, match="holds gaussian, tiny"):
        FilterEnv("none-such", server=server)
    with pytest.raises(errors.InvalidSetting):
        make(iterations=-1)
    for bounds in ((1.0, 1.0), (0.0, float("inf"))):
        with pytest.raises(errors.InvalidArgument, match="bounds"):
            FilterEnv(gaussian, bounds=bounds)
    with pytest.raises(errors.InvalidArgument, match=r"\[0, 1\]"):
        make(bounds=(-1.0, 1.0))
    with pytest.raises(errors.InvalidArgument, match="rows"):
        open_filters(gaussian, rows=0)


def test_closing_twice_is_allowed(make: Make) -> None:
    """As Gymnasium asks; the session is gone after the first."""
    env = make()
    env.reset()
    env.close()
    env.close()


def test_a_client_that_was_given_stays_open(server: str) -> None:
    """Its owner closes it; the sessions of the environment are ended."""
    with Client(server) as client:
        env = FilterEnv("tiny", server=client)
        env.reset(seed=1)
        env.close()
        assert [model.name for model in client.models()] == ["gaussian", "tiny"]


@pytest.mark.parametrize("where", ["local", "remote"])
def test_rows_are_environments(checkpoint: Path, server: str, where: str) -> None:
    """What Gymnasium's own vector environment makes of single ones: spaces, seeds, autoreset, infos and their types."""
    model, address = (checkpoint, None) if where == "local" else ("tiny", server)

    def single() -> gymnasium.Env[Any, Any]:
        return gymnasium.wrappers.TimeLimit(FilterEnv(model, server=address), 3)

    rows = FilterVectorEnv(3, model, server=address, max_episode_steps=3)
    truth = SyncVectorEnv([single] * 3)
    assert rows.metadata["autoreset_mode"] is truth.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    for name in ("single_action_space", "single_observation_space", "action_space", "observation_space"):
        assert getattr(rows, name) == getattr(truth, name)
    for seed in (5, None, [7, None, 1]):
        same(rows.reset(seed=seed), truth.reset(seed=seed), tolerance=1e-5)
        for step in range(6):
            xs = np.stack([rolls(3, seed=step + row)[row] for row in range(3)])
            found = rows.step(xs)
            assert found[0] in rows.observation_space
            same(found, truth.step(xs), tolerance=1e-5)
    mask = np.array([False, True, False])
    xs = rolls(3)
    for _ in range(3):
        begun = rows.reset(seed=9, options={"reset_mask": mask})
        same(begun, truth.reset(seed=9, options={"reset_mask": mask}), tolerance=1e-5)
        same(rows.step(xs), truth.step(xs), tolerance=1e-5)
    rows.close()
    truth.close()


def test_vector_environments_are_made_by_name() -> None:
    """By `gymnasium.make_vec`, batched; the same seed gives the same, bit for bit."""
    envs = gymnasium.make_vec("avf/SRNN-JSB-v0", num_envs=2, max_episode_steps=2)
    assert isinstance(envs, FilterVectorEnv)
    first, second = [(envs.reset(seed=4), [envs.step(rolls(2)) for _ in range(3)]) for _ in range(2)]
    same(first[0][0], second[0][0])
    for one, other in zip(first[1], second[1], strict=True):
        same(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert first[1][1][3].all()
    assert not first[1][2][3].any()
    envs.close()


def test_single_environments_match_by_gymnasiums_matcher(checkpoint: Path) -> None:
    """Two of the same model walk the same way."""
    check_environments_match(FilterEnv(checkpoint), FilterEnv(checkpoint), num_steps=5, seed=1)


def test_wrong_rows_are_told(checkpoint: Path) -> None:
    """Masks, seeds, lengths, and steps before a reset."""
    with pytest.raises(errors.InvalidArgument, match="max_episode_steps"):
        FilterVectorEnv(2, checkpoint, max_episode_steps=0)
    envs = FilterVectorEnv(2, checkpoint)
    with pytest.raises(ResetNeeded):
        envs.step(rolls(2))
    with pytest.raises(ResetNeeded):
        envs.reset(options={"reset_mask": np.array([True, False])})
    for mask in (np.zeros(2, dtype=bool), np.ones(3, dtype=bool), np.ones(2), [True, True]):
        with pytest.raises(errors.InvalidArgument, match="reset_mask"):
            envs.reset(options={"reset_mask": mask})
    with pytest.raises(errors.InvalidArgument, match="3 seeds for 2 rows"):
        envs.reset(seed=[1, 2, 3])


def test_importing_is_cheap_and_missing_extras_are_named() -> None:
    """No torch until a filter of this process is opened; without the extras, the error says which."""
    code = """
import sys
import avf_client.gym, gymnasium
assert "torch" not in sys.modules and "avf_core" not in sys.modules
assert "avf/SRNN-JSB-v0" in gymnasium.registry
sys.modules["torch"] = None
try:
    gymnasium.make("avf/SRNN-JSB-v0")
except avf_client.errors.MissingExtra as error:
    assert "avf[core]" in str(error), error
else:
    raise SystemExit("no error")
for name in [name for name in sys.modules if name.startswith("avf_client.gym")]:
    del sys.modules[name]
sys.modules["gymnasium"] = None
try:
    import avf_client.gym
except avf_client.errors.MissingExtra as error:
    assert "avf[gym]" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
