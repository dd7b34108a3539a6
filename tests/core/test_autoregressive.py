"""Keys that hear the keys below them and the frames before, against enumeration, numpy and finite differences."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from avf_core import emissions
from avf_core.beliefs import State
from avf_core.distributions import reconstruction
from avf_core.emissions import Units
from avf_core.emissions._keys import PATHS, KeyByKey
from avf_core.errors import ConfigurationError
from avf_core.mixtures import Mixture

KEYS, UNITS, FRAMES, REACH, BELOW = 4, 3, 2, 1, 2
OPTIONS = {"units": UNITS, "frames": FRAMES, "reach": REACH, "below": BELOW}
ROLL = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)


def built() -> tuple[emissions.Emission, Tensor, State]:
    """An estimator with weights that matter, a decoder's numbers for two rows, and what these heard."""
    torch.manual_seed(6)
    emission = emissions.build("autoregressive", OPTIONS, units=Units(), size=KEYS).double()
    emission.requires_grad_(False)
    for parameter in emission.parameters():
        parameter.copy_(torch.randn_like(parameter))
    memory = emission.initial(2, like=ROLL)
    for x in ROLL:
        memory = emission.remember(emission.context(memory), torch.stack([x, x.flip(0)]))
    return emission, torch.randn(2, KEYS + UNITS, dtype=torch.float64), emission.context(memory)


