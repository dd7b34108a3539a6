"""The native executor computes what torch does, and a row the same bits in any batch, by any number of threads."""

import copy
import ctypes
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avf_core import checkpoints
from avf_core.analysis.forecasting import generate
from avf_core.distributions import Bernoulli
from avf_core.errors import ConfigurationError
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.models import srnn
from avf_core.native import _layout, build, library, running, trial
from avf_core.native.crossing import Crossing
from avf_core.native.engine import Engine
from avf_core.native.plan import Undescribed
from avf_core.trees import tree_map
from tests.support.comparing import FIVE, close, exact
from tests.support.native import needed

from .pairs import CHOSEN, DESCRIBED, PAIRS, make, observations

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    needed()
    with torch.no_grad():
        yield


def reference(name: str, xs: Tensor, **options: Any) -> tuple[object, Estimate]:
    """A stretch by torch, in single precision; the authors' form of bins in double, as single leaves little of it."""
    dtype = torch.float64 if "authors" in str(PAIRS[name]["model"]) else torch.float32
    return by("off", make(name, dtype), xs.to(dtype), **options)


def agree(a: object, b: object) -> None:
    """Equal trees, to 1e-5, whatever the precision of each."""

    def compare(x: Tensor, y: Tensor) -> Tensor:
        torch.testing.assert_close(x.double(), y.double(), rtol=1e-5, atol=1e-5)
        return x

    tree_map(compare, a, b)


def by(choice: running.Choice, pair: Filter, xs: Tensor, **options: Any) -> tuple[object, Estimate]:
    """A stretch by one of the paths, the estimates' shapes first."""
    with running.using(choice):
        return pair.scan(pair.initial(torch.arange(xs.shape[1])), xs, **options)


OPTIONS: dict[str, dict[str, Any]] = {
    "configured": {},
    "more than trained for": {"iterations": 9},
    "a number a row": {"iterations": torch.tensor([3, 0, 9, 1, 4])},
    "tolerance": {"iterations": 8, "tolerance": 0.05},
    "no time": {"budget": 0.0},
    "no limit in sight": {"iterations": 3, "budget": 1e6},
}


def test_models_and_procedures_of_dense_nets_describe_themselves() -> None:
    """SRNN, VRNN and codec with iterative or direct inference are computed natively, every example; others by torch."""
    kinds = {(PAIRS[name]["model"]["kind"], PAIRS[name]["inference"]["kind"]) for name in DESCRIBED}
    assert kinds == {(model, procedure) for model in ("codec", "srnn", "vrnn") for procedure in ("iterative", "direct")}
    dense = [name for name in CHOSEN if not name.startswith(("svg", "lgssm", "srnn-adam", "srnn-sgd"))]
    assert set(dense) <= set(DESCRIBED)


@pytest.mark.parametrize("options", sorted(OPTIONS))
@pytest.mark.parametrize("name", DESCRIBED)
def test_native_equals_torch(name: str, options: str) -> None:
    """Beliefs and estimates of a stretch, to 1e-5 in float32, whatever limits inference."""
    pair = make(name)
    xs = observations(pair, 3, 5)
    agree(reference(name, xs, **OPTIONS[options]), by("float32", pair, xs, **OPTIONS[options]))


@pytest.mark.parametrize("name", DESCRIBED)
def test_native_equals_torch_where_some_is_missing(name: str) -> None:
    """Single dimensions, a whole row, and a whole step."""
    pair = make(name)
    xs = observations(pair, 4, 5)
    observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(0)) > 0.4
    observed[1, 2], observed[2] = False, False
    xs = torch.where(observed, xs, float("nan"))
    agree(reference(name, xs, observed=observed), by("float32", pair, xs, observed=observed))


