"""Reliability of predictions and p-values by piece, against what is known by construction; records, page and plots."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from avf_core import configuration
from avf_core.analysis.reliability import LEVEL, LEVELS, Bins, reliability
from avf_core.analysis.sign_reference import SignReference, scores_and_signs
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.reproduction import calibration, plots, records

from .pairs import make

pytestmark = pytest.mark.usefixtures("shapes_unchecked")


def rolls(count: int = 5) -> list[np.ndarray]:
    """Binary sequences."""
    generator = np.random.default_rng(1)
    return [(generator.random((9, 6)) > 0.6).astype(np.uint8) for _ in range(count)]


def listening() -> Filter:
    """A codec of frames of 40 samples, which has signs."""
    torch.manual_seed(0)
    emission = {"filter": "spectrum", "order": 6, "gains": 4, "resolution": 8, "reactive": 4}
    sizes = {"observation_size": 40, "latent_size": 9, "hidden_size": 8, "prior_widths": [8], "decoder_widths": [8]}
    model = {"kind": "codec", **sizes, "emission": emission, "memory": 2, "scale": 0.1, "bin": 1e-7}
    inference = {"kind": "direct", "context": ["hidden", "heard"], "relative": True}
    return configuration.build({"model": model, "inference": inference}).requires_grad_(False)


def test_bins_are_those_of_single_steps() -> None:
    """Recomputed from scans of each sequence alone: served predictions, and those at the prior's mean."""
    filter = make("srnn-direct")
    found = reliability(filter, rolls(), seed=3)
    said: dict[str, list[np.ndarray]] = {"served": [], "at_prior_mean": []}
    with torch.no_grad():
        for row, sequence in enumerate(rolls()):
            xs = torch.as_tensor(sequence).float()[:, None]
            _, e = filter.scan(filter.initial(torch.tensor([3 + row])), xs)
            said["served"].append(e.prediction.mean[:, 0].double().numpy())
            said["at_prior_mean"].append(e.prediction_at_prior_mean.mean[:, 0].double().numpy())
    came = np.concatenate(rolls()).ravel()
    for name, parts in said.items():
        every = np.concatenate(parts).ravel()
        kinds: list[Bins | None] = [getattr(found, name)]
        assert kinds[0] is not None
        assert sum(kinds[0].count) == len(every)
        assert np.dot(kinds[0].said, kinds[0].count) == pytest.approx(every.sum(), rel=1e-4)
        assert np.dot(kinds[0].came, kinds[0].count) == pytest.approx(came.sum())
    assert (found.covered, found.below, found.steps) == (None, None, 45)


def test_the_error_is_the_weighted_distance() -> None:
    """By hand."""
    assert Bins(said=[0.1, 0.8], came=[0.2, 0.5], count=[3, 1]).error == pytest.approx((3 * 0.1 + 0.3) / 4)


def test_bands_hold_what_they_say_where_the_model_is_the_truth() -> None:
    """A filter on sequences that are drawn from its own predictions, step by step: as binomial draws are."""
    filter = make("lgssm-iterative", torch.float64)
    generator = np.random.default_rng(2)
    data = []
    with torch.no_grad():
        for row in range(40):
            belief, frames = filter.initial(torch.tensor([row])), []
            for _ in range(20):
                prediction = filter.prediction(belief)
                x = prediction.mean + prediction.deviation * torch.as_tensor(
                    generator.normal(size=prediction.mean.shape)
                )
                belief, _ = filter.step(belief, x)
                frames.append(x[0].numpy())
            data.append(np.stack(frames))
    found = reliability(filter, data)
    assert found.covered is not None
    values = sum(part.size for part in data)
    for level, covered in zip(LEVELS, found.covered, strict=True):
        assert scipy.stats.binomtest(round(covered * values), values, level).pvalue > 1e-4


