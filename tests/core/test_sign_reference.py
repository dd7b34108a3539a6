"""Surprise by signs: moving averages and distances as scipy has them, uniform p-values, and what cost does not tell."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import signal, stats
from scipy.spatial import distance

from avf_core import checkpoints, configuration
from avf_core.analysis.listened import RIDGE, Together
from avf_core.analysis.sign_reference import FEWEST, SignReference, scores_and_signs
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.analysis.tables import Tables
from avf_core.commands.calibrate import command
from avf_core.errors import DataError
from avf_core.signs import Sign

LISTENED = (Sign(name="several", size=3, memory=5.0), Sign(name="one", size=1))
MIXED = np.array([[1.0, 0.4, 0.0], [0.0, 1.0, -0.3], [0.0, 0.0, 2.0]])


def normal(sequences: int, *, steps: int = 200, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Scores, and signs of which three go together and each follows the one before."""
    draw = np.random.default_rng(seed)
    scores, signs = [], []
    for _ in range(sequences):
        scores.append(draw.gamma(3.0, 10.0, steps))
        following = signal.lfilter([1.0], [1.0, -0.5], draw.normal(size=(steps, 3)), axis=0) @ MIXED + 4.0
        signs.append(np.concatenate([following, draw.gumbel(size=(steps, 1))], axis=1))
    return scores, signs


@pytest.fixture(scope="module")
def reference() -> SignReference:
    return SignReference.fit(LISTENED, *normal(60))


def test_averages_and_distances_are_those_of_another_library(reference: SignReference) -> None:
    """A first-order filter, and the squared Mahalanobis distance by the second moment of what it gives."""
    scores, signs = normal(60)
    several = reference.groups[1]
    mean = np.concatenate(signs)[:, :3].mean(0)
    averages = [signal.lfilter([0.2], [1.0, -0.8], each[:, :3] - mean, axis=0) for each in signs]
    moment = np.mean([np.outer(row, row) for row in np.concatenate(averages)], axis=0)
    inverse = np.linalg.inv(moment + RIDGE * np.diag(moment.diagonal()))
    kept = reference.initial(1)
    for t in range(20):
        kept, _ = reference.step(kept, scores[0][t : t + 1], signs[0][t : t + 1])
    np.testing.assert_allclose(kept[0, 1:4], averages[0][19], rtol=1e-6)
    expected = distance.mahalanobis(averages[0][19], np.zeros(3), inverse) ** 2
    above = several.distances.above(np.log([expected]))
    heard = Together([several]).nats(kept[:, 1:4])[0]
    np.testing.assert_allclose(heard, several.sign.weight * -np.log(above), rtol=1e-5)


def test_groups_that_are_heard_at_once_are_each_by_its_own_table() -> None:
    """To the last bit: within the tables, beyond them, at their ends; tails with a shape or none; as by scipy."""
    random = np.random.default_rng(5)
    scores = [random.normal(size=3000), random.standard_t(3.0, 700), random.uniform(size=200)]
    references = [ReferenceDistribution.fit(each) for each in scores]
    references.append(replace(references[0], tail_shape=0.0))
    rows = np.concatenate(
        [random.normal(0.0, 4.0, (4, 500)), np.array([one.values for one in references])[:, ::7]], axis=1
    )
    rows[1, :3] = [np.nan, np.inf, -np.inf]
    expected = np.stack([one.above(row) for one, row in zip(references, rows, strict=True)])
    np.testing.assert_array_equal(Tables(references).above(rows), expected)
    for one, row, found in zip(references, rows, expected, strict=True):
        tail = (1.0 - one.levels[-1]) * stats.genpareto.sf(row - one.values[-1], one.tail_shape, scale=one.tail_scale)
        by_others = np.where(row > one.values[-1], tail, 1.0 - np.interp(row, one.values, one.levels))
        np.testing.assert_allclose(found[3:500], by_others[3:500], rtol=1e-9)  # interp knows no ties
    few = Tables(references).above(rows[:, 4:5])
    np.testing.assert_array_equal(few, expected[:, 4:5])


def test_p_values_are_uniform_on_normal_sequences(reference: SignReference) -> None:
    """On new ones, of which every tenth step is asked, as neighbours are alike (Kolmogorov and Smirnov)."""
    scores, signs = normal(60, seed=1)
    p = reference.p_values(np.stack(scores), np.stack(signs))[:, 10::10].ravel()
    assert stats.kstest(p, "uniform").statistic < 0.06
    assert (p < 0.01).mean() == pytest.approx(0.01, abs=0.01)