def every() -> Tensor:
    """All sets of keys."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=KEYS)), dtype=torch.float64)


def repeated(found: KeyByKey, row: int, count: int) -> KeyByKey:
    """One row of a likelihood, so many times."""
    bias, shift, heard, paths = (
        part[row].expand(count, *part.shape[1:]) for part in (found.bias, found.shift, found.heard, found.paths)
    )
    return KeyByKey(bias=bias, shift=shift, heard=heard, kept=None, paths=paths, keyboard=found.keyboard)


def by_hand(emission: emissions.Emission, said: np.ndarray, frames: np.ndarray, x: np.ndarray) -> float:
    """log p(x) by loops over keys, frames and neighbours; `frames` are the last ones, the newest last."""
    weights = {name.removeprefix("keyboard."): value.numpy() for name, value in emission.state_dict().items()}
    total = 0.0
    for k in range(KEYS):
        read = weights["place"][k] + said[KEYS:]
        for frame in range(FRAMES):
            for j in range(-REACH, REACH + 1):
                if 0 <= k + j < KEYS:
                    read = read + weights["past.weight"][:, frame, j + REACH] * frames[frame, k + j]
        for j in range(1, BELOW + 1):
            if k - j >= 0:
                read = read + weights["lower.weight"][:, 0, BELOW - j] * x[k - j]
        units = weights["second.weight"] @ np.maximum(read, 0.0) + weights["second.bias"]
        p = 1.0 / (1.0 + np.exp(-(said[k] + weights["told.weight"][0] @ np.maximum(units, 0.0))))
        total += np.log(p if x[k] else 1.0 - p)
    return total


def test_probabilities_of_all_keys_add_up_to_one_and_are_numpy_s() -> None:
    """Every set of keys enumerated; each probability by the formula, key by key."""
    emission, said, context = built()
    found = emission.likelihood_of(said, context)
    assert isinstance(found, KeyByKey)
    for row, roll in enumerate((ROLL, ROLL.flip(1))):
        logs = repeated(found, row, 2**KEYS).log_prob(every()).sum(-1)
        torch.testing.assert_close(logs.exp().sum(), torch.ones((), dtype=torch.float64))
        for x, log in zip(every().numpy(), logs.tolist(), strict=True):
            expected = by_hand(emission, said[row].numpy(), roll[-FRAMES:].numpy(), x)
            assert log == pytest.approx(expected, rel=1e-9)


def test_contexts_of_a_stretch_are_those_of_its_steps() -> None:
    """In one pass over the roll, from a memory that holds frames before it."""
    emission, _, context = built()
    xs = ROLL.flip(0)[:, None].expand(-1, 2, -1)
    together = emission.contexts(context, xs)
    for t, x in enumerate(xs):
        for name, tensor in context.items():
            torch.testing.assert_close(together[name][t], tensor)
        context = emission.context(emission.remember(context, x))


def test_what_a_pattern_means_moves_with_it() -> None:
    """A frame and its past some keys higher have the same probability key by key, where no key is told apart."""
    emission = emissions.build("autoregressive", OPTIONS, units=Units(), size=12).double().requires_grad_(False)
    said = torch.zeros(2, 12 + UNITS, dtype=torch.float64)
    roll = torch.zeros(2, 12, dtype=torch.float64)
    roll[0, 4], roll[0, 6] = 1.0, 1.0
    roll[1] = roll[0].roll(2)
    memory = emission.remember(emission.initial(2, like=roll), roll)
    logs = emission.likelihood_of(said, emission.context(memory)).log_prob(roll)
    torch.testing.assert_close(logs[0, 2:10], logs[1, 4:12])


def test_dropout_is_of_training_alone_and_leaves_no_bias_in_what_is_read() -> None:
    """Some units are silent for all keys of a row, the others louder; in evaluation all are heard."""
    emission = emissions.build("autoregressive", {**OPTIONS, "dropout": 0.5}, units=Units(), size=KEYS)
    said = torch.zeros(2000, KEYS + UNITS)
    context = emission.context(emission.initial(2000, like=said))
    thinned = emission.train().likelihood_of(said, context)
    assert isinstance(thinned, KeyByKey)
    assert thinned.kept is not None
    assert sorted(thinned.kept.unique().tolist()) == [0.0, 2.0]
    assert thinned.kept.mean().item() == pytest.approx(1.0, abs=0.05)
    whole = emission.eval().likelihood_of(said, context)
    assert isinstance(whole, KeyByKey)
    assert whole.kept is None


def test_samples_have_the_probabilities() -> None:
    """Of draws on independent uniform numbers, the shares of all sets of keys."""
    emission, said, context = built()
    found = emission.likelihood_of(said, context)
    assert isinstance(found, KeyByKey)
    count = 40_000
    many = repeated(found, 0, count)
    uniform = torch.rand(count, KEYS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = many.sample(uniform)
    expected = repeated(found, 0, 2**KEYS).log_prob(every()).sum(-1).exp()
    shares = (drawn[:, None] == every()).all(-1).double().mean(0)
    torch.testing.assert_close(shares, expected, rtol=0.0, atol=0.01)


def test_means_are_the_probabilities_of_keys_alone() -> None:
    """As far as sixteen draws of the keys below say; of several samples together, exactly what one says by all."""
    emission, said, context = built()
    found = emission.likelihood_of(said, context)
    assert isinstance(found, KeyByKey)
    for row in range(2):
        weights = repeated(found, row, 2**KEYS).log_prob(every()).sum(-1).exp()
        torch.testing.assert_close(found.mean[row], (weights[:, None] * every()).sum(0), rtol=0.0, atol=0.07)
    torch.testing.assert_close(found.mean[:, 0], found.log_prob(torch.ones_like(said[:, :KEYS]))[:, 0].exp())
    several = emission.likelihood_of(said.expand(PATHS, -1, -1), context)
    torch.testing.assert_close(several.mean.mean(0), found.mean)


def test_what_is_missing_is_drawn_given_the_keys_before() -> None:
    """Observed keys stay; the first missing one has its conditional probability; nothing observed gives the mean."""
    emission, said, context = built()
    found = emission.likelihood_of(said, context)
    assert isinstance(found, KeyByKey)
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    observed = torch.tensor([[True, True, False, True]]).expand(2, -1)
    filled = found.complete(x.masked_fill(~observed, float("nan")), observed)
    one = torch.where(observed, x, 1.0)
    torch.testing.assert_close(filled[:, 2], found.log_prob(one)[:, 2].exp())
    torch.testing.assert_close(filled[observed], x[observed])
    torch.testing.assert_close(found.complete(x, torch.zeros_like(observed)), found.mean)


def test_slopes_are_those_of_finite_differences_and_of_autograd() -> None:
    """With respect to each bias, with a missing key and an axis of samples."""
    emission, said, context = built()
    x = every()[[5, 11]]
    observed = torch.ones(2, KEYS, dtype=torch.bool)
    observed[0, 1] = False
    several = torch.stack([said, said + 0.3])
    energy, slope = emission.sloped(several, context, x, observed)
    assert isinstance(slope, Tensor)
    step = 1e-6
    for place in range(KEYS + UNITS):
        moved = several.clone()
        moved[..., place] += step
        above, _ = emission.sloped(moved, context, x, observed)
        torch.testing.assert_close((above - energy) / step, slope[..., place], rtol=1e-4, atol=1e-5)
    leaf = several.clone().requires_grad_()
    automatic = reconstruction(emission.likelihood_of(leaf, context), x, observed)
    torch.testing.assert_close(automatic, energy)
    (expected,) = torch.autograd.grad(automatic.sum(), leaf)
    torch.testing.assert_close(slope, expected)


def test_a_mixture_of_them_is_of_zeros_and_ones() -> None:
    """Its mean says all, as with independent keys."""
    emission, said, context = built()
    found = emission.likelihood_of(said[None], context)
    mixture = Mixture(found, torch.full((1, 2), 0.5, dtype=torch.float64).log())
    assert mixture.discrete
    torch.testing.assert_close(mixture.mean, found.mean.mean(1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"units": 0}, "units is 0"),
        ({"frames": 0, "below": 0}, "frames is 0, below is 0"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_an_estimator_that_hears_nothing_is_refused(options: dict[str, float], said: str) -> None:
    """It could say nothing of keys together."""
    with pytest.raises(ConfigurationError, match=said):
        emissions.build("autoregressive", options, units=Units(), size=KEYS)
