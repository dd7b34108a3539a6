"""One loop of inference: the E-step of training finds what the filter finds, for every pair and every option."""

import copy
import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from avf_core import inference
from avf_core.configuration import build
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference import _descent, _study, iterative
from avf_core.objectives import StepObjective
from avf_core.plugins import plugin
from avf_core.training import em
from tests.support.comparing import close

from .pairs import LISTED, PAIRS, observations, told

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

STEPS, ROWS = 4, 5
DESCENTS: dict[str, dict[str, Any]] = {
    "one iteration": {"iterations": 1},
    "more iterations than noise is drawn for in one go": {"iterations": _descent.AHEAD + 2},
    "samples": {"samples": 3, "antithetic": False},
    "antithetic": {"samples": 4, "antithetic": True},
    "accept or keep": {"keep_best": True, "common_samples": 4, "iterations": 3},
    "accept or keep, samples": {"keep_best": True, "samples": 2, "antithetic": True, "iterations": 2},
}
"""What every procedure that descends can be told."""
NUMBERS: dict[str, dict[str, Any]] = {"layers": {"layers": 1}, "decay": {"decay": 0.5}, "recurrent": {"recurrent": 5}}


def options(kind: str) -> dict[str, dict[str, Any]]:
    """Changes of a procedure's settings: each word and each yes or no that it may be told, and some numbers."""
    config = plugin(inference, kind).Config
    found = dict(DESCENTS) if issubclass(config, _descent.Config) else {}
    for name, hint in typing.get_type_hints(config).items():
        words = typing.get_args(hint) if typing.get_origin(hint) is Literal else (False, True) if hint is bool else ()
        if name not in ("antithetic", "keep_best"):
            found |= {f"{name} {word}": {name: word} for word in words}
        if name in NUMBERS:
            found[name] = NUMBERS[name]
    return found


def cases() -> Iterator[tuple[str, str]]:
    """Every pair as it is listed, and one of every model with every procedure by all options."""
    met = set()
    for name, pair in sorted(PAIRS.items()):
        yield name, "as listed"
        kinds = (pair["model"]["kind"], pair["inference"]["kind"])
        if kinds not in met and name in LISTED:
            met.add(kinds)
            yield from ((name, option) for option in options(kinds[1]))


def made(name: str, changes: dict[str, Any]) -> Filter:
    """The filter of a pair in float64, with changes to its procedure's settings."""
    torch.manual_seed(7)
    pair = PAIRS[name]
    return told(build({**pair, "inference": {**pair["inference"], **changes}})).double().eval().requires_grad_(False)


def clip_of(filter: Filter, *, gaps: bool = False) -> em.Clip:
    """A clip without padding; with `gaps`, of some numbers, and of a whole frame."""
    seeds, real = torch.arange(ROWS), torch.ones(STEPS, ROWS, dtype=torch.bool)
    drive = filter.drive(filter.initial(seeds), time=(STEPS,))
    xs, observed = observations(filter, STEPS, ROWS), None
    if gaps:
        observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(0)) < 0.7
        observed[1, 2] = False
        xs = torch.where(observed, xs, 0.0)
    return em.filled(filter, em.Clip.whole(xs, real, seeds, drive, observed))


def agree(filter: Filter, *, gaps: bool = False) -> em.Studied:
    """Latents, posteriors and F of the E-step are the filter's; the study that the E-step made."""
    clip = clip_of(filter, gaps=gaps)
    latents, study = em.expectation(filter, clip, kl_weight=1.0)
    with torch.no_grad():
        _, estimates = filter.scan(filter.initial(clip.seeds), clip.xs, observed=clip.observed)
        _, reconstruction, kl = em.step_bounds(filter, clip, latents, kl_weight=1.0)
    close(latents.posterior, estimates.posterior, 1e-9)
    close(latents.z, estimates.z, 1e-9)
    close(reconstruction + kl, estimates.free_energy, 1e-8)
    return study


