"""What a latent tells of a frame: parts of the variance, by read-outs that were fitted to other data."""

import numpy as np
import pytest
import torch

from avf_core import configuration
from avf_core.filtering import Filter
from avf_core.reproduction import worth

LGSSM = {"kind": "lgssm", "observation_size": 88, "latent_size": 2}


def filter_of(inference: dict[str, object]) -> Filter:
    """A linear model of 88 numbers, of random parameters."""
    torch.manual_seed(0)
    filter = configuration.build({"model": LGSSM, "inference": inference})
    with torch.no_grad():
        filter.model.get_parameter("emission").mul_(10.0)
    return filter


def driven(filter: Filter, seed: int) -> list[np.ndarray]:
    """Sequences that two numbers of white noise drive, as the model says."""
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        weights = filter.model.get_parameter("emission").double().numpy()
    return [(generator.normal(size=(100, 2)) @ weights.T).astype(np.float32) for _ in range(3)]


def test_what_posteriors_tell_and_priors_do_not() -> None:
    """Of white latents nothing is told beforehand, and all of it afterwards."""
    filter = filter_of({"kind": "exact", "covariance": "diagonal"})
    told = worth.measured(filter, driven(filter, 1), driven(filter, 2), "music")
    assert told["of"] == worth.TARGETS["music"]
    assert abs(told["prior"]) < 0.1
    assert told["posterior"] > 0.9


def test_without_a_latent_both_are_the_same() -> None:
    """There is nothing but the past."""
    filter = filter_of({"kind": "deterministic"})
    told = worth.measured(filter, driven(filter, 1), driven(filter, 2), "music")
    assert told["prior"] == told["posterior"]


def test_targets_are_what_they_are_called() -> None:
    """A tone is in its band; a block that lights up is told as a block."""
    tone = np.sin(2 * np.pi * 0.2 * np.arange(3 * 200)).reshape(3, 200)
    bands = worth._target(tone, "audio")
    assert bands.shape == (2, 5)
    assert bands.argmax(axis=-1).tolist() == [3, 3]
    pictures = np.zeros((2, 16, 16))
    pictures[1, 8:, :8] = 1.0
    assert worth._target(pictures.reshape(2, -1), "video").tolist() == [[0.0, 0.0, 1.0, 0.0]]


def test_the_table_needs_a_run_without_a_latent() -> None:
    """Rows by F, the least first; nothing where there is nothing to compare."""

    def run(name: str, role: str, energy: float) -> dict[str, object]:
        told = {"of": "keys that sound", "prior": 0.25, "posterior": 0.5}
        test = {"free_energy_pooled": energy, "kl": 1.0}
        return {"entry": {"name": name, "role": role}, "told": told, "test": test, "updates_in_all": 12}

    with_latent, without = run("a", "ships", 3.0), run("b", "no-latent", 2.5)
    assert worth.table([with_latent]) == ""
    rows = [line for line in worth.table([with_latent, without]).splitlines() if line.startswith("| `")]
    assert rows == ["| `b` | 2.500 | 1.000 | 12 | 0.250 | 0.500 |", "| `a` | 3.000 | 1.000 | 12 | 0.250 | 0.500 |"]


@pytest.mark.parametrize("modality", sorted(worth.TARGETS))
def test_every_modality_has_a_target(modality: str) -> None:
    """As many rows as frames that have one before them."""
    assert len(worth._target(np.random.default_rng(0).random((5, 256)), modality)) == 4
