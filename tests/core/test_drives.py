"""Inputs and dt, for every pair whose model takes them: the contract of `Filter.step`, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

from avf_core import beliefs, drives
from avf_core.errors import ConfigurationError, InputError, TimeStepError
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.trees import take, tree_map
from tests.support.comparing import FIVE, close, exact

from .pairs import LISTED, make, observations

DRIVEN = [
    name for name in sorted(LISTED) if {"input_size", "timed"} & {k for k, v in LISTED[name]["model"].items() if v}
]


@pytest.fixture(params=DRIVEN)
def driven(request: pytest.FixtureRequest) -> Filter:
    """A filter whose model takes inputs, or a dt, or both, with parameters that are nowhere zero."""
    filter = make(request.param)
    generator = torch.Generator().manual_seed(2)
    for parameter in filter.model.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return filter


def told(filter: Filter, time: int, batch: int, seed: int = 5) -> dict[str, Tensor]:
    """Inputs and dt of every step, as the model takes them."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(time, batch, filter.model.input_size, generator=generator)
    dt = 0.05 + 3.0 * torch.rand(time, batch, generator=generator)
    found = {"inputs": inputs} if filter.model.input_size else {}
    return found | ({"dt": dt} if filter.model.timed else {})


def part(of: dict[str, Tensor], *places: Any) -> dict[str, Tensor]:
    """These steps and rows."""
    return {name: tensor[places] for name, tensor in of.items()}


def of_rows(estimates: Estimate, rows: slice) -> Estimate:
    return tree_map(lambda t: t[:, rows], estimates)


def test_the_examples_cover_inputs_and_dt_with_several_procedures() -> None:
    """So that what follows is said of all kinds of models that take them."""
    kinds = {LISTED[name]["model"]["kind"] for name in DRIVEN}
    assert kinds >= {"lgssm", "srnn", "svg", "vrnn"}
    assert {make(name).model.timed for name in DRIVEN} >= {True}


def test_a_driven_step_is_pure_and_its_drive_matters(driven: Filter) -> None:
    """The same arguments give the same result; another input, or another dt, gives another prior."""
    x, given = observations(driven, 1, 5)[0], part(told(driven, 1, 5), 0)
    belief, _ = driven.step(driven.initial(FIVE), x, **given)
    first, second = driven.step(belief, x, **given), driven.step(belief, x, **given)
    exact(first, second)
    for name, tensor in given.items():
        _, other = driven.step(belief, x, **{**given, name: 2.0 * tensor})
        assert not torch.equal(other.prior.mean, first[1].prior.mean), name


def test_rows_do_not_hear_what_moves_others(driven: Filter) -> None:
    """Neither inputs nor dt of another row change a row's estimates, bit for bit."""
    xs, given = observations(driven, 3, 5), told(driven, 3, 5)
    wild = {name: tensor.clone() for name, tensor in given.items()}
    for tensor in wild.values():
        tensor[:, 1:] *= 1e3
    _, calm = driven.scan(driven.initial(FIVE), xs, **given)
    _, stormy = driven.scan(driven.initial(FIVE), xs, **wild)
    exact(of_rows(calm, slice(0, 1)), of_rows(stormy, slice(0, 1)))


def test_a_driven_session_is_resumed_from_bytes_and_forked(driven: Filter) -> None:
    """In the middle, bit for bit; a fork goes on under other inputs and leaves the first as it was."""
    xs, given = observations(driven, 6, 5), told(driven, 6, 5)
    end, whole = driven.scan(driven.initial(FIVE), xs, **given)
    middle, _ = driven.scan(driven.initial(FIVE), xs[:3], **part(given, slice(0, 3)))
    restored = beliefs.stack([beliefs.from_bytes(beliefs.to_bytes(row)) for row in beliefs.unstack(middle)])
    rest = part(given, slice(3, None))
    driven.scan(restored, xs[3:], **{name: 1.5 * tensor for name, tensor in rest.items()})
    resumed_end, after = driven.scan(restored, xs[3:], **rest)
    exact(take(whole, slice(3, None)), after)
    exact(end, resumed_end)


def test_any_batch_of_driven_sequences_gives_the_same_rows(driven: Filter) -> None:
    """From one row to forty, in double precision."""
    driven.double()
    xs, given, seeds = observations(driven, 3, 40), told(driven, 3, 40), 1000 + torch.arange(40)
    _, together = driven.scan(driven.initial(seeds), xs, **given)
    for rows in (slice(0, 1), slice(39, 40), slice(3, 5), slice(7, 24)):
        _, apart = driven.scan(driven.initial(seeds[rows]), xs[:, rows], **part(given, slice(None), rows))
        close(of_rows(together, rows), apart, tolerance=1e-8)


