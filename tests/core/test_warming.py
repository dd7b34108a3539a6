"""First steps: what a memory holds before it is of the sequence is no reason to be alarmed."""

import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from avf_client.commands import cli

from avf_core import checkpoints, configuration, emissions
from avf_core.analysis.conditional import measured_scores
from avf_core.analysis.sign_reference import scores_and_signs
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.beliefs import State
from avf_core.emissions import Units
from avf_core.emissions.base import Emission
from avf_core.filtering import Filter
from avf_core.plugins import kinds, plugin
from tests.support.models import TWO_SENSORS

CASES = [(kind, name) for kind in kinds(emissions) for name in getattr(plugin(emissions, kind), "EXAMPLES", {})]
REACH = 7  # of the filter of sensors, whose lags are 1, 2 and those of a period of 5


def remembered(emission: Emission, memory: State, steps: int) -> State:
    """What is remembered after so many observations of zeros and ones, which every emission takes."""
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        x = torch.randint(0, 2, (1, emission.size), generator=generator).double()
        memory = emission.remember(emission.context(memory), x)
    return memory


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_after_warming_nothing_is_left_of_what_a_memory_began_with(kind: str, name: str) -> None:
    """And before it something is, where there is a memory at all: so no step is left out without need."""
    options = asdict(plugin(emissions, kind).EXAMPLES[name])
    size, shape = (16, (4, 4)) if kind == "residual" else (12, None)
    emission = emissions.build(kind.replace("_", "-"), options, units=Units(bin=0.01), size=size, shape=shape).double()
    first = emission.initial(1, like=torch.zeros(1, dtype=torch.float64))
    other = {key: value if key.endswith("seen") else value + 1.0 for key, value in first.items()}
    assert (emission.warming > 0) == bool(first)
    for steps in (emission.warming, max(0, emission.warming - 1)):
        one, two = (remembered(emission, memory, steps) for memory in (first, other))
        same = all(torch.equal(one[key], two[key]) for key in first)
        assert same == (steps == emission.warming)


def far_from_center() -> tuple[Filter, np.ndarray]:
    """A filter of a slow sensor pair as it begins, and a sequence that is never near the training data's center."""
    generator = np.random.default_rng(2)
    slow = np.cumsum(0.02 * generator.normal(size=(1200, 2)), axis=0)
    torch.manual_seed(0)
    filter = configuration.build(
        {
            "model": TWO_SENSORS | {"likelihood": "vector-autoregressive", "emission": {"order": 2, "period": 5}},
            "inference": {"kind": "direct", "widths": [4]},
        }
    ).requires_grad_(False)
    filter.model.begin([slow.astype(np.float32)])
    return filter, (5.0 + slow).astype(np.float32)


def test_the_first_steps_of_a_sequence_are_not_judged_and_all_others_are() -> None:
    """They cost what they cost in F; a reference neither holds them nor takes them for faults."""
    filter, xs = far_from_center()
    assert filter.model.warming == max(filter.model.emission.config.lags) == REACH
    _, estimate = filter.scan(filter.initial(torch.tensor([0])), torch.tensor(xs[:, None]))
    (scores,) = step_scores(filter, [xs])
    energy = estimate.free_energy[:, 0].double().numpy()
    assert np.isnan(scores[:REACH]).all()
    np.testing.assert_allclose(scores[REACH:], energy[REACH:], rtol=1e-4, atol=1e-4)
    reference = ReferenceDistribution.fit(scores)
    assert reference.count == len(xs) - REACH
    assert reference.p_values(energy[:1])[0] < 1e-3 < 0.05 < np.mean(reference.p_values(energy[REACH:]))
    told, _ = measured_scores(filter, [xs], "level")
    np.testing.assert_array_equal(told, scores)
    heard, signs = scores_and_signs(filter, [xs])
    np.testing.assert_array_equal(heard[0], scores)
    assert (np.isnan(signs[0]).all(axis=1) == np.isnan(scores)).all()


def test_data_of_which_warming_leaves_too_little_are_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`avf calibrate` says how many steps there are, and why there are no more; the model's card is what it was."""
    run = shutil.copytree(checkpoints.ZOO / "ecg", tmp_path / "run")
    before = (run / checkpoints.CARD).read_bytes()
    np.save(tmp_path / "short.npy", np.random.default_rng(0).normal(size=(1000, 9)).astype(np.float32))
    assert cli.run(["calibrate", str(run), "--data", str(tmp_path / "short.npy")]) == 1
    assert re.search(r"\d+ steps have a score, expected 100 or more: .*memory takes", capsys.readouterr().err)
    assert (run / checkpoints.CARD).read_bytes() == before
