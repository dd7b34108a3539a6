"""Environments across processes: forked, pickled, let go of without being closed."""

import copy
import gc
import multiprocessing
import pickle
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from avf_client import Client
from avf_client.core.keys import ApiKey
from avf_client.gym import BeliefObservation, FilterEnv, FilterVectorEnv
from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv

from tests.support.walks import Walk

# Python warns of forks beside threads; that they go well is what is tested here.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")]


def rolls(count: int) -> np.ndarray:
    """Random notes, (count, 88)."""
    return (np.random.default_rng(0).random((count, 88)) < 0.05).astype(np.float32)


def test_forked_environments_have_connections_of_their_own(server: str, checkpoint: Path) -> None:
    """Of one client that was in use before: each gets its own answers, those of this process' filter."""
    with Client(server) as client:
        assert client.models()
        mine = FilterEnv("tiny", server=client)
        mine.reset(seed=9)
        envs: VectorEnv[dict[str, np.ndarray], np.ndarray, np.ndarray] = gymnasium.make_vec(
            "avf/SRNN-JSB-v0", num_envs=3, vectorization_mode="async", model="tiny", server=client
        )
        truth = FilterVectorEnv(3, checkpoint)
        found, expected = envs.reset(seed=5)[0], truth.reset(seed=5)[0]
        for _ in range(8):
            np.testing.assert_allclose(found["posterior_mean"], expected["posterior_mean"], rtol=1e-4, atol=1e-5)
            found, expected = envs.step(rolls(3))[0], truth.step(rolls(3))[0]
            mine.step(rolls(1)[0])
        envs.close()
        mine.close()


def test_what_was_opened_before_a_fork_begins_anew_after_it(server: str, checkpoint: Path) -> None:
    """A child has none of its parent's sessions, and says so; after a reset it has its own, and ends only these."""
    mine, truth = FilterEnv("tiny", server=server), FilterEnv(checkpoint)
    mine.reset(seed=1)
    parent, child = multiprocessing.Pipe()

    def begin_anew() -> None:
        try:
            mine.step(rolls(1)[0])
        except ResetNeeded as error:
            child.send(str(error))
        mine.reset(seed=2)
        child.send(mine.step(rolls(1)[0])[0]["posterior_mean"])
        mine.close()

    process = multiprocessing.get_context("fork").Process(target=begin_anew)
    process.start()
    assert "forked" in parent.recv()
    truth.reset(seed=2)
    np.testing.assert_allclose(parent.recv(), truth.step(rolls(1)[0])[0]["posterior_mean"], rtol=1e-4, atol=1e-5)
    process.join()
    truth.reset(seed=1)
    expected = truth.step(rolls(1)[0])[0]["posterior_mean"]
    np.testing.assert_allclose(mine.step(rolls(1)[0])[0]["posterior_mean"], expected, rtol=1e-4, atol=1e-5)
    mine.close()


@pytest.mark.parametrize("where", ["local", "remote"])
def test_a_pickled_environment_goes_on_as_it_was(server: str, checkpoint: Path, where: str) -> None:
    """Step by step like the one that it was made of, which goes on too; so does a copy, and rows of many."""
    model, address = (checkpoint, None) if where == "local" else ("tiny", server)
    for env in (FilterEnv(model, server=address), FilterVectorEnv(2, model, server=address)):
        xs = rolls(2) if isinstance(env, FilterVectorEnv) else rolls(1)[0]
        env.reset(seed=3)
        env.step(xs)
        again, copied = pickle.loads(pickle.dumps(env)), copy.deepcopy(env)
        for _ in range(2):
            observations = [each.step(xs)[0]["posterior_mean"] for each in (env, again, copied)]
            np.testing.assert_allclose(observations[1], observations[0], rtol=1e-5)
            np.testing.assert_allclose(observations[2], observations[0], rtol=1e-5)
        for each in (env, again, copied):
            each.close()


def test_a_wrapped_environment_can_be_pickled(server: str) -> None:
    """With the environment that it wraps, and what it owes."""
    env = BeliefObservation(Walk(), "gaussian", server=server)
    env.reset(seed=3)
    again = pickle.loads(pickle.dumps(env))
    np.testing.assert_allclose(again.step(1)[0], env.step(1)[0], rtol=1e-5)
    env.close()
    again.close()


@pytest.mark.parametrize("rows", [1, 3])
def test_an_environment_that_is_let_go_of_ends_its_sessions(server: str, rows: int) -> None:
    """Without having been closed, whoever's client it has."""
    with Client(server) as client:
        before = {each.session.id for each in client.sessions()}
        for given in (server, client):
            env = FilterVectorEnv(rows, "tiny", server=given)
            env.reset(seed=1)
            assert len({each.session.id for each in client.sessions()} - before) == rows
            env.closed = True  # so that Gymnasium does not close it where it is collected
            del env
            gc.collect()
            assert {each.session.id for each in client.sessions()} == before


def test_no_spec_tells_the_key(checkpoint: Path) -> None:
    """Whether one or many were made by name, however the spec is written."""
    key = ApiKey("a-secret-key")
    for env in (
        gymnasium.make("avf/SRNN-JSB-v0", model=checkpoint, api_key=key),
        gymnasium.make_vec("avf/SRNN-JSB-v0", num_envs=2, model=checkpoint, api_key=key),
    ):
        spec = env.unwrapped.spec if isinstance(env, gymnasium.Env) else env.spec
        assert spec is not None
        assert "a-secret-key" not in f"{spec!r} {spec} {spec.kwargs} {vars(spec)}"
        env.close()