def test_what_costs_nothing_is_told_by_what_it_is_like(reference: SignReference) -> None:
    """Three numbers that leave their directions a little, step after step, while scores stay usual."""
    scores, signs = normal(20, seed=2)
    strange = np.stack(signs)
    strange[:, 100:130, :3] += np.array([2.5, -2.5, 0.0])
    p = reference.p_values(np.stack(scores), strange)
    assert np.median(p[:, 110:130]) < 1e-3
    assert (reference.whole.p_values(np.stack(scores))[:, 110:130] < 0.01).mean() < 0.05
    assert np.median(p[:, 160:]) > 0.2


def test_a_step_of_which_nothing_was_observed_changes_nothing(reference: SignReference) -> None:
    """It has no p-value, and rows know nothing of each other."""
    scores, signs = normal(2, seed=3)
    x, v = np.stack(scores), np.stack(signs)
    kept, _ = reference.step(reference.initial(2), x[:, 0], v[:, 0])
    after, p = reference.step(kept, np.array([np.nan, x[1, 1]]), v[:, 1])
    np.testing.assert_array_equal(after[0], kept[0])
    assert np.isnan(p[0])
    alone, own = reference.step(kept[1:], x[1:, 1], v[1:, 1])
    np.testing.assert_array_equal(after[1:], alone)
    np.testing.assert_array_equal(p[1:], own)


def test_a_card_holds_it(reference: SignReference) -> None:
    """As JSON, to digits that move no p-value; what is none is refused."""
    facts = json.loads(json.dumps(reference.as_dict()))
    read = SignReference.from_dict(facts)
    scores, signs = np.stack(normal(4, seed=4)[0]), np.stack(normal(4, seed=4)[1])
    np.testing.assert_allclose(read.p_values(scores, signs), reference.p_values(scores, signs), rtol=1e-3)
    group = facts["signs"]["groups"][1]
    for wrong in ({"signs": 3}, {"signs": {"groups": [{**group, "mean": [0.0]}], "joint": facts["signs"]["joint"]}}):
        with pytest.raises(DataError, match="no reference of signs"):
            SignReference.from_dict({**facts, **wrong})


def test_sequences_are_judged_by_others() -> None:
    """So few cannot be."""
    scores, signs = normal(FEWEST - 1)
    with pytest.raises(DataError, match="takes 4 or more"):
        SignReference.fit(LISTENED, scores, signs)


def test_calibrate_listens_to_the_latents_of_any_model(tmp_path: Path) -> None:
    """`--signs` writes a reference of a model's latents into its card; `--by` is another way."""
    torch.manual_seed(0)
    settings = {"model": {"kind": "lgssm", "observation_size": 2, "latent_size": 2}, "inference": {"kind": "kalman"}}
    checkpoints.save(tmp_path / "run", filter=configuration.build(settings), settings=settings, card={})
    rows = np.random.default_rng(0).normal(size=(600, 2))
    lines = ["day,a,b", *(f"d{t // 30:02d},{a},{b}" for t, (a, b) in enumerate(rows))]
    (tmp_path / "days.csv").write_text("\n".join(lines) + "\n")
    asked = [
        str(tmp_path / "run"),
        "--data",
        str(tmp_path / "days.csv"),
        "--data-option",
        "group=day",
        "--split",
        "train",
    ]
    result = CliRunner().invoke(command, [*asked, "--signs"])
    assert result.exit_code == 0, result.output
    card = checkpoints.load(tmp_path / "run").card
    read = SignReference.from_dict(card["reference"])
    assert read.listened == (Sign(name="latent", size=2, memory=4.0),)
    assert [group.distances.count for group in read.groups] == [read.whole.count] * 2
    both = CliRunner().invoke(command, [*asked, "--signs", "--by", "level"])
    assert both.exit_code == 2
    assert "say one of them" in both.output


def test_signs_of_a_filter_are_those_of_its_steps() -> None:
    """A posterior's mean, step by step; NaN where nothing was observed."""
    torch.manual_seed(0)
    settings = {"model": {"kind": "lgssm", "observation_size": 2, "latent_size": 2}, "inference": {"kind": "kalman"}}
    filter = configuration.build(settings)
    xs = np.random.default_rng(1).normal(size=(2, 6, 2)).astype(np.float32)
    xs[1, 3] = np.nan
    scores, signs = scores_and_signs(filter, list(xs))
    belief = filter.initial(torch.arange(2))
    for t in range(3):
        with torch.no_grad():
            belief, e = filter.step(belief, torch.from_numpy(xs[:, t]))
        np.testing.assert_allclose(np.stack([each[t] for each in signs]), e.posterior.mean, rtol=1e-5)
        np.testing.assert_allclose([each[t] for each in scores], e.free_energy, rtol=1e-5)
    assert np.isnan(scores[1][3])
    assert np.isnan(signs[1][3]).all()
    assert not np.isnan(signs[0]).any()
