"""The truth: the model that the servers serve, the observations that clients send, and the library's own run of them.

The laws: an observation follows from (seed, epoch, seq), so that a client that has forgotten all knows it again; the
offline run is one uninterrupted `Filter.scan` of all sessions at once.
"""

from collections.abc import Sequence
from pathlib import Path

import avf_wire as wire
import numpy as np
import torch

from avf_core import checkpoints
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.trees import tree_map
from tests.support import models

from .checker import Truth
from .history import History, Reply, Value

Numbers = list[float | None]

MODEL = "tiny"
SIZE = 6
MISSING = 0.05  # of all dimensions
BLOCK = 256  # steps offline at a time
CROWD, LAG = 4, 2
"""Of the sessions of every third seed: their particles, and how far they look back."""


def save_model(folder: Path) -> Path:
    """A tiny checkpoint, untrained; its folder."""
    return models.save(folder / MODEL, models.TINY, name=MODEL)


def crowd(seed: int) -> dict[str, int]:
    """What the session of a seed asks for: every third has particles, and looks back."""
    return {"particles": CROWD, "lag": LAG} if seed % 3 == 0 else {}


def observation(seed: int, epoch: int, seq: int) -> Numbers:
    """Observation `seq`: binary numbers, some of them missing."""
    random = np.random.default_rng([seed, epoch, seq])
    numbers = random.integers(0, 2, SIZE).astype(float).tolist()
    missing = random.random(SIZE) < MISSING
    return [None if gone else number for gone, number in zip(missing, numbers, strict=True)]


def value(estimate: wire.Estimate) -> Value:
    """The numbers by which estimates are compared."""
    return (
        estimate.free_energy,
        estimate.kl,
        estimate.evidence_bound or 0.0,
        estimate.effective_sample_size or 0.0,
        *estimate.free_energies,
        *estimate.posterior.mean,
        *(estimate.posterior.deviation or ()),
        *estimate.prediction.mean,
        *estimate.likelihood.mean,
    )


def scan(model: Path, seed: int, xs: Sequence[Numbers]) -> list[Value]:
    """The library's own run of one sequence."""
    filter = checkpoints.load(model).filter
    with torch.no_grad():
        _, estimate = filter.scan(filter.initial(torch.tensor([seed]), **crowd(seed)), _tensor(xs)[:, None])
    return [tuple(row) for row in _numbers(estimate)[:, 0].tolist()]


def truth_of(history: History, model: Path) -> Truth:
    """The offline run of every epoch of which anything was acknowledged."""
    seeds = {opened.session: opened.seed for opened in history.sessions()}
    counts: dict[tuple[str, int], int] = {}
    for event in history.events:
        if isinstance(event, Reply):
            place = event.session, event.epoch
            counts[place] = max(counts.get(place, 0), event.seq)
    filter = checkpoints.load(model).filter
    found: dict[tuple[str, int], list[Value]] = {}
    for many in (False, True):
        alike = [place for place in counts if bool(crowd(seeds[place[0]])) is many]
        places = sorted(alike, key=lambda place: -counts[place])
        runs = [(seeds[session], epoch, counts[session, epoch]) for session, epoch in places]
        found |= zip(places, _scan(filter, runs), strict=True)

    def truth(session: str, epoch: int, count: int) -> Sequence[Value]:
        return found[session, epoch][:count]

    return truth


def _scan(filter: Filter, runs: Sequence[tuple[int, int, int]]) -> list[list[Value]]:
    """The values of (seed, epoch, count), the longest first; rows leave the batch as they end.

    All of these seeds ask for the same.
    """
    values: list[list[Value]] = [[] for _ in runs]
    if not runs:
        return values
    belief = filter.initial(torch.tensor([seed for seed, _, _ in runs]), **crowd(runs[0][0]))
    for start in range(0, runs[0][2], BLOCK):
        left = sum(count > start for _, _, count in runs)
        belief = tree_map(lambda tensor, left=left: tensor[:left], belief)
        xs = torch.stack([_block(seed, epoch, start) for seed, epoch, _ in runs[:left]], 1)
        with torch.no_grad():
            belief, estimate = filter.scan(belief, xs, observed=~xs.isnan())
        numbers = _numbers(estimate)
        for row, (_, _, count) in enumerate(runs[:left]):
            values[row] += map(tuple, numbers[: count - start, row].tolist())
    return values


def _block(seed: int, epoch: int, start: int) -> torch.Tensor:
    return _tensor([observation(seed, epoch, seq) for seq in range(start + 1, start + BLOCK + 1)])


def _tensor(xs: Sequence[Numbers]) -> torch.Tensor:
    """Shape (time, observation), NaN where missing."""
    return torch.tensor([[float("nan") if number is None else number for number in row] for row in xs])


def _numbers(estimate: Estimate) -> torch.Tensor:
    """As `value`: shape (time, batch, numbers)."""
    posterior = estimate.posterior
    assert hasattr(posterior, "log_variance")
    return torch.cat(
        [
            estimate.free_energy[..., None],
            estimate.kl[..., None],
            estimate.evidence_bound[..., None],
            estimate.effective_sample_size[..., None],
            estimate.free_energies,
            posterior.mean,
            torch.exp(0.5 * posterior.log_variance),
            estimate.prediction.mean,
            estimate.likelihood.mean,
        ],
        -1,
    )
