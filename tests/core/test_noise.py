"""The counter-based generator against independent references."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from avf_core import noise

MASK = 0xFFFFFFFFFFFFFFFF


def python_mix(z: int) -> int:
    """SplitMix64's output function in Python's own integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def unsigned(tensor: torch.Tensor) -> list[int]:
    return [int(v) & MASK for v in tensor]


def test_mix_gives_the_published_sequence() -> None:
    """Seed 1234567 gives SplitMix64's well-known first outputs."""
    counters = torch.tensor([noise._signed(1234567 + k * noise.GAMMA) for k in range(1, 4)])
    assert unsigned(noise.mix(counters)) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_mix_equals_pythons_integers(values: list[int]) -> None:
    """Wrapping signed arithmetic gives what unbounded integers give."""
    assert unsigned(noise.mix(torch.tensor(values))) == [python_mix(v & MASK) for v in values]


def test_noise_of_a_row_depends_on_that_row_only() -> None:
    """Rows, streams and prefixes are the same alone and among others."""
    seeds, steps = torch.tensor([5, -9, 2**62]), torch.tensor([0, 7, 123456])
    together = noise.standard_normal(seeds, steps, streams=range(4), size=9)
    for row in range(3):
        one = slice(row, row + 1)
        alone = noise.standard_normal(seeds[one], steps[one], streams=[2], size=9)
        assert torch.equal(alone[0, 0], together[2, row])


def test_noise_is_standard_normal_and_independent_of_neighbours() -> None:
    """A Kolmogorov-Smirnov test, and no correlation between rows, steps, streams or dimensions."""
    seeds = torch.arange(200)
    drawn = noise.standard_normal(seeds, seeds * 0, streams=range(5), size=100)
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
    later = noise.standard_normal(seeds, seeds * 0 + 1, streams=range(5), size=100)
    shifted = [
        (drawn, later),
        (drawn[:, 1:], drawn[:, :-1]),
        (drawn[1:], drawn[:-1]),
        (drawn[..., 1:], drawn[..., :-1]),
        (drawn[..., :50], drawn[..., 50:]),
    ]
    for a, b in shifted:
        assert abs(float((a * b).mean())) < 5.0 / a.numel() ** 0.5


def test_uniform_numbers_are_uniform_within_the_open_interval() -> None:
    """Their ends are never met, so that quantile functions stay finite."""
    drawn = noise.uniform(torch.arange(500), torch.zeros(500, dtype=torch.int64), streams=[1], size=64)
    assert float(drawn.min()) > 0.0
    assert float(drawn.max()) < 1.0
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-3
