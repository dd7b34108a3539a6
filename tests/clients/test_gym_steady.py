"""Beliefs keep step with their environments: missing values, observations that are refused, servers that fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import httpx
import numpy as np
import pytest
import torch
from avf_client import Client, Retry, errors
from avf_client.gym import BeliefObservation, FilterEnv, FilterVectorEnv, VectorBeliefObservation
from gymnasium.vector import SyncVectorEnv

from avf_core import Filter, checkpoints
from avf_core.inference import kalman
from avf_core.models import lgssm
from tests.support.walks import Walk

pytestmark = pytest.mark.slow

FEATURES = ("posterior_mean", "observation", "observed")
NAN, HUGE = float("nan"), np.full(3, np.inf)


class Broken(httpx.HTTPTransport):
    """Carries requests to a real server, but those of steps not: while `broken`, unsent; while `deaf`, unanswered."""

    broken = deaf = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As long as nothing is broken."""
        steps = request.url.path.endswith("/steps")
        if self.broken and steps:
            raise httpx.ConnectError("the server is away")
        response = super().handle_request(request)
        if self.deaf and steps:
            response.read()
            raise httpx.ReadError("the answer was lost")
        return response


@pytest.fixture
def transport() -> Broken:
    """One that works, until it is told not to."""
    return Broken()


@pytest.fixture
def client(server: str, transport: Broken) -> Iterator[Client]:
    """A client that tries once."""
    with Client(server, transport=transport, retry=Retry(attempts=1)) as client:
        yield client