def test_p_values_of_pieces_are_rare_where_the_reference_is_theirs() -> None:
    """Of the very steps that made the reference, one in twenty is below; of louder ones many more."""
    filter = make("srnn-gaussian")
    data = [np.random.default_rng(row).normal(size=(9, 6)).astype(np.float32) for row in range(30)]
    scores = np.concatenate(step_scores(filter, data, score="free_energy"))
    reference = ReferenceDistribution.fit(scores)
    found = reliability(filter, data, reference=reference)
    assert found.below is not None
    assert len(found.below) == 30
    assert np.mean(found.below) == pytest.approx(LEVEL, abs=0.02)
    strange = reliability(filter, [4.0 * sequence for sequence in data], reference=reference)
    assert strange.below is not None
    assert np.mean(strange.below) > 0.3


def test_p_values_of_pieces_are_of_the_score_that_references_are_made_of() -> None:
    """Less what noise of the scales costs, without first steps; the free energy itself would be far off in all."""
    filter = make("svg-residual")
    size = filter.model.emission.size
    data = [np.random.default_rng(row).random((9, size)).astype(np.float32) for row in range(20)]
    scores = step_scores(filter, data)
    found = reliability(filter, data, reference=ReferenceDistribution.fit(np.concatenate(scores)))
    assert found.below is not None
    assert np.mean(found.below) == pytest.approx(LEVEL, abs=0.03)
    assert np.isnan(scores[0][0])
    assert found.steps == 20 * 9


def test_p_values_of_pieces_hear_signs_where_their_reference_does() -> None:
    """As `SignReference` gives them of the same steps: sequences of speech beside silence."""
    filter = listening()
    draw = np.random.default_rng(3)
    loud = [0.1 * draw.normal(size=(30, filter.model.emission.size)).astype(np.float32) for _ in range(12)]
    reference = SignReference.fit(filter.model.listened, *scores_and_signs(filter, loud))
    other = [*loud[:2], np.zeros_like(loud[0])]
    found = reliability(filter, other, reference=reference)
    assert found.below is not None
    expected = []
    for scores, signs in zip(*scores_and_signs(filter, other), strict=True):
        p = reference.p_values(scores[None], signs[None])[0]
        expected.append((p[np.isfinite(p)] < LEVEL).mean())
    np.testing.assert_allclose(found.below, expected)


def test_nothing_to_predict_is_refused() -> None:
    """Frames of which nothing was observed."""
    with pytest.raises(DataError, match="observed value"):
        reliability(make("srnn-gaussian"), [np.full((3, 6), np.nan, dtype=np.float32)])


def record(**changes: Any) -> dict[str, Any]:
    """As `calibration.measure` gives them, thought up."""
    served = {"said": [0.1, 0.6, 0.9], "came": [0.1, 0.61, 0.9], "count": [900, 60, 40]}
    plain = {"said": [0.1, 0.6, 0.83], "came": [0.1, 0.6, 0.62], "count": [900, 60, 40]}
    about = {"model": "notes", "digest": "0", "data": "rolls.npz", "split": "test", "sequences": 2, "steps": 200}
    found = {"served": served, "at_prior_mean": plain, "levels": list(LEVELS), "covered": None, "below": [0.04, 0.2]}
    return {**about, **found, **changes}


def test_the_page_says_what_was_said_and_what_came(tmp_path: Path) -> None:
    """Where likely notes are farthest off, errors of both, bands, pieces that are unlike; and a plot of each."""
    records.write(tmp_path / "calibration" / "notes.json", record())
    real = record(model="real", served=None, at_prior_mean=None, covered=[level - 0.01 for level in LEVELS], below=None)
    records.write(tmp_path / "calibration" / "real.json", real)
    page = calibration.section(tmp_path)
    assert "| `notes` | 200 | 0.0006 | 0.0084 | 0.83 and 0.62 | – | – | 8.0% to 16.0% | 1 of 2 |" in page
    assert "| `real` | 200 | – | – | – | 49.0% | 89.0% | – | – |" in page
    assert set(calibration.pictures(tmp_path)) == {"calibration-notes.png", "calibration-real.png"}
    assert plots.reliability(record(), level=LEVEL).startswith(b"\x89PNG")
    assert calibration.section(tmp_path / "nothing") == ""
