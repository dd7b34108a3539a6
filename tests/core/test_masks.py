"""What is not observed reaches nothing, whatever stands in its place: every filter, particles, bounds, gaps filled."""

import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch

from avf_core import data
from avf_core.analysis import bounds, calibration, evaluation, forecasting, surprise
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.training.clips import clip_batch
from avf_core.training.config import TrainingConfig

from .pairs import make, observations

BEHIND = (float("nan"), float("inf"), -1e30, 1e30)


def flat(value: Any) -> list[torch.Tensor]:
    """The tensors of a result."""
    if isinstance(value, torch.Tensor):
        return [value]
    if is_dataclass(value):
        return [t for field in fields(value) for t in flat(getattr(value, field.name))]
    if isinstance(value, dict):
        return [t for part in value.values() for t in flat(part)]
    return [t for part in value for t in flat(part)] if isinstance(value, list | tuple) else []


def same(first: Any, second: Any) -> bool:
    """Whether all tensors of two results are equal, bit for bit, NaN at the same places."""
    return all(
        torch.equal(a.nan_to_num(9e9), b.nan_to_num(9e9)) for a, b in zip(flat(first), flat(second), strict=True)
    )


def gaps(xs: torch.Tensor) -> torch.Tensor:
    """A mask that covers some values, and one step of a sequence wholly."""
    observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(5)) < 0.6
    observed[1, 0] = False
    return observed


def test_a_filter_reads_nothing_behind_a_mask(pair: Filter) -> None:
    """Beliefs and estimates of two steps are the same, bit for bit."""
    xs = observations(pair, 2, 3)
    observed = gaps(xs)
    first = pair.scan(pair.initial(torch.arange(3)), xs, observed=observed)
    for behind in BEHIND:
        changed = torch.where(observed, xs, behind)
        assert same(first, pair.scan(pair.initial(torch.arange(3)), changed, observed=observed))


@pytest.mark.parametrize("name", ["srnn-gaussian", "lgssm-exact"])
def test_particles_and_imputations_read_nothing_behind_a_mask(name: str) -> None:
    """Weights, evidence and what is put into the gaps."""
    filter = make(name)
    xs = observations(filter, 3, 2)
    observed, seeds = gaps(xs), torch.arange(2)

    def run(x: torch.Tensor) -> list[Any]:
        belief, estimates = filter.scan(filter.initial(seeds, particles=5), x, observed=observed)
        return [belief, estimates, forecasting.impute(filter, x, observed, seeds=seeds, paths=6)]

    first = run(xs)
    for behind in BEHIND:
        assert same(first, run(torch.where(observed, xs, behind)))


def test_masked_sequences_are_those_with_nan() -> None:
    """Evaluation, bounds, calibration, scores and statistics of masked arrays."""
    filter = make("srnn-gaussian")
    xs = observations(filter, 8, 2).numpy()
    observed = gaps(torch.from_numpy(xs)).numpy()
    plain = [np.where(observed, xs, np.nan)[:, row] for row in range(2)]
    figures = []
    for behind in (None, *BEHIND):
        sequences = plain
        if behind is not None:
            covered = np.ma.masked_array(np.where(observed, xs, np.float32(behind)), mask=~observed)
            sequences = [covered[:, row] for row in range(2)]
        figures.append(
            [
                evaluation.evaluate(filter, sequences).as_dict(),
                bounds.bound(filter, sequences, particles=3).as_dict(),
                calibration.calibrate(filter, sequences, particles=3, samples=19).as_dict(),
                [
                    scores.tolist()
                    for scores in surprise.step_scores(filter, sequences, score="evidence", particles_count=3)
                ],
                data.statistics(sequences),
            ]
        )
    assert all(str(each) == str(figures[0]) for each in figures)


def test_clips_of_masked_sequences_are_those_of_nan() -> None:
    """A mask that covers nothing is none; else it says what was observed, and what it covers is not read."""
    config = TrainingConfig(clip_length=3, batch_size=2)
    whole = np.ma.masked_array(np.ones((3, 2)), mask=False)
    assert clip_batch([whole, np.ones((3, 2))], config, 0, 0).observed is None
    whole[1, 1] = np.ma.masked
    clip = clip_batch([whole, whole], config, 0, 0)
    assert clip.observed is not None
    assert (~clip.observed).nonzero()[:, [0, 2]].tolist() == [[1, 1], [1, 1]]
    assert clip.xs.isfinite().all()


def test_sequences_of_no_numbers_are_told() -> None:
    """Complex ones, text and dates."""
    filter = make("srnn-gaussian")
    for kind in ("c8", "U3", "M8[s]"):
        with pytest.raises(DataError, match="no real numbers"):
            evaluation.evaluate(filter, [np.zeros((3, filter.model.observation.size)).astype(kind)])


def test_what_is_no_tensor_is_no_observation() -> None:
    """Numpy's arrays, whose masks torch would drop, and complex numbers; in a process that checks no types."""
    script = """
import numpy as np, torch
from avf_core.errors import ObservationError
from avf_core.filtering import Filter
from avf_core.training.clips import clip_batch
from avf_core.training.config import TrainingConfig
from avf_core.inference import exact
from avf_core.models import lgssm
model = lgssm.Model(lgssm.Config())
filter = Filter(model, exact.Inference(exact.Config(), model))
belief = filter.initial(torch.arange(1))
for x in (np.zeros((1, 2)), np.ma.masked_array(np.zeros((1, 2)), mask=True), [[0.0, 0.0]], torch.zeros(1, 2) * 1j):
    try:
        filter.step(belief, x)
    except ObservationError as error:
        assert "avf_core.data.numbers" in str(error)
        print("told")
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["told"] * 4
