"""Keys that hear the keys before them, against enumeration, numpy and finite differences."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from avf_core import emissions
from avf_core.distributions import reconstruction
from avf_core.emissions import Units
from avf_core.emissions.autoregressive import KeyByKey
from avf_core.errors import ConfigurationError
from avf_core.mixtures import Mixture

KEYS, UNITS = 4, 3


def built() -> tuple[emissions.Emission, Tensor]:
    """An estimator with weights that matter, and a decoder's numbers for two rows."""
    torch.manual_seed(6)
    emission = emissions.build("autoregressive", {"units": UNITS}, units=Units(), size=KEYS).double()
    emission.requires_grad_(False)
    for parameter in emission.parameters():
        parameter.copy_(1.5 * torch.randn_like(parameter))
    return emission, torch.randn(2, KEYS + UNITS, dtype=torch.float64)


def every() -> Tensor:
    """All sets of keys."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=KEYS)), dtype=torch.float64)


def repeated(found: KeyByKey, row: int, count: int) -> KeyByKey:
    """One row of a likelihood, so many times."""
    parts = (found.bias, found.hidden, found.heard, found.told)
    return KeyByKey(*(part[row].expand(count, *part.shape[1:]) for part in parts))


def test_probabilities_of_all_keys_add_up_to_one_and_are_numpy_s() -> None:
    """Every set of keys enumerated; each probability by the formula, key by key."""
    emission, said = built()
    found = emission.likelihood_of(said, {})
    assert isinstance(found, KeyByKey)
    w, v = (parameter.numpy() for parameter in (emission.heard, emission.told))
    for row in range(2):
        logs = repeated(found, row, 2**KEYS).log_prob(every()).sum(-1)
        torch.testing.assert_close(logs.exp().sum(), torch.ones((), dtype=torch.float64))
        b, c = said[row, :KEYS].numpy(), said[row, KEYS:].numpy()
        for x, log in zip(every().numpy(), logs.tolist(), strict=True):
            expected = 0.0
            for d in range(KEYS):
                hidden = 1.0 / (1.0 + np.exp(-(c + x[:d] @ w[:d])))
                p = 1.0 / (1.0 + np.exp(-(b[d] + v[d] @ hidden)))
                expected += np.log(p if x[d] else 1.0 - p)
            assert log == pytest.approx(expected, rel=1e-9)


def test_samples_have_the_probabilities() -> None:
    """Of draws on independent uniform numbers, the shares of all sets of keys."""
    emission, said = built()
    found = emission.likelihood_of(said, {})
    assert isinstance(found, KeyByKey)
    count = 40_000
    many = repeated(found, 0, count)
    uniform = torch.rand(count, KEYS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = many.sample(uniform)
    expected = repeated(found, 0, 2**KEYS).log_prob(every()).sum(-1).exp()
    shares = (drawn[:, None] == every()).all(-1).double().mean(0)
    torch.testing.assert_close(shares, expected, rtol=0.0, atol=0.01)


def test_what_is_missing_is_drawn_given_the_keys_before() -> None:
    """Observed keys stay; the first missing one has its conditional probability; nothing observed gives the mean."""
    emission, said = built()
    found = emission.likelihood_of(said, {})
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
    emission, said = built()
    x = every()[[5, 11]]
    observed = torch.ones(2, KEYS, dtype=torch.bool)
    observed[0, 1] = False
    several = torch.stack([said, said + 0.3])
    energy, slope = emission.sloped(several, {}, x, observed)
    assert isinstance(slope, Tensor)
    step = 1e-6
    for place in range(KEYS + UNITS):
        moved = several.clone()
        moved[..., place] += step
        above, _ = emission.sloped(moved, {}, x, observed)
        torch.testing.assert_close((above - energy) / step, slope[..., place], rtol=1e-4, atol=1e-5)
    leaf = several.clone().requires_grad_()
    automatic = reconstruction(emission.likelihood_of(leaf, {}), x, observed)
    torch.testing.assert_close(automatic, energy)
    (expected,) = torch.autograd.grad(automatic.sum(), leaf)
    torch.testing.assert_close(slope, expected)


def test_a_mixture_of_them_is_of_zeros_and_ones() -> None:
    """Its mean says all, as with independent keys."""
    emission, said = built()
    found = emission.likelihood_of(said[None], {})
    mixture = Mixture(found, torch.full((1, 2), 0.5, dtype=torch.float64).log())
    assert mixture.discrete
    torch.testing.assert_close(mixture.mean, found.mean.mean(1))


def test_an_estimator_of_no_units_is_refused() -> None:
    """It could say nothing of keys together."""
    with pytest.raises(ConfigurationError, match="units is 0"):
        emissions.build("autoregressive", {"units": 0}, units=Units(), size=KEYS)
