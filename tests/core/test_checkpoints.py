"""Checkpoints and data files: what was written is read, and what is damaged is named."""

from pathlib import Path

import pytest
import torch

from avf_core import checkpoints, configuration
from avf_core.errors import CheckpointError

from .pairs import PAIRS, SRNN, make, observations


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "one"
    name = "srnn-gated"
    checkpoints.save(folder, filter=make(name), settings=PAIRS[name], card={"seed": 3})
    return folder


def test_a_checkpoint_gives_the_same_estimates(saved: Path) -> None:
    """Saved and loaded, bit for bit."""
    filter, loaded = make("srnn-gated"), checkpoints.load(saved)
    xs = observations(filter, 4, 3)
    with torch.no_grad():
        _, a = filter.scan(filter.initial(torch.arange(3)), xs)
        _, b = loaded.filter.scan(loaded.filter.initial(torch.arange(3)), xs)
    assert torch.equal(a.free_energy, b.free_energy)
    assert loaded.card == {"seed": 3}
    assert loaded.name == "one"


def test_the_digest_changes_with_weights_and_settings(saved: Path, tmp_path: Path) -> None:
    """So that a belief of another model is told apart."""
    digest = checkpoints.load(saved).digest
    assert checkpoints.load(saved).digest == digest
    other = make("srnn-gated")
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    checkpoints.save(tmp_path / "two", filter=other, settings=PAIRS["srnn-gated"], card={})
    assert checkpoints.load(tmp_path / "two").digest != digest


@pytest.mark.parametrize(
    ("file", "content", "word"),
    [
        ("weights.safetensors", b"", "damaged"),
        ("weights.safetensors", b"\x00" * 100, "damaged"),
        ("config.json", b"{", "no JSON"),
        ("config.json", b"[1]", "expected an object"),
        ("config.json", b'{"format": "avf-checkpoint", "version": 99}', "version 1"),
        ("card.json", None, "cannot read"),
        ("weights.safetensors", None, "cannot read"),
    ],
)
def test_damaged_checkpoints_are_named(saved: Path, file: str, content: bytes | None, word: str) -> None:
    """Truncated, foreign, missing: each says what is wrong."""
    if content is None:
        (saved / file).unlink()
    else:
        (saved / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=word):
        checkpoints.load(saved)


def test_truncated_weights_and_foreign_models_are_named(saved: Path) -> None:
    """A file cut short, and weights that fit another model."""
    path = saved / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.load(saved)
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoints.start_from(make("lgssm-iterative"), checkpoints.load(saved))
    with pytest.raises(CheckpointError, match="no checkpoint 'nowhere'"):
        checkpoints.load("nowhere")


def test_starting_from_a_checkpoint_takes_what_fits(saved: Path) -> None:
    """The model's weights always; the inference procedure's where it is the same one."""
    same, other = configuration.build(PAIRS["srnn-gated"]), configuration.build(PAIRS["srnn-direct"])
    source = checkpoints.load(saved)
    for filter in (same, other):
        checkpoints.start_from(filter, source)
        for name, tensor in source.filter.model.state_dict().items():
            assert torch.equal(filter.model.state_dict()[name], tensor)
    for name, tensor in source.filter.inference.state_dict().items():
        assert torch.equal(same.inference.state_dict()[name], tensor)


def test_keys_that_hear_each_other_start_from_keys_that_do_not(tmp_path: Path) -> None:
    """An autoregressive model takes the weights of an independent one, and says nearly the same at first."""
    independent = {**PAIRS["srnn-gated"], "model": {**SRNN, "likelihood": "bernoulli"}}
    dependent = {**independent, "model": {**SRNN, "likelihood": "autoregressive", "emission": {"units": 5}}}
    source, filter = configuration.build(independent), configuration.build(dependent)
    checkpoints.save(tmp_path, filter=source, settings=independent, card={})
    checkpoints.start_from(filter, checkpoints.load(tmp_path))
    xs = (torch.rand(4, 3, 6, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    seeds = torch.arange(3)
    found, expected = (each.requires_grad_(False).scan(each.initial(seeds), xs)[1] for each in (filter, source))
    torch.testing.assert_close(found.free_energy, expected.free_energy, rtol=0.0, atol=0.3)
    larger = {**dependent, "model": {**dependent["model"], "hidden_size": 9}}
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoints.start_from(configuration.build(larger), checkpoints.load(tmp_path))


def test_a_filter_of_64_bits_is_saved_in_them(tmp_path: Path) -> None:
    """And read back as it was by who asks for its own precision; others are float32, whatever they are stored in."""
    double, settings = make("lgssm-exact").double(), PAIRS["lgssm-exact"]
    with torch.no_grad():
        next(double.model.parameters()).add_(1e-12)
    checkpoints.save(tmp_path / "double", filter=double, settings=settings, card={})
    checkpoints.save(tmp_path / "half", filter=double, settings=settings, card={}, dtype=torch.float16)
    found = checkpoints.load(tmp_path / "double", dtype=None)
    assert all(map(torch.equal, found.filter.model.parameters(), double.model.parameters()))
    assert found.weights == "float64"
    assert checkpoints.load(tmp_path / "double").filter.model.dtype is torch.float32
    assert checkpoints.load(tmp_path / "half", dtype=None).filter.model.dtype is torch.float32
