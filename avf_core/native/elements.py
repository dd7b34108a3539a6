"""Functions of elements by the executor, for steps that torch computes: noise, and log-probabilities of intervals.

The law: what they give is what `avf_core.noise` and `avf_core.intervals` give, rounded to float32.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from avf_core.native import library, running


def standard_normal(seed: Tensor, step: Tensor, *, streams: Sequence[int], size: int) -> Tensor | None:
    """Noise of shape (streams, rows, size) in float32; None where there is no executor."""
    if not seed.is_cpu or running.chosen() == "off" or (native := library.load()) is None:
        return None
    numbers, seed, step = torch.tensor(streams, dtype=torch.int64), seed.contiguous(), step.contiguous()
    out = torch.empty(len(streams), len(seed), size)
    native.functions.avf_standard_normal(
        seed.data_ptr(), step.data_ptr(), numbers.data_ptr(), len(streams), len(seed), size, out.data_ptr()
    )
    return out


def log_probability(
    x: Tensor, mean: Tensor, log_variance: Tensor, width: float, *, sloped: bool
) -> tuple[Tensor, ...] | None:
    """log P, and where `sloped` its derivatives by mean and log-variance; None where there is no executor for it."""
    if x.dtype is not torch.float32 or not x.is_cpu or running.chosen() == "off" or (native := library.load()) is None:
        return None
    read = [value.contiguous() for value in (x, mean, log_variance)]
    made = [torch.empty_like(read[0]) for _ in range(3 if sloped else 1)]
    addresses = [value.data_ptr() for value in made] + [None] * (3 - len(made))
    native.functions.avf_log_probability(*[value.data_ptr() for value in read], x.numel(), width, *addresses)
    return tuple(made)
