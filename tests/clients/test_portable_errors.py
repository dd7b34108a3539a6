"""Errors go to other processes and are copied as they are, with all that they know."""

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import avf_client
import avf_server
import avf_sources
import avf_wire as wire
import numpy as np
import pytest
from avf_client import Estimate, errors
from avf_client.core import retries
from avf_server.problems import ProblemError, ServerError, SessionMovedError
from avf_sources import MissingExtra

import avf_core
from avf_core.errors import AvfError

WAYS: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)) for protocol in range(6)),
]
PROBLEM = wire.Problem(
    type="urn:avf:problem:sequence-gap", title="A gap", status=409, detail="seq is 9", session="s-1", expected_seq=4
)


def kinds(root: type[Exception]) -> Iterator[type[Exception]]:
    """A class and all below it, of all packages of avf, whatever has been imported."""
    for package in (avf_client, avf_core, avf_server, avf_sources):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" not in module.name:
                importlib.import_module(module.name)
    waiting = [root]
    while waiting:
        kind = waiting.pop()
        if kind.__module__.startswith("avf_"):
            yield kind
        waiting += kind.__subclasses__()


def made(kind: type[Exception]) -> Exception:
    """An exception of this kind, as the packages make it."""
    if issubclass(kind, errors.ProblemError):
        return kind(PROBLEM)
    if issubclass(kind, ProblemError) and kind is not ProblemError:
        return kind("seq is 9", session="s-1", seq=9, expected_seq=4)
    if issubclass(kind, MissingExtra):
        return kind("reading sound", "audio")
    return kind("what was wrong")


def known(error: BaseException) -> dict[str, Any]:
    """What an exception says and knows."""
    return {"type": type(error), "text": str(error), "args": error.args, **vars(error)}


ALL = sorted(
    {
        kind
        for root in (errors.AvfClientError, AvfError, ServerError)
        for kind in kinds(root)
        if kind is not ProblemError
    },
    key=lambda kind: (kind.__module__, kind.__qualname__),
)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_an_error_is_the_same_elsewhere(kind: type[Exception]) -> None:
    """Copies and pickles have the class, the message and every attribute, notes included."""
    error = made(kind)
    error.add_note("while streaming")
    for way in WAYS:
        assert known(way(error)) == known(error)


def test_the_walk_meets_all_three_trees() -> None:
    """The list is not empty where it matters: the client's table of problems, a private error, another package's."""
    assert set(errors.PROBLEMS.values()) | {retries.NeverSent, MissingExtra, SessionMovedError, AvfError} <= set(ALL)


def test_a_problem_brings_its_estimates() -> None:
    """What was filtered before the refused observation comes along."""
    error = errors.from_problem(PROBLEM)
    error.estimates = [estimate()]
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, errors.SequenceGap)
    assert again.problem == PROBLEM
    np.testing.assert_array_equal(again.estimates[0].posterior_mean, np.arange(3.0))


def refuse(_: int) -> None:
    """The work of a process that is refused."""
    raise errors.from_problem(PROBLEM)


def test_a_pool_of_processes_says_what_happened() -> None:
    """A worker's error arrives as it is, and the pool goes on."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for _ in range(2):
            with pytest.raises(errors.SequenceGap, match="seq is 9") as caught:
                list(pool.map(refuse, [1]))
            assert caught.value.problem == PROBLEM


def estimate() -> Estimate:
    """An estimate of three latents and two dimensions."""
    three, two = np.arange(3.0), np.arange(2.0)
    return Estimate(
        seq=1, epoch=1, free_energy=1.0, reconstruction=0.5, kl=0.5, iterations=1, durability="none",
        free_energies=two, prior_mean=three, prior_deviation=three, posterior_mean=three, posterior_deviation=three,
        prediction=two, prediction_deviation=None, likelihood=two, likelihood_deviation=None,
    )  # fmt: skip
