"""Whether bfloat16 pays for a filter on this machine: tried on observations with the moments of its data.

The law: mixed precision is taken where it is faster, by the processor's time, and where F of the same steps, on the
same noise, moves by less than 0.02 % in the mean. What decides is the same from start to start: seeds are fixed, small
networks, for which the two are about as fast, stay in float32, and so do parameters that may yet be trained.

Observations that have bounds, as keys do, are drawn as the model expects them. Others are noise about the center of
the training set, with its scale, which a checkpoint keeps: the model's own draws, each fed back, swing beyond all data
where samples of sound or channels of a sensor are taken to be independent, and F of those says little of F of data.
"""

import math
import time
from typing import Any

import torch
from torch import Tensor

from avf_core import noise
from avf_core.native.arrays import Stepped
from avf_core.native.engine import Engine
from avf_core.native.plan import InferencePlan

ROWS, STEPS = 16, 8
MOVES = 2e-4  # of F
GAIN = 0.95  # of the time
LARGE = 200_000  # weights that the search multiplies with in each iteration


def worth_trying(parts: Any, inference: InferencePlan, engine: Engine) -> bool:
    """Whether there is a search, of some size, by parameters that stay."""
    frozen = not any(parameter.requires_grad for parameter in parts.parameters())
    return inference.descent is not None and frozen and engine.searched >= LARGE


@torch.no_grad()
def better(parts: Any, single: Engine, mixed: Engine) -> Engine:
    """The engine that a filter's steps are computed by."""
    seeds = torch.arange(ROWS)
    state, memory = parts.model.initial(ROWS), parts.inference.initial(ROWS)
    spent, energies = {single: 0.0, mixed: 0.0}, {single: 0.0, mixed: 0.0}
    for number in range(STEPS):
        x = _observation(parts, single, state, memory, seeds, number)
        for engine in (single, mixed):
            start = time.thread_time()
            did = _step(engine, state, memory, x, seeds, number)
            if number:  # the first one warms up
                spent[engine] += time.thread_time() - start
            energies[engine] += float(did.free_energy.double().sum())
            if engine is single:
                following = did.following
        state = following
    moved = abs(energies[mixed] - energies[single])
    return mixed if moved < MOVES * abs(energies[single]) and spent[mixed] < GAIN * spent[single] else single


def _observation(parts: Any, engine: Engine, state: Any, memory: Any, seeds: Tensor, number: int) -> Tensor:
    """An observation of each row, like data: within its bounds, or of its center and scale."""
    spec, emission = parts.model.observation, engine.model.emission
    if math.isfinite(spec.low) or math.isfinite(spec.high):
        return _expected(parts, engine, state, memory, seeds, number)
    numbers = torch.full_like(seeds, number)
    drawn = noise.standard_normal(seeds, numbers, streams=[noise.IMPUTATION], size=spec.size)[0].float()
    return torch.tensor(emission.center) + torch.tensor(emission.scale) * drawn


def _expected(parts: Any, engine: Engine, state: Any, memory: Any, seeds: Tensor, number: int) -> Tensor:
    """An observation of each row, drawn as the model expects it."""
    blank = next(iter(state.values())).new_zeros(ROWS, parts.model.observation.size)
    did = _step(engine, state, memory, blank, seeds, number, observed=torch.zeros_like(blank, dtype=torch.bool))
    drawn = noise.uniform(seeds, torch.full_like(seeds, number), streams=[noise.IMPUTATION], size=blank.shape[1])[0]
    x: Tensor = did.likelihood.sample(drawn.to(blank.dtype).clamp(1e-6, 1.0 - 1e-6))
    return x


def _step(
    engine: Engine, state: Any, memory: Any, x: Tensor, seeds: Tensor, number: int, observed: Tensor | None = None
) -> Stepped:
    return engine.step(
        state,
        memory,
        x,
        observed=observed,
        seed=seeds,
        number=torch.full_like(seeds, number),
        limits=None,
        tolerance=None,
        budget=None,
    )