def test_skipped_steps_are_told_what_they_are_told(driven: Filter) -> None:
    """Skipping under inputs is filtering under them with nothing observed."""
    x, given = observations(driven, 1, 5)[0], part(told(driven, 1, 5), 0)
    belief, _ = driven.step(driven.initial(FIVE), x, **given)
    stepped, nothing = belief, torch.zeros_like(x, dtype=torch.bool)
    for _ in range(3):
        stepped, _ = driven.step(stepped, x, observed=nothing, **given)
    exact(driven.skip(belief, 3, **given), stepped)


def test_a_dt_that_is_not_told_is_the_usual_one() -> None:
    """Of a filter, of a skipped step and of a forecast's way alike."""
    filter = plain("srnn.driven")
    x, inputs = observations(filter, 1, 5)[0], torch.ones(5, 2)
    usual = torch.full((5,), 0.5)
    exact(
        filter.step(filter.initial(FIVE), x, inputs=inputs),
        filter.step(filter.initial(FIVE), x, inputs=inputs, dt=usual),
    )
    resting = {"inputs": torch.zeros(5, 2), "dt": usual}
    exact(filter.skip(filter.initial(FIVE), 2), filter.skip(filter.initial(FIVE), 2, **resting))


def plain(example: str) -> Filter:
    """A filter of this example that is told nothing by itself."""
    made = make(next(name for name in DRIVEN if name.startswith(example)))
    return Filter(made.model, made.inference)


NAN, INFINITE = float("nan"), float("inf")
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no inputs": ({}, InputError, "takes 2 inputs a step, but none were given"),
    "too few inputs": ({"inputs": torch.zeros(5, 1)}, InputError, r"shape \(5, 1\), expected \(5, 2\)"),
    "too few rows": ({"inputs": torch.zeros(4, 2)}, InputError, r"shape \(4, 2\), expected \(5, 2\)"),
    "NaN": ({"inputs": torch.full((5, 2), NAN)}, InputError, "NaN or an infinity"),
    "infinite": ({"inputs": torch.full((5, 2), INFINITE)}, InputError, "NaN or an infinity"),
    "dt of zero": ({"dt": torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])}, TimeStepError, "dt is 0, expected"),
    "negative dt": ({"dt": torch.full((5,), -2.0)}, TimeStepError, "dt is -2, expected"),
    "NaN for dt": ({"dt": torch.full((5,), NAN)}, TimeStepError, "dt is nan, expected"),
    "infinite dt": ({"dt": torch.full((5,), INFINITE)}, TimeStepError, "dt is inf, expected"),
    "dt of another shape": ({"dt": torch.ones(5, 1)}, TimeStepError, r"shape \(5, 1\), expected \(5,\)"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_drive_that_does_not_fit_is_refused(case: str) -> None:
    """The error says what was wrong and what was expected."""
    given, kind, words = REFUSED[case]
    filter = plain("srnn.driven")
    given = given if case == "no inputs" else {"inputs": torch.zeros(5, 2), **given}
    with pytest.raises(kind, match=words):
        filter.step(filter.initial(FIVE), observations(filter, 1, 5)[0], **given)


def test_a_model_without_inputs_or_dt_is_given_none() -> None:
    """The errors are kinds of their own, and say what to do."""
    filter = make("srnn-gated")
    x = observations(filter, 1, 5)[0]
    with pytest.raises(InputError, match="takes none"):
        filter.step(filter.initial(FIVE), x, inputs=torch.zeros(5, 1))
    with pytest.raises(TimeStepError, match="timed is false"):
        filter.step(filter.initial(FIVE), x, dt=torch.ones(5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"input_size": -1}, "input_size is -1"),
        ({"input_size": 2, "input_center": (1.0,)}, "input_center has 1 numbers"),
        ({"input_size": 1, "input_scale": (0.0,)}, "above 0"),
        ({"timed": True, "usual_dt": 0.0}, "above 0"),
        ({"decode_inputs": True}, "nothing to decode"),
    ],
)
def test_settings_of_a_drive_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    """When they are made."""
    with pytest.raises(ConfigurationError, match=words):
        drives.Config(**settings)


def test_networks_read_inputs_on_the_scale_of_one_and_the_logarithm_of_dt() -> None:
    """By hand; a dt far from the usual one is read as one that is 22,000 times as long or short."""
    reader = drives.Reader(
        drives.Config(input_size=2, input_center=(1.0, -2.0), input_scale=(2.0, 4.0), timed=True, usual_dt=0.5)
    )
    drive = reader.drive(
        torch.tensor([[3.0, 2.0], [1.0, -2.0]]), torch.tensor([0.5, 1e9]), shape=(2,), like=torch.zeros(1)
    )
    read = torch.cat(reader.features(drive), -1)
    torch.testing.assert_close(read, torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 10.0]]))