@pytest.mark.parametrize(("name", "option"), list(cases()))
def test_the_e_step_finds_what_the_filter_finds(name: str, option: str) -> None:
    """The same posteriors and latents, by whatever procedure, however it is configured.

    One that keeps the past in closed form has no latents: it is refused, and its way to learn is its own F.
    """
    changes = {} if option == "as listed" else options(PAIRS[name]["inference"]["kind"])[option]
    filter = made(name, changes)
    clip = clip_of(filter)
    _, estimate = filter.scan(filter.initial(clip.seeds), clip.xs)
    if not estimate.exact:
        agree(filter)
        return
    with pytest.raises(ConfigurationError, match=r"closed form.*'with theta'"):
        em.expectation(filter, clip, kl_weight=1.0)
    assert filter.inference.learns == "with theta"
    close(em.joint_free_energy(filter, clip, kl_weight=1.0)[0], estimate.free_energy.mean(), 1e-9)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_also_where_something_is_missing(name: str) -> None:
    """Of gaps, the E-step hears what the filter hears, and theta is taught by what was observed."""
    filter = made(name, {})
    clip = clip_of(filter, gaps=True)
    assert int(clip.frames) == STEPS * ROWS - 1
    _, estimate = filter.scan(filter.initial(clip.seeds), clip.xs, observed=clip.observed)
    if not estimate.exact:
        agree(filter, gaps=True)
        return
    mean = estimate.free_energy.sum() / clip.frames
    close(em.joint_free_energy(filter, clip, kl_weight=1.0)[0], mean, 1e-9)


@pytest.fixture(params=[name for name in sorted(LISTED) if LISTED[name]["inference"]["kind"] == "iterative"])
def misled(request: pytest.FixtureRequest) -> Filter:
    """A filter that keeps the best of proposals which are bad on purpose: some far away, some not finite."""
    filter = made(request.param, {"keep_best": True, "common_samples": 4, "iterations": 4})
    procedure = filter.inference
    assert isinstance(procedure, iterative.Inference)
    procedure.heads.weight.mul_(30.0)
    procedure.heads.bias.mul_(30.0)
    return filter


def test_bad_proposals_are_refused_in_training_too(misled: Filter) -> None:
    """With accept-or-keep the E-step goes on from what the filter goes on from, and trains what was refused as well."""
    study = agree(misled)
    assert isinstance(study, _study.Study)
    assert len(study.applications) == 4 * STEPS
    free = copy.deepcopy(misled)
    assert isinstance(free.inference, iterative.Inference)
    free.inference.config = replace(free.inference.config, keep_best=False)
    followed, _ = em.expectation(free, clip_of(free), kl_weight=1.0)
    kept, _ = em.expectation(misled, clip_of(misled), kl_weight=1.0)
    assert float((followed.posterior.mean - kept.posterior.mean).abs().max()) > 0.5


class Far(iterative.Inference):
    """An update model that is beyond reach in the first row: its proposal there is not finite."""

    def settle(self, terms, said, prior):  # type: ignore[no-untyped-def]
        settled = super().settle(terms, said, prior)
        settled.mean[..., 0, :] = float("nan") * settled.mean[..., 0, :]
        return settled


def test_proposals_beyond_reach_leave_their_rows_where_they_are() -> None:
    """In the E-step as in the filter; their gradient is not finite, which the trainer skips and counts."""
    filter = made("srnn-learned_sgd", {})
    procedure = filter.inference
    procedure.__class__ = Far
    study = agree(filter)
    objective: StepObjective = filter.objective(filter.initial(torch.arange(ROWS)), observations(filter, 1, ROWS)[0])
    inferred = procedure.infer(objective, {})
    torch.testing.assert_close(inferred.posterior.mean[0], objective.prior.mean[0], rtol=0, atol=0)
    assert not bool((inferred.posterior.mean[1:] == objective.prior.mean[1:]).all(-1).any())
    assert isinstance(study, _study.Study)
    assert bool(study.applications[0].target.mean[0].isnan().all())
    assert bool(study.applications[0].target.mean[1:].isfinite().all())
