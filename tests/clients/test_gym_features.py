"""What policies and people see of beliefs: features by name or function, pictures of what is filtered."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from avf_client import errors
from avf_client.gym import BeliefObservation, Estimates, FilterEnv, FilterVectorEnv, VectorBeliefObservation
from avf_client.gym.features import BELIEF, NAMES
from gymnasium.vector import SyncVectorEnv

from avf_core import checkpoints
from tests.support.walks import Walk

pytestmark = pytest.mark.slow


def test_features_are_the_estimates_parts(gaussian: Path) -> None:
    """Each under its name, one after the other, and the model's own state is what the next step goes on from."""
    filter = checkpoints.load(gaussian).filter
    env, bare = BeliefObservation(Walk(), gaussian, features=NAMES), Walk()
    seen, _ = env.reset(seed=4)
    x, _ = bare.reset(seed=4)
    seed = int(gymnasium.utils.seeding.np_random(4)[0].integers(2**62))
    with torch.no_grad():
        belief = filter.initial(torch.tensor([seed]))
        for _ in range(3):
            belief, e = filter.step(belief, torch.from_numpy(x)[None])
            parts = {
                "prior_mean": e.prior.mean, "prior_log_variance": e.prior.log_variance,
                "posterior_mean": e.posterior.mean, "posterior_log_variance": e.posterior.log_variance,
                "prediction": e.prediction.mean, "likelihood": e.likelihood.mean,
                "state": torch.cat([belief.model[name].flatten(1) for name in sorted(belief.model)], dim=1),
                "free_energy": e.free_energy[:, None], "observation": torch.from_numpy(x)[None],
                "observed": torch.ones(1, 3),
            }  # fmt: skip
            expected = torch.cat([parts[name] for name in NAMES], dim=1)[0].numpy()
            np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-6)
            assert seen in env.observation_space
            seen, *_ = env.step(1)
            x, *_ = bare.step(1)


def test_recurrent_models_show_their_memory(checkpoint: Path) -> None:
    """The state of a recurrent model, beside its latent: as many numbers as it remembers."""
    filter = checkpoints.load(checkpoint).filter
    size = sum(part.shape[1:].numel() for part in filter.model.initial(1).values())
    show = gymnasium.wrappers.TransformObservation(
        Walk(), lambda x: np.resize(x > 0, 88).astype(np.float32), gymnasium.spaces.MultiBinary(88)
    )
    env = BeliefObservation(show, checkpoint, features=("state",))
    first, _ = env.reset(seed=1)
    assert first.shape == (size,)
    assert not np.array_equal(first, env.step(0)[0])


def test_a_function_may_make_features(gaussian: Path) -> None:
    """Of rows of estimates, arrays; their number is found out."""

    def spread(estimates: Estimates) -> np.ndarray:
        return (0.5 * estimates.posterior_log_variance).sum(axis=1, keepdims=True)

    env = VectorBeliefObservation(SyncVectorEnv([Walk] * 2), gaussian, features=("posterior_log_variance", spread))
    assert env.single_observation_space.shape == (3,)
    seen, _ = env.reset(seed=1)
    np.testing.assert_allclose(seen[:, 2], (0.5 * seen[:, :2]).sum(axis=1), rtol=1e-6)


def test_bounds_are_those_that_hold(gaussian: Path, checkpoint: Path) -> None:
    """None of latents, those of the model for what it expects, those of the environment for what it shows."""
    env = BeliefObservation(Walk(), gaussian, features=("posterior_mean", "observed"))
    assert isinstance(env.observation_space, gymnasium.spaces.Box)
    np.testing.assert_array_equal(env.observation_space.low, [-np.inf] * 2 + [0.0] * 3)
    np.testing.assert_array_equal(env.observation_space.high, [np.inf] * 2 + [1.0] * 3)
    music = FilterEnv(checkpoint).observation_space
    assert isinstance(music, gymnasium.spaces.Dict)
    assert music["prediction"] == gymnasium.spaces.Box(0.0, 1.0, (88,), np.float32)
    assert not music["posterior_mean"].is_bounded()  # type: ignore[attr-defined]