@pytest.mark.parametrize("name", DESCRIBED)
def test_mixed_rows_have_the_same_bits_in_any_batch(name: str) -> None:
    """From 1 row to 131, in chunks or not: also where products are of bfloat16."""
    if not needed().mixes:
        pytest.skip("this machine does not multiply in bfloat16")
    pair = make(name)
    xs, seeds = observations(pair, 2, 131), 1000 + torch.arange(131)
    with running.using("mixed"):
        _, together = pair.scan(pair.initial(seeds), xs)
        for first, size in ((0, 1), (3, 2), (20, 17)):
            rows = slice(first, first + size)
            _, apart = pair.scan(pair.initial(seeds[rows]), xs[:, rows])
            exact(tree_map(lambda t, rows=rows: t[:, rows], together), apart)


@pytest.mark.parametrize("name", ["srnn-whitened", "vrnn-recurrent"])
def test_any_number_of_threads_gives_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are shared out, and know nothing of it; also after a gap, and of a batch that does not divide."""
    pair = make(name)
    xs, seeds = observations(pair, 3, 131), torch.arange(131)
    observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(0)) > 0.2
    before = torch.get_num_threads()
    monkeypatch.setattr(Crossing, "threads", lambda self, rows, most: min(rows, most))
    with running.using("float32"):
        torch.set_num_threads(1)
        alone = pair.scan(pair.initial(seeds), xs, observed=observed)
        try:
            for number in (2, 3, 8):
                torch.set_num_threads(number)
                exact(alone, pair.scan(pair.initial(seeds), xs, observed=observed))
        finally:
            torch.set_num_threads(before)


def test_an_engine_follows_its_parameters() -> None:
    """Changed in place, loaded, or replaced, they are packed anew before the next step."""
    pair = make("srnn-whitened")
    xs = observations(pair, 1, 5)
    for change in (
        lambda: pair.model.decoder_latent.weight.mul_(1.5),
        lambda: pair.load_state_dict({name: 0.5 * value for name, value in pair.state_dict().items()}),
        lambda: setattr(pair.inference.heads, "bias", nn.Parameter(torch.ones_like(pair.inference.heads.bias), False)),
    ):
        _, before = by("float32", pair, xs)
        change()
        close(by("off", pair, xs), by("float32", pair, xs))
        assert not torch.equal(before.free_energy, by("float32", pair, xs)[1].free_energy)


def test_filters_are_copied_and_kept_apart() -> None:
    """A copy has an engine of its own, and its parameters are its own."""
    pair = make("srnn-gated")
    xs = observations(pair, 1, 5)
    _, before = by("float32", pair, xs)
    other = copy.deepcopy(pair)
    other.model.decoder_latent.weight.add_(1.0)
    assert not torch.equal(by("float32", other, xs)[1].free_energy, before.free_energy)
    exact(by("float32", pair, xs)[1], before)


class Louder(srnn.Model):
    """A model that changes what it inherits, and says nothing of it."""

    def decode(self, context: dict[str, Tensor], z: Tensor) -> Any:
        """Other logits."""
        likelihood = super().decode(context, z)
        assert isinstance(likelihood, Bernoulli)
        return Bernoulli(2.0 * likelihood.logits)


def test_a_derived_model_is_torchs() -> None:
    """An inherited plan is not taken for a description of what was changed."""
    pair = make("srnn-direct")
    changed = Louder(srnn.SMALL)
    changed.load_state_dict(pair.model.state_dict())
    derived = Filter(changed.eval().requires_grad_(False), pair.inference).eval()
    xs = observations(pair, 2, 5)
    with pytest.raises(Undescribed, match="Louder"):
        running.plans(derived)
    exact(by("off", derived, xs), by("float32", derived, xs))


@pytest.mark.parametrize("case", ["training", "double", "gradients"])
def test_what_torch_alone_can_is_torchs(case: str) -> None:
    """Training, other precisions and gradients: the same as with the executor off, bit for bit."""
    pair = make("srnn-gated")
    if case == "double":
        pair.double()
    if case == "training":
        pair.train()
    if case == "gradients":
        pair.requires_grad_()
    with torch.set_grad_enabled(case == "gradients"):
        xs = observations(pair, 2, 5)
        _, native = by("float32", pair, xs)
        exact(by("off", pair, xs)[1], native)
        assert native.free_energy.requires_grad == (case == "gradients")


def test_a_choice_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a library `float32` says what to do, `auto` takes torch; and words that are none are named."""
    pair = make("srnn-gated")
    xs = observations(pair, 1, 5)
    monkeypatch.setattr(library, "load", lambda: None)
    with pytest.raises(ConfigurationError, match="no native executor"):
        by("float32", pair, xs)
    exact(by("auto", pair, xs), by("off", pair, xs))
    monkeypatch.setenv("AVF_NATIVE", "fast")
    with pytest.raises(ConfigurationError, match="expected one of auto, off"):
        running.chosen()


