"""The native executor trains as torch does: latents, gradients and optimisers' steps, for whatever describes itself."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from avf_core.configuration import build
from avf_core.filtering import Filter
from avf_core.inference import iterative
from avf_core.native import lessons, running
from avf_core.native.plan import Undescribed
from avf_core.training import em
from avf_core.training.em import Clip
from tests.support.native import needed
from tests.support.training import make_run, never, trainer_of

from .pairs import DESCRIBED, PAIRS, make, observations

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

LEARNING = [name for name in DESCRIBED if PAIRS[name]["inference"]["kind"] == "iterative"]


@pytest.fixture(autouse=True)
def _library() -> None:
    needed()


def clip_of(pair: Filter, *, masked: bool = False) -> Clip:
    """Five steps of five rows, of which one is padding from the third step on; if masked, a third was not seen."""
    xs = observations(pair, 5, 5)
    real = torch.ones(xs.shape[:2], dtype=torch.bool)
    real[2:, 1] = False
    observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(3)) > 0.3 if masked else None
    if observed is not None:
        observed[1, 2] = False  # nothing at all
    return Clip.whole(xs, real, torch.arange(5) + 7, observed=observed)


Found = tuple[list[Tensor], dict[str, Tensor]]


def learned(pair: Filter, clip: Clip, choice: running.Choice, *, outlier: float = 0.0) -> Found:
    """Latents of a clip and phi's gradients, by one of the paths."""
    pair.train()
    pair.model.eval()
    with running.using(choice):
        latents, study = em.expectation(pair, clip, kl_weight=0.7)
        assert isinstance(study, lessons.Lesson) == (choice != "off")
        study.backward(em.weighing(clip.frames, outlier))
    gradients = {name: one.grad.clone() for name, one in pair.inference.named_parameters() if one.grad is not None}
    posterior = latents.posterior
    return [latents.z, posterior.mean, posterior.log_variance], gradients


def agree(one: Found, other: Found) -> None:
    """Latents, and each parameter's gradient as a whole, to 1e-5."""
    for found, expected in zip(one[0], other[0], strict=True):
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-5)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        assert (gradient.double() - other[1][name].double()).norm() <= 1e-5 * (other[1][name].norm() + 1e-3), name


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", LEARNING)
def test_gradients_are_those_of_torch(name: str, masked: bool) -> None:
    """With a weight of KL, padding, gaps and outliers: the same latents, and the same gradients of phi."""
    pair = make(name, torch.float32).requires_grad_(True)
    # The authors' form of bins in double, as single leaves little of it.
    reference = make(name, torch.float64 if "authors" in str(PAIRS[name]["model"]) else torch.float32)
    clip = clip_of(pair, masked=masked)
    precise = dataclasses.replace(clip, xs=clip.xs.to(reference.model.dtype))
    expected = learned(reference.requires_grad_(True), precise, "off", outlier=2.0)
    agree(learned(pair, clip, "auto", outlier=2.0), expected)


def test_proposals_that_are_kept_out_are_judged_all_the_same() -> None:
    """Where rows do not go on from a proposal, the gradient that judges it is had for itself."""
    pair = make("srnn-whitened", torch.float32).requires_grad_(True)
    assert isinstance(pair.inference, iterative.Inference)
    pair.inference.config = dataclasses.replace(pair.inference.config, keep_best=True)
    with torch.no_grad():
        pair.inference.heads.bias.add_(2.0)
    clip = clip_of(pair)
    expected = learned(pair, clip, "off")
    pair.inference.zero_grad()
    agree(learned(pair, clip, "auto"), expected)


@pytest.mark.parametrize("name", ["srnn-whitened", "vrnn-iterative"])
def test_gradients_do_not_depend_on_the_number_of_threads(name: str) -> None:
    """The same bits."""
    pair = make(name, torch.float32).requires_grad_(True)
    clip, before = clip_of(pair), torch.get_num_threads()
    alone = learned(pair, clip, "auto")
    try:
        torch.set_num_threads(3)
        together = learned(pair, clip, "auto")
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(alone[0], together[0], strict=True))
    assert all(torch.equal(alone[1][key], together[1][key]) for key in alone[1])