def test_features_that_are_none_are_refused(gaussian: Path, server: str) -> None:
    """By name, and what there is; the state of a filter on a server; functions that give no rows."""
    for wrong in ((), "posterior_mean", ("posterior",)):
        with pytest.raises(errors.InvalidArgument, match="posterior"):
            BeliefObservation(Walk(), gaussian, features=wrong)
    with pytest.raises(errors.InvalidArgument, match="stays on its server"):
        BeliefObservation(Walk(), "gaussian", server=server, features=("state",))
    with pytest.raises(errors.InvalidArgument, match=r"expected \(1, numbers\)"):
        BeliefObservation(Walk(), gaussian, features=(lambda estimates: estimates.free_energy,))


def test_particles_say_together_what_is_known(gaussian: Path) -> None:
    """The moments are those of the library's weighted mixture; each row of many has its own, by its seed."""
    filter = checkpoints.load(gaussian).filter
    env, bare = BeliefObservation(Walk(), gaussian, particles=16, features=(*BELIEF, "state")), Walk()
    seen, _ = env.reset(seed=4)
    x, _ = bare.reset(seed=4)
    seed = int(gymnasium.utils.seeding.np_random(4)[0].integers(2**62))
    with torch.no_grad():
        belief = filter.initial(torch.tensor([seed]), particles=16)
        for _ in range(3):
            belief, e = filter.step(belief, torch.from_numpy(x)[None])
            weights = belief.particles["log_weights"][0].exp()[:, None]
            state = torch.cat([(weights * belief.model[name][0]).sum(0) for name in sorted(belief.model)])
            parts = [e.posterior.mean[0], e.posterior.log_variance[0], state]
            np.testing.assert_allclose(seen, torch.cat(parts).numpy(), rtol=1e-4, atol=1e-5)
            seen, *_ = env.step(1)
            x, *_ = bare.step(1)
    rows = VectorBeliefObservation(SyncVectorEnv([Walk] * 2), gaussian, particles=16, features=(*BELIEF, "state"))
    np.testing.assert_allclose(rows.reset(seed=4)[0][0], env.reset(seed=4)[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(errors.InvalidSetting, match="particles is 0"):
        FilterEnv(gaussian, particles=0)


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_pictures_show_the_last_steps(gaussian: Path, checkpoint: Path, mode: str) -> None:
    """Text says the energies; an image has the newest step to the right, grey where something was missing."""
    for model, size in ((gaussian, 3), (checkpoint, 88)):
        env = FilterEnv(model, render_mode=mode)
        env.reset(seed=1)
        empty = env.render()
        x = np.zeros(size, dtype=np.float32)
        x[0] = np.nan
        *_, info = env.step(x)
        picture = env.render()
        if mode == "ansi":
            assert "nothing is observed" in empty
            assert f"F {info['free_energy']:.3f} nats" in picture
            assert picture.count("\n") == 4
            assert "·" in picture.splitlines()[1]
        else:
            assert picture.dtype == np.uint8
            assert picture.shape == empty.shape == (picture.shape[0], 256, 3)
            np.testing.assert_array_equal(picture[0, -1], [128, 128, 128])
            assert not np.array_equal(picture[:, -4:], empty[:, -4:])
            np.testing.assert_array_equal(picture[:, :-4], empty[:, :-4])
        env.reset(seed=1)
        assert np.array_equal(env.render(), empty)


def test_rows_have_pictures(gaussian: Path) -> None:
    """One a row; none without a mode; and a mode that is none is refused."""
    envs = FilterVectorEnv(2, gaussian, render_mode="ansi")
    envs.reset(seed=1)
    envs.step(np.zeros((2, 3), dtype=np.float32))
    pictures = envs.render()
    assert pictures is not None
    assert [picture.startswith("step 1") for picture in pictures] == [True, True]
    assert FilterVectorEnv(2, gaussian).render() is None
    assert FilterEnv(gaussian).render() is None
    with pytest.raises(errors.InvalidArgument, match="ansi, rgb_array"):
        FilterEnv(gaussian, render_mode="human")
    made = gymnasium.make("avf/SRNN-JSB-v0", model=gaussian, render_mode="rgb_array")
    made.reset(seed=1)
    assert made.render().shape[1:] == (256, 3)  # type: ignore[union-attr]
