"""The shipped checkpoints: they load, fit, and reach on real data what their cards say."""

import json
from pathlib import Path

import pytest
import torch

from avf_core import checkpoints, data
from avf_core.evaluation import evaluate
from avf_core.inference import iterative

NAMES = ["srnn-jsb", "srnn-jsb-direct"]


def test_the_zoo_is_what_it_should_be() -> None:
    """Every checkpoint has a card in both forms; none is large."""
    assert checkpoints.available() == NAMES
    for name in NAMES:
        folder = checkpoints.ZOO / name
        card = json.loads((folder / "card.json").read_text())
        text = (folder / "MODEL_CARD.md").read_text()
        assert f"{card['test']['free_energy_pooled']:.3f}" in text
        assert card["command"] in text
        assert (folder / "weights.safetensors").stat().st_size < 12_000_000


@pytest.mark.parametrize("name", NAMES)
def test_online_filtering_never_meets_nan(name: str) -> None:
    """A few hundred frames of random keys, far from what it knows, give finite energies."""
    filter = checkpoints.load(name).filter
    xs = (torch.rand(300, 4, 88, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    with torch.no_grad():
        _, e = filter.scan(filter.initial(torch.arange(4)), xs)
    assert bool(e.free_energy.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_evaluate_finds(name: str, data_dir: Path) -> None:
    """The test figures, on the JSB chorales, to 0.005 nats."""
    checkpoint = checkpoints.load(name)
    found = evaluate(checkpoint.filter, data.load(data_dir / "music" / "jsb_chorales.npz", "test"))
    for key in ("free_energy_pooled", "free_energy_sequence_mean", "free_energy_without_first_frame", "kl"):
        assert getattr(found, key) == pytest.approx(checkpoint.card["test"][key], abs=0.005)
    assert (found.steps, found.sequences) == (4725, 77)


def test_avf_is_ahead_of_its_baseline_and_below_its_bar(data_dir: Path) -> None:
    """Five iterations, every frame scored: at most 6.9 nats per step, and lower than direct inference."""
    test = data.load(data_dir / "music" / "jsb_chorales.npz", "test")
    avf, direct = (checkpoints.load(name) for name in NAMES)
    assert isinstance(avf.filter.inference, iterative.Inference)
    assert avf.filter.inference.config.iterations == 5
    assert avf.settings["model"] == direct.settings["model"]
    assert avf.card["budget"] <= direct.card["budget"]  # updates, those of the start included
    reached = evaluate(avf.filter, test).free_energy_pooled
    assert reached <= 6.9
    assert reached < evaluate(direct.filter, test).free_energy_pooled