def beliefs(env: gymnasium.Env[Any, Any], count: int) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Those of a reset and some steps."""
    observation, info = env.reset(seed=3)
    found = [(observation, info)]
    for _ in range(count):
        observation, *_, info = env.step(1)
        found.append((observation, info))
    return found


@pytest.mark.parametrize("where", ["local", "remote"])
def test_what_is_missing_is_no_nan_to_the_policy(gaussian: Path, server: str, where: str) -> None:
    """It is what the filter expected, and `observed` says that it was not shown; NaN never comes out."""
    model, address = (gaussian, None) if where == "local" else ("gaussian", server)
    gaps = {1: np.array([NAN, 1.0, NAN]), 2: np.full(3, NAN)}
    env = BeliefObservation(Walk(gaps), model, server=address, features=("prediction", *FEATURES))
    found = beliefs(env, 3)
    env.close()
    for seen, info in found:
        assert np.isfinite(seen).all()
        assert seen in env.observation_space
        assert info["filtered"] is True
    np.testing.assert_array_equal([seen[-3:] for seen, _ in found], [[1] * 3, [0, 1, 0], [0] * 3, [1] * 3])
    partly = found[1][0]
    np.testing.assert_array_equal(partly[[-6, -4]], partly[[0, 2]])
    assert partly[-5] == 1.0
    assert found[2][1]["free_energy"] == 0.0


@pytest.mark.parametrize("where", ["local", "remote"])
@pytest.mark.parametrize("bad", [HUGE, np.full(3, 3e38)], ids=["infinite", "beyond"])
def test_a_refused_observation_is_missing_and_the_belief_keeps_step(
    gaussian: Path, server: str, where: str, bad: np.ndarray
) -> None:
    """The episode goes on as if nothing had been shown, and the info says that something was not filtered."""
    model, address = (gaussian, None) if where == "local" else ("gaussian", server)
    envs = [BeliefObservation(Walk({2: x}), model, server=address, features=FEATURES) for x in (bad, np.full(3, NAN))]
    (found, truth) = (beliefs(env, 4) for env in envs)
    assert [info["filtered"] for _, info in found] == [True, True, False, True, True]
    for (seen, _), (expected, _) in zip(found, truth, strict=True):
        np.testing.assert_allclose(seen, expected, rtol=1e-6)
    for env in envs:
        env.close()


def test_a_bad_row_harms_no_other(gaussian: Path) -> None:
    """The rows beside it have what they would have without; so do rows of `FilterVectorEnv`."""
    good, bad = SyncVectorEnv([Walk] * 3), SyncVectorEnv([Walk, lambda: Walk({2: np.full(3, 3e38)}), Walk])
    rows, others = (VectorBeliefObservation(env, gaussian, features=FEATURES) for env in (good, bad))
    np.testing.assert_array_equal(rows.reset(seed=1)[0], others.reset(seed=1)[0])
    for time in range(1, 4):
        whole, part = rows.step(np.ones(3, dtype=int)), others.step(np.ones(3, dtype=int))
        np.testing.assert_allclose(whole[0][[0, 2]], part[0][[0, 2]], rtol=1e-6)
        assert part[-1]["filtered"].tolist() == [True, time != 2, True]
    envs = FilterVectorEnv(3, gaussian)
    envs.reset(seed=1)
    xs = np.zeros((3, 3), dtype=np.float32)
    xs[1] = 3e38
    observations, rewards, *_, infos = envs.step(xs)
    assert infos["filtered"].tolist() == [True, False, True]
    assert rewards[1] == 0.0 > rewards[0]
    assert np.isfinite(observations["posterior_mean"]).all()


@pytest.mark.parametrize("trouble", ["broken", "deaf"])
def test_a_failed_step_is_made_up_for_before_the_next(
    client: Client, transport: Broken, gaussian: Path, trouble: str
) -> None:
    """Whether the request or its answer was lost: the belief is that of all that was shown, in its order, once."""
    env, truth = BeliefObservation(Walk(), "gaussian", server=client), BeliefObservation(Walk(), gaussian)
    expected = beliefs(truth, 4)
    env.reset(seed=3)
    env.step(1)
    setattr(transport, trouble, True)
    for _ in range(2):
        with pytest.raises(errors.ConnectionFailed):
            env.step(1)
    setattr(transport, trouble, False)
    seen, *_, info = env.step(1)
    np.testing.assert_allclose(seen, expected[4][0], rtol=1e-4, atol=1e-5)
    assert info["free_energy"] == pytest.approx(expected[4][1]["free_energy"], rel=1e-4)
    env.close()


def test_rows_of_a_server_that_fails_are_made_up_for_alone(client: Client, transport: Broken, gaussian: Path) -> None:
    """All rows of a vector environment, and what a reset forgets is not made up for."""
    env, truth = (
        VectorBeliefObservation(SyncVectorEnv([Walk] * 2), model, server=address)
        for model, address in (("gaussian", client), (gaussian, None))
    )
    acts = np.ones(2, dtype=int)
    env.reset(seed=3), truth.reset(seed=3)
    transport.broken = True
    with pytest.raises(errors.ConnectionFailed):
        env.step(acts)
    transport.broken = False
    truth.step(acts)
    np.testing.assert_allclose(env.step(acts)[0], truth.step(acts)[0], rtol=1e-4, atol=1e-5)
    transport.broken = True
    with pytest.raises(errors.ConnectionFailed):
        env.step(acts)
    transport.broken = False
    np.testing.assert_allclose(env.reset(seed=5)[0], truth.reset(seed=5)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(env.step(acts)[0], truth.step(acts)[0], rtol=1e-4, atol=1e-5)
    env.close()


def test_an_action_of_an_ended_row_is_not_looked_at(gaussian: Path) -> None:
    """Whatever it holds; of a row that goes on it is refused, and no row has moved."""
    envs, others = (FilterVectorEnv(2, gaussian, max_episode_steps=2) for _ in range(2))
    mask = np.array([True, False])
    for each in (envs, others):
        each.reset(seed=1)
        each.step(np.zeros((2, 3), dtype=np.float32))
        each.reset(seed=2, options={"reset_mask": mask})
        each.step(np.zeros((2, 3), dtype=np.float32))
    xs = np.zeros((2, 3), dtype=np.float32)
    xs[1] = np.inf  # the row that has ended
    *_, infos = envs.step(xs)
    others.step(np.zeros((2, 3), dtype=np.float32))
    assert infos["filtered"].tolist() == [True, False]
    envs.reset(seed=4), others.reset(seed=4)
    with pytest.raises(errors.InvalidObservation, match="infinity"):
        envs.step(xs)
    np.testing.assert_array_equal(
        envs.step(np.ones((2, 3), dtype=np.float32))[1], others.step(np.ones((2, 3), dtype=np.float32))[1]
    )


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Kalman filter of the walk that is told which way it is pushed."""
    settings = {
        "model": {"kind": "lgssm", "observation_size": 3, "latent_size": 3, "input_size": 2},
        "inference": {"kind": "kalman"},
    }
    model = lgssm.Model(lgssm.Config(observation_size=3, latent_size=3, input_size=2))
    with torch.no_grad():
        model.control.copy_(torch.tensor([[-0.5, 0.5]] * 3))
    folder = tmp_path_factory.mktemp("driven") / "driven"
    checkpoints.save(folder, filter=Filter(model, kalman.Inference(kalman.Config(), model)), settings=settings, card={})
    return folder