def test_many_applications_are_summed_stretch_by_stretch() -> None:
    """More than are gone through at a time."""
    pair = make("srnn-learned_sgd", torch.float32).requires_grad_(True)
    xs = observations(pair, 9, 31)
    clip = Clip.whole(xs, torch.ones(xs.shape[:2], dtype=torch.bool), torch.arange(31))
    assert xs.shape[0] * xs.shape[1] * 5 > 4 * 240
    expected = learned(pair, clip, "off")
    pair.inference.zero_grad()
    agree(learned(pair, clip, "auto"), expected)


@pytest.mark.parametrize("phi_steps", ["online", "clip"])
def test_a_run_goes_as_by_torch(tmp_path: Path, phi_steps: str) -> None:
    """After two updates, parameters are moved to the same place, by the precision of Adam's first steps."""
    moved = {}
    for choice in ("off", "auto"):
        trainer = trainer_of(make_run(tmp_path / choice, "srnn-gated", phi_steps=phi_steps))
        with running.using(choice):  # type: ignore[arg-type]
            trainer.train(stop=iter([False, False, True]).__next__)
        moved[choice] = trainer.filter.state_dict()
    for name, tensor in moved["auto"].items():
        torch.testing.assert_close(tensor, moved["off"][name], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("phi_steps", ["online", "clip"])
def test_a_run_is_the_same_to_the_bit(tmp_path: Path, phi_steps: str) -> None:
    """The same seed, the same weights; and stopped in between and resumed, the same again."""
    runs = []
    for name, stops in (("one", None), ("two", None), ("parts", 3)):
        trainer = trainer_of(make_run(tmp_path / name, "srnn-whitened", phi_steps=phi_steps, epochs=2))
        if stops is not None:
            trainer.train(stop=iter([False] * stops + [True]).__next__)
            trainer = trainer_of(make_run(tmp_path / name, "srnn-whitened", phi_steps=phi_steps, epochs=2))
            assert trainer.resume()
        trainer.train(stop=never)
        runs.append(trainer.filter.state_dict())
    for other in runs[1:]:
        assert all(torch.equal(runs[0][name], other[name]) for name in runs[0])


@pytest.mark.parametrize("fused", [True, False])
def test_what_an_optimiser_moved_is_filtered_by(fused: bool) -> None:
    """Steps after one of an optimiser are by the parameters as it left them, also where it is fused."""
    pair = make("srnn-gated", torch.float32)
    xs, seeds = observations(pair, 3, 2), torch.arange(2)
    before = pair.scan(pair.initial(seeds), xs)[1].free_energy
    pair.requires_grad_(True)
    optimizer = torch.optim.AdamW(pair.parameters(), lr=0.1, fused=fused)
    sum((one.sum() for one in pair.parameters()), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    pair.requires_grad_(False)
    after = pair.scan(pair.initial(seeds), xs)[1].free_energy
    with running.using("off"):
        expected = pair.scan(pair.initial(seeds), xs)[1].free_energy
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(after, before, rtol=1e-3)


def test_mixed_products_give_about_the_same_gradients() -> None:
    """Rounding to bfloat16 turns no gradient round."""
    if not needed().mixes:
        pytest.skip("this machine does not multiply in bfloat16")
    pair = make("srnn-whitened", torch.float32).requires_grad_(True).train()
    pair.model.eval()
    clip, found = clip_of(pair), {}
    for dtype in (torch.float32, torch.bfloat16):
        _, study = em.expectation(pair, clip, kl_weight=1.0, dtype=dtype)
        study.backward(em.weighing(clip.frames))
        found[dtype] = [one.grad.clone() for one in pair.inference.parameters() if one.grad is not None]
    for single, half in zip(found[torch.float32], found[torch.bfloat16], strict=True):
        assert (single - half).norm() < 0.05 * single.norm()
        assert not torch.equal(single, half)


def changed_options() -> Iterator[Any]:
    """Filters that lessons do not serve."""
    dropping = copy.deepcopy(PAIRS["srnn-gated"])
    dropping["inference"]["dropout"] = 0.2
    yield pytest.param(dropping, id="dropout in the update model")
    yield pytest.param(PAIRS["svg-iterative"], id="pictures")
    yield pytest.param(PAIRS["srnn-direct"], id="no descent")


@pytest.mark.parametrize("settings", list(changed_options()))
def test_what_has_no_lessons_is_torchs(settings: dict[str, Any]) -> None:
    """None is made; and one that is asked for says why there is none."""
    pair = build(settings)
    assert lessons.training_of(pair, mixed=False) is None
    with pytest.raises(Undescribed):
        lessons.Training(pair, needed(), mixed=False)
