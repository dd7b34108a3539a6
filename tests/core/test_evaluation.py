"""How free energies are averaged, and that padding and batching change nothing."""

import numpy as np
import pytest
import torch

from avf_core.analysis.batching import pad
from avf_core.analysis.evaluation import by_steps, evaluate
from avf_core.errors import DataError
from avf_core.training import em

from .pairs import PAIRS, make, observations


def sequences() -> list[np.ndarray]:
    """Four binary sequences of different lengths."""
    generator = np.random.default_rng(0)
    return [(generator.random((length, 6)) > 0.7).astype(np.uint8) for length in (9, 3, 14, 1)]


@pytest.mark.parametrize("name", ["srnn-learned_sgd", "srnn-direct"])
def test_averages_are_those_of_the_single_steps(name: str) -> None:
    """Each figure is recomputed from a scan of each sequence alone, every frame from the first."""
    filter = make(name)
    result = evaluate(filter, sequences(), seed=5, passes=1, draws=0, batch_size=3)
    energies, kls, iterates = [], [], []
    with torch.no_grad():
        for row, sequence in enumerate(sequences()):
            xs = torch.as_tensor(sequence).float()[:, None]
            _, e = filter.scan(filter.initial(torch.tensor([5 + row])), xs)
            energies.append(e.free_energy[:, 0].double().numpy())
            kls.append(e.kl[:, 0].double().numpy())
            iterates.append(e.free_energies[:, 0].double().numpy())
    every = np.concatenate(energies)
    assert result.steps == len(every) == 27
    assert result.sequences == 4
    assert result.free_energy_pooled == pytest.approx(every.mean(), abs=1e-5)
    assert result.free_energy_sequence_mean == pytest.approx(np.mean([e.mean() for e in energies]), abs=1e-5)
    later = np.concatenate([e[1:] for e in energies])
    assert result.free_energy_without_first_frame == pytest.approx(later.mean(), abs=1e-5)
    assert result.kl == pytest.approx(np.concatenate(kls).mean(), abs=1e-5)
    by_iteration = np.concatenate(iterates).mean(0)
    np.testing.assert_allclose(result.free_energy_by_iteration, by_iteration, atol=1e-5)
    assert result.iterations == len(by_iteration) - 1
    assert result.reconstruction + result.kl == pytest.approx(result.free_energy_pooled)


def test_progress_counts_every_frame() -> None:
    """The last call says that all frames of all passes are done."""
    calls: list[tuple[int, int]] = []
    evaluate(make("srnn-direct"), sequences(), passes=3, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (81, 81)


def test_an_empty_set_is_refused() -> None:
    """Nothing to score, or a sequence of no frames, is an error that says so."""
    with pytest.raises(DataError, match="at least one"):
        pad([])
    with pytest.raises(DataError, match="at least one frame"):
        pad([np.zeros((0, 6))])


@pytest.mark.parametrize("name", ["srnn-gated", "srnn-gaussian", "lgssm-iterative"])
def test_the_m_steps_objective_is_the_filters_free_energy(name: str) -> None:
    """Replaying a clip in one pass gives the same F as filtering it step by step."""
    filter = make(name)
    xs = observations(filter, 7, 5)
    clip = em.Clip.whole(xs, torch.ones(7, 5, dtype=torch.bool), torch.arange(5))
    with torch.no_grad():
        latents, _ = em.expectation(filter, clip, kl_weight=1.0)
        objective, totals = em.clip_free_energy(filter, clip, latents, kl_weight=1.0)
        _, e = filter.scan(filter.initial(clip.seeds), xs)
    torch.testing.assert_close(latents.z, e.z)
    torch.testing.assert_close(objective, e.free_energy.mean())
    torch.testing.assert_close(totals.kl / clip.frames, e.kl.mean())


def test_missing_values_are_masked_and_empty_frames_are_not_scored() -> None:
    """NaN in the data is a mask: the figures are those of a masked scan, over frames with any observation."""
    filter = make("srnn-gaussian")
    data = [s.astype(np.float32) for s in sequences()]
    data[0][2, 1:4] = np.nan
    data[0][4] = np.nan
    data[2][0] = np.nan
    result = evaluate(filter, data, passes=1, draws=0)
    energies, later = [], []
    with torch.no_grad():
        for row, sequence in enumerate(data):
            xs = torch.as_tensor(sequence)[:, None]
            _, e = filter.scan(filter.initial(torch.tensor([row])), xs, observed=~xs.isnan())
            kept = np.asarray(~np.isnan(sequence).all(1))
            energies.append(e.free_energy[:, 0].numpy()[kept])
            later.append(e.free_energy[1:, 0].numpy()[kept[1:]])
    assert (result.steps, result.sequences) == (25, 4)
    assert result.free_energy_pooled == pytest.approx(np.concatenate(energies).mean(), abs=1e-5)
    assert result.free_energy_sequence_mean == pytest.approx(np.mean([e.mean() for e in energies]), abs=1e-5)
    assert result.free_energy_without_first_frame == pytest.approx(np.concatenate(later).mean(), abs=1e-5)
    with pytest.raises(DataError, match="with an observation"):
        evaluate(filter, [np.full((3, 6), np.nan, dtype=np.float32)])


@pytest.mark.parametrize("name", ["srnn-gaussian", "lgssm-exact"])
def test_the_energies_of_steps_are_those_that_figures_are_averages_of(name: str) -> None:
    """In order, over all passes; 0 where nothing was observed, which counts for nothing."""
    filter = make(name)
    size = PAIRS[name]["model"]["observation_size"]
    data = [
        np.random.default_rng(n).normal(size=(length, size)).astype(np.float32) for n, length in enumerate((9, 3, 14))
    ]
    data[0][4] = np.nan
    data[2][0, 1] = np.nan
    result, energies, scored = by_steps(filter, data, seed=3)
    assert result == evaluate(filter, data, seed=3)
    assert [len(each) for each in energies] == [9, 3, 14]
    assert energies[0][4] == 0.0
    assert scored.tolist() == [8, 3, 14]
    assert np.count_nonzero(np.concatenate(energies)) == result.steps == 25
    assert np.concatenate(energies).sum() / 25 == pytest.approx(result.free_energy_pooled)


def test_direct_inference_in_one_pass_is_that_of_filtering_step_by_step() -> None:
    """The same F, and the same gradients of model and procedure."""
    filter = make("srnn-direct", torch.float64).requires_grad_(True)
    xs = observations(filter, 7, 5)
    real = torch.ones(7, 5, dtype=torch.bool)
    real[4:, 2] = False
    clip = em.Clip.whole(xs, real, torch.arange(5))
    objective, totals = em.joint_free_energy(filter, clip, kl_weight=0.7)
    gradients = torch.autograd.grad(objective, list(filter.parameters()))
    _, e = filter.scan(filter.initial(clip.seeds), xs)
    stepwise = ((e.reconstruction + 0.7 * e.kl) * real).sum() / real.sum()
    torch.testing.assert_close(objective, stepwise)
    torch.testing.assert_close(totals.free_energy, (e.free_energy * real).sum().detach())
    torch.testing.assert_close(gradients, torch.autograd.grad(stepwise, list(filter.parameters())))