@pytest.mark.parametrize(("moves", "gain", "mixed"), [(1e9, 1e9, True), (0.0, 1e9, False), (1e9, 0.0, False)])
def test_mixed_precision_is_taken_where_it_pays_and_f_stays(
    monkeypatch: pytest.MonkeyPatch, moves: float, gain: float, mixed: bool
) -> None:
    """By a trial of filters of some size, whose parameters are frozen; F may not move, and time must be won."""
    if not needed().mixes:
        pytest.skip("this machine does not multiply in bfloat16")
    monkeypatch.setattr(trial, "MOVES", moves)
    monkeypatch.setattr(trial, "GAIN", gain)
    pair = make("srnn-whitened")
    x = observations(pair, 1, 5)[0]

    def chosen() -> bool:
        running._runners.clear()
        with running.using("auto"):
            engine = running.engine_for(pair, x)
        assert engine is not None
        return engine.mixed

    assert not chosen()  # it is small
    monkeypatch.setattr(trial, "LARGE", 0)
    assert chosen() == mixed
    pair.requires_grad_()
    assert not chosen()


def test_mixed_precision_moves_f_of_music_by_little() -> None:
    """The shipped JSB filter on notes that it plays itself: 0.02 % of F at most, and bits that do change."""
    if not needed().mixes:
        pytest.skip("this machine does not multiply in bfloat16")
    filter = checkpoints.load("srnn-jsb").filter
    with running.using("float32"):
        xs = generate(filter, torch.arange(64), time=16)
    single, mixed = (by(choice, filter, xs)[1].free_energy.double() for choice in ("float32", "mixed"))
    assert not torch.equal(single, mixed)
    assert abs(float(mixed.sum() / single.sum()) - 1.0) < trial.MOVES


@pytest.mark.parametrize("name", ["srnn-speech-small", "vrnn-speech-small"])
def test_the_trial_of_mixed_precision_is_on_sound_like_the_data(name: str) -> None:
    """Observations have the training set's center and scale, and F of them moves by less than what is allowed."""
    if not needed().mixes:
        pytest.skip("this machine does not multiply in bfloat16")
    filter = checkpoints.load(name).filter.requires_grad_(False)
    model, inference, registers = running.plans(filter)
    engine = Engine(registers, model, inference, library=needed(), mixed=False)
    state, seeds = filter.model.initial(trial.ROWS), torch.arange(trial.ROWS)
    xs = torch.stack([trial._observation(filter, engine, state, {}, seeds, number) for number in range(8)])
    assert float(xs.mean()) == pytest.approx(model.emission.center[0], abs=0.02 * model.emission.scale[0])
    assert float(xs.std()) == pytest.approx(model.emission.scale[0], rel=0.02)
    single, mixed = (by(choice, filter, xs)[1].free_energy.double() for choice in ("float32", "mixed"))
    assert abs(float(mixed.sum() / single.sum()) - 1.0) < trial.MOVES