def test_actions_are_the_models_inputs(driven: Path) -> None:
    """One-hot where discrete, zeros before the first observation; or what a function of the user's makes of them."""
    filter = checkpoints.load(driven).filter
    for inputs in (None, lambda action: np.eye(2)[int(action)]):
        env, bare = BeliefObservation(Walk(), driven, inputs=inputs), Walk()
        seen, _ = env.reset(seed=2)
        x, _ = bare.reset(seed=2)
        belief = filter.initial(torch.zeros(1, dtype=torch.int64))
        told = np.zeros(2)
        for action in (1, 1, 0, 1):
            drive = torch.tensor(told[None], dtype=torch.float32)
            belief, estimate = filter.step(belief, torch.from_numpy(x)[None], inputs=drive)
            np.testing.assert_allclose(seen[:3], estimate.posterior.mean[0].detach(), rtol=1e-5, atol=1e-6)
            seen, *_ = env.step(action)
            x, *_ = bare.step(action)
            told = np.eye(2)[action]


def test_inputs_that_do_not_fit_are_refused(driven: Path, gaussian: Path) -> None:
    """At once where that can be known."""
    with pytest.raises(errors.InvalidArgument, match="takes none"):
        BeliefObservation(Walk(), gaussian, inputs=lambda action: action)
    wide = gymnasium.wrappers.TransformAction(Walk(), int, gymnasium.spaces.Discrete(3))
    with pytest.raises(errors.InvalidArgument, match="3 numbers, driven takes inputs of 2"):
        BeliefObservation(wide, driven)
    env = BeliefObservation(Walk(), driven, inputs=lambda action: [1.0])
    env.reset(seed=1)
    with pytest.raises(errors.InvalidArgument, match="expected 2 finite numbers"):
        env.step(1)


def test_the_actions_of_a_driven_filter_hold_its_inputs(driven: Path) -> None:
    """They follow the observation: the estimate is the library's."""
    env, filter = FilterEnv(driven), checkpoints.load(driven).filter
    assert env.action_space.shape == (5,)
    env.reset(seed=1)
    _, truth = filter.step(
        filter.initial(torch.zeros(1, dtype=torch.int64)), torch.ones(1, 3), inputs=torch.tensor([[0.0, 1.0]])
    )
    found, reward, *_ = env.step(np.array([1.0, 1.0, 1.0, 0.0, 1.0], dtype=np.float32))
    np.testing.assert_allclose(found["posterior_mean"], truth.posterior.mean[0].detach(), rtol=1e-6)
    assert reward == pytest.approx(-truth.free_energy.item())
    with pytest.raises(errors.InvalidObservation, match="inputs hold NaN"):
        env.step(np.array([1.0, 1.0, 1.0, NAN, 1.0], dtype=np.float32))
