"""A bad plug-in that is dropped into its folder turns tests red, and nobody had to tell the suites of it."""

from pathlib import Path

import pytest

from tests.support import dropped

MODEL = '''
"""A linear Gaussian model that divides by a variance of 0 where latents are far out."""
from collections.abc import Mapping
from dataclasses import dataclass

from avf_core.distributions import Gaussian
from avf_core.models import lgssm


@dataclass(frozen=True, kw_only=True)
class Config(lgssm.Config):
    """Its sizes."""


EXAMPLES: Mapping[str, Config] = {"wide": Config(observation_size=3, latent_size=2)}


class Model(lgssm.Model):
    """Makes NaN."""

    def decode(self, context, z):
        found = super().decode(context, z)
        return Gaussian(found.mean.where(z.abs().sum(-1, keepdim=True) < 1.0, float("nan")), found.log_variance)
'''
PROCEDURE = '''
"""Inference that hears all rows of the batch."""
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from avf_core.distributions import Gaussian
from avf_core.inference import base


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing."""


EXAMPLES: Mapping[str, Config] = {"one": Config()}


class Inference(base.Inference):
    """Mixes rows."""

    def __init__(self, config, model):
        super().__init__()

    def infer(self, objective, state, *, effort=base.CONFIGURED):
        prior = objective.prior
        return base.Inferred(
            posterior=Gaussian(prior.mean + objective.x.mean().to(prior.mean), prior.log_variance),
            state=state,
            free_energies=objective.x.new_zeros(len(objective.x), 0),
            iterations=torch.zeros_like(objective.step),
        )
'''
DATA = '''
"""Sound that is louder than sound can be."""
from dataclasses import dataclass

import numpy as np

from avf_core.data.base import DataSet, Split

MODALITY, GENERAL = "audio", False


@dataclass(frozen=True, kw_only=True)
class Options:
    """None."""


EXAMPLES = {"one": Options()}


def recognises(path):
    return path.suffix == ".loud"


def survey(path, options):
    rows = np.frombuffer(path.read_bytes(), dtype="<f4").reshape(-1, 2)
    split = Split(sequences=1, read=lambda: [3.0 * rows])
    return DataSet(splits=dict.fromkeys(("train", "valid", "test"), split), observation_size=2, rate=8000)


def write_example(folder, generator):
    (folder / "x.loud").write_bytes(generator.random((9, 2)).astype("<f4").tobytes())
    return folder / "x.loud"
'''
SOURCE = '''
"""Numbers as JSON, whose parser's errors get out."""
import json

import numpy as np
from avf_sources import Recording, existing

SUFFIXES, SCHEMES = (".badly",), ()


def read(name, options):
    return Recording(name=name, frames=np.array(json.loads(existing(name).read_text()), dtype=np.float64))


def write_example(folder, generator):
    (folder / "x.badly").write_text(json.dumps(generator.normal(size=(4, 2)).tolist()))
    return str(folder / "x.badly")
'''
CODEC = '''
"""Half precision, which it does not say."""
import numpy as np

from avf_server.codecs.base import Place, Steps, check_raw


class Half:
    media_type = "application/vnd.avf.half"

    def steps(self, body, *, place, size, most):
        seq = check_raw(body, place=place, size=size, most=most, of="numbers", width=2)
        rows = np.frombuffer(body, dtype="<f2").reshape(-1, size)
        return Steps(seq=seq, epoch=place.epoch, observations=list(rows))


codec = Half()


def write_example(rows, *, seq):
    return rows.astype("<f2").tobytes(), Place(seq=seq, epoch=None)
'''
STORE = '''
"""A store that takes whatever comes, wherever the session stands."""
import contextlib
import time

from avf_server.stores.base import Outcome
from avf_server.stores.memory import MemoryStore

SCHEMES = ()


class Careless(MemoryStore):
    async def commit(self, commits):
        await super().commit(commits)
        return [Outcome.APPLIED for _ in commits]


@contextlib.asynccontextmanager
async def open_store(url, limits):
    yield Careless(window=limits.window, ttl=limits.ttl, clock=time.monotonic, history=limits.history)


@contextlib.contextmanager
def example(folder):
    yield "careless:"
'''
BAD = {
    "avf_core.models": (MODEL, "tests/core/test_conformance.py"),
    "avf_core.inference": (PROCEDURE, "tests/core/test_conformance.py"),
    "avf_core.data": (DATA, "tests/core/test_data_contract.py"),
    "avf_sources": (SOURCE, "tests/clients/test_sources_contract.py"),
    "avf_server.codecs": (CODEC, "tests/server/test_codecs_contract.py"),
    "avf_server.stores": (STORE, "tests/server/test_stores.py"),
}
EMPTY = '"""A file that offers nothing."""\n'


@pytest.mark.slow
def test_a_bad_plug_in_turns_its_suite_red(tmp_path: Path) -> None:
    """A model that makes NaN, inference that mixes rows, loud sound, a parser's errors, lost digits, lost fencing."""
    files = {package: {f"badly_{package.rpartition('.')[2]}": source} for package, (source, _) in BAD.items()}
    found = dropped.outcomes(tmp_path, files, suites=sorted({suite for _, suite in BAD.values()}), named="badly")
    for package, (_, suite) in BAD.items():
        named = f"badly_{package.rpartition('.')[2]}"
        mine = {name: outcome for name, outcome in found.items() if name.startswith(suite) and named in name}
        assert "failed" in mine.values(), (package, mine)


@pytest.mark.slow
@pytest.mark.parametrize(
    "package",
    [
        "avf_core.data",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("avf_core.models", "avf_core.inference")),
    ],
)
def test_a_plug_in_without_examples_is_red_too(package: str, tmp_path: Path) -> None:
    """Nobody is tested by saying nothing."""
    suites = ["tests/core/test_plugins.py", "tests/core/test_data_contract.py"]
    found = dropped.outcomes(tmp_path, {package: {"silent": EMPTY}}, suites=suites, named="silent")
    assert "failed" in found.values()