@pytest.mark.parametrize("variant", build.fitting())
def test_all_instructions_of_this_machine_agree(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    """The library for older machines gives the same, to 1e-5."""
    paths = build.build([variant], build.cache())
    if not paths:
        pytest.skip(f"the compiler does not know {variant}")
    found = library.Library(paths[0], variant)
    if not found.functions.avf_usable():
        pytest.skip(f"this machine does not let {variant} be used")
    monkeypatch.setattr(library, "load", lambda: found)
    for name in ("srnn-whitened", "vrnn-iterative", "vrnn-recurrent"):
        pair = make(name)
        xs = observations(pair, 3, 17)
        agree(by("off", pair, xs), by("float32", pair, xs))


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (88, 500), (33, 31), (64, 1300)])
@pytest.mark.parametrize("rows", [1, 2, 5, 13, 40])
def test_products_are_those_of_matrices(outputs: int, inputs: int, rows: int) -> None:
    """Of any shape, in both precisions; each row is the same bits alone."""
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(n, inputs, generator=generator) for n in (outputs, rows))
    pair = make("srnn-gated")
    with running.using("float32"):
        engine = running.engine_for(pair, x)
    assert engine is not None
    expected = x.double() @ weight.double().t()
    single = engine.multiplier(weight)
    torch.testing.assert_close(single(x).double(), expected, rtol=1e-5, atol=1e-4)
    exact(single(x)[-1:], single(x[-1:]))
    if needed().mixes:
        half = engine.multiplier(weight, halves=True)
        rounded = x.bfloat16().double() @ weight.bfloat16().double().t()
        torch.testing.assert_close(half(x).double(), rounded, rtol=1e-5, atol=1e-4)
        exact(half(x)[-1:], half(x[-1:]))


@pytest.mark.parametrize("name", DESCRIBED)
def test_predictions_are_those_of_torch(name: str) -> None:
    """At the prior's mean, and at draws from it: any number, of many rows, with and without particles."""
    pair = make(name)
    xs, seeds = observations(pair, 2, 70), torch.arange(70)

    def predicted(choice: running.Choice, particles: int) -> list[Any]:
        with running.using("off"):
            belief, _ = pair.step(pair.initial(seeds, particles=particles), xs[0])
        with running.using(choice):
            outlook = pair.outlook(belief, pair.drive(belief))
            return [outlook.at_prior_mean(), *(outlook.prediction(samples) for samples in (1, 5, 16))]

    for particles in (1, 3):
        for ours, theirs in zip(predicted("float32", particles), predicted("off", particles), strict=True):
            agree(ours, theirs)


@pytest.mark.skipif(not needed().mixes, reason="this machine does not multiply in bfloat16")
def test_predictions_in_bfloat16_differ_by_far_less_than_by_their_draws() -> None:
    """Where the search is, they are: the difference is a fiftieth of what other draws would make."""
    pair = make("srnn-whitened")
    with running.using("off"):
        belief, _ = pair.step(pair.initial(torch.arange(70)), observations(pair, 1, 70)[0])
        outlook = pair.outlook(belief, pair.drive(belief))
        ours, many = outlook.prediction(16).mean, outlook.prediction(1024).mean
    with running.using("mixed"):
        rounded = outlook.prediction(16).mean
        at_mean = outlook.at_prior_mean().mean
    assert 0.0 < (rounded - ours).std() < (many - ours).std() / 50.0
    with running.using("float32"):
        exact(at_mean, outlook.at_prior_mean().mean)


def test_rows_of_the_batch_stay_as_they_are() -> None:
    """A step writes into nothing that it was given, and its results share no memory with later ones."""
    pair = make("srnn-whitened")
    x = observations(pair, 1, 5)[0]
    with running.using("float32"):
        belief = pair.initial(FIVE)
        before = copy.deepcopy(belief)
        first = pair.step(belief, x)
        kept = copy.deepcopy(first)
        pair.step(first[0], 1.0 - x)
    exact(belief, before)
    exact(first, kept)


def test_structures_have_the_layout_of_the_sources() -> None:
    """The library and ctypes agree on the size of each structure."""
    functions = needed().functions
    for number, structure in enumerate(_layout.STRUCTURES):
        assert functions.avf_size(number) == ctypes.sizeof(structure)
