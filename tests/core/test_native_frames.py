"""Frames by linear prediction, natively: the same as torch, whatever filter, noise and procedure; filters by scipy."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg, signal
from torch import Tensor

from avf_core import checkpoints
from avf_core.configuration import build
from avf_core.emissions import _filters
from avf_core.filtering import Filter
from avf_core.native import elements, running
from avf_core.native.plan import Undescribed
from avf_core.trees import tree_map
from tests.support.comparing import exact
from tests.support.native import needed

pytestmark = pytest.mark.slow

ITERATIVE = {"kind": "iterative", "units": 16, "inputs": "whitened", "iterations": 3, "samples": 2}
DIRECT = {"kind": "direct", "widths": [8], "context": ["hidden"]}
EMISSIONS: dict[str, dict[str, Any]] = {
    "reflections, more of them than samples": {"order": 15, "gains": 3, "reactive": 5, "noise": "logistic"},
    "reflections, Student's t": {"order": 4, "gains": 4, "reactive": 20, "noise": "student-t"},
    "reflections, Gaussian": {"order": 2, "gains": 1, "reactive": 0, "noise": "gaussian"},
    "a spectrum": {"filter": "spectrum", "order": 8, "gains": 6, "resolution": 12, "reactive": 4},
    "a fine spectrum, Student's t": {
        "filter": "spectrum",
        "order": 3,
        "gains": 2,
        "resolution": 150,
        "reactive": 0,
        "noise": "student-t",
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "codec": {"kind": "codec", "observation_size": 12, "latent_size": 5, "hidden_size": 8, "prior_widths": [8]},
    "srnn": {"kind": "srnn", "observation_size": 12, "latent_size": 5, "hidden_size": 8, "prior_widths": [8]},
    "vrnn": {"kind": "vrnn", "observation_size": 12, "latent_size": 5, "hidden_size": 8, "prior_widths": [8]},
}


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    needed()
    with torch.no_grad():
        yield


def made(model: str, emission: str, inference: dict[str, Any], **changes: Any) -> Filter:
    """A filter with the same random parameters each time."""
    torch.manual_seed(5)
    likelihood = {"likelihood": "linear-prediction", "emission": EMISSIONS[emission], "bin": 1e-3, "scale": 0.5}
    return build({"model": {**MODELS[model], **likelihood, **changes}, "inference": inference}).requires_grad_(False)


def sound(time: int, rows: int, frame: int) -> Tensor:
    """Resonances whose level moves, in levels of 16 bits: (time, rows, frame)."""
    generator = np.random.default_rng(2)
    count = time * frame
    level = 0.01 * (1.2 + np.sin(np.arange(count) / (3.0 * frame) + np.arange(rows)[:, None]))
    made = signal.lfilter([1.0], [1.0, -1.7, 0.85], level * generator.standard_normal((rows, count)))
    rounded = np.round(made * 32768) / 32768
    return torch.tensor(rounded.reshape(rows, time, frame).swapaxes(0, 1), dtype=torch.float32)


def by(choice: running.Choice, filter: Filter, xs: Tensor, **options: Any) -> tuple[Any, ...]:
    """Belief, estimates, score as a share of F, and the moments of predictions, by one of the paths."""
    with running.using(choice):
        belief, estimates = filter.eval().scan(filter.initial(torch.arange(xs.shape[1])), xs, **options)
        told: list[Any] = [estimates.prediction, estimates.prediction_at_prior_mean, estimates.likelihood]
        score = estimates.score / (1.0 + estimates.free_energy.abs())  # a small difference of large numbers
        return belief, estimates, score, [(one.mean, one.log_variance) for one in told]


def agree(filter: Filter, xs: Tensor, *, doubly: bool = False, **options: Any) -> None:
    """Native and torch to 1e-5; torch in double precision, where its own single loses as much."""
    native = by("float32", filter, xs, **options)
    reference = by("off", copy.deepcopy(filter).double(), xs.double(), **options) if doubly else None
    reference = reference or by("off", filter, xs, **options)

    def compare(a: Tensor, b: Tensor) -> Tensor:
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-5, atol=1e-5)
        return a

    tree_map(compare, native, reference)


@pytest.mark.parametrize("emission", sorted(EMISSIONS))
@pytest.mark.parametrize("inference", [DIRECT, ITERATIVE], ids=["direct", "iterative"])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_native_equals_torch(model: str, inference: dict[str, Any], emission: str) -> None:
    """All filters and noises, in every model that has a plan, with gaps and without."""
    filter = made(model, emission, inference)
    xs = sound(4, 5, 12)
    doubly = "Gaussian" in emission
    agree(filter, xs, doubly=doubly)
    observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    observed[1, 2] = False
    agree(filter, torch.where(observed, xs, float("nan")), doubly=doubly, observed=observed)


def test_a_decoder_without_hidden_layers_is_described() -> None:
    """The level is then taken off in its head, too."""
    agree(made("codec", "a spectrum", ITERATIVE, decoder_widths=[]), sound(3, 2, 12))
    agree(made("codec", "a spectrum", ITERATIVE, decoder_widths=[6, 7]), sound(3, 2, 12))


def test_the_shipped_model_of_speech_is_the_same_natively() -> None:
    """Frames of 200 samples, at levels 40 dB apart and of silence; rows alone have the same bits."""
    filter = checkpoints.load("speech").filter.requires_grad_(False)
    xs = sound(6, 4, 200)
    xs[:, 1] *= 0.01
    xs[2:4, 2] = 0.0
    agree(filter, xs)
    with running.using("float32"):
        assert running.engine_for(filter, xs) is not None
        together = filter.scan(filter.initial(torch.arange(4)), xs)
        alone = filter.scan(filter.initial(torch.arange(2, 3)), xs[:, 2:3])
    exact(tree_map(lambda t: t[:, 2:3], together[1]), alone[1])
    exact(tree_map(lambda t: t[2:3], together[0]), alone[0])


def test_filters_of_spectra_are_those_of_scipy() -> None:
    """The Yule-Walker equations of spectra with a range of 60 dB, by scipy's solver, in double precision."""
    cepstrum = torch.randn(20, 48, generator=torch.Generator().manual_seed(1)) / torch.arange(1.0, 49.0)
    found = elements.filters(cepstrum, 32, spectral=True)
    assert found is not None
    angles = np.arange(256) * 2.0 * np.pi / 256
    spectra = np.exp(2.0 * cepstrum.double().numpy() @ np.cos(np.arange(1, 49)[:, None] * angles))
    for row, spectrum in zip(found, spectra, strict=True):
        lags = np.fft.ifft(spectrum).real
        lags = np.concatenate([lags[:1] * (1.0 + _filters.WHITE), lags[1:33]])
        # The white noise is a share of the spectrum's sum on the half circle, of which the lags are a half each.
        expected = linalg.solve_toeplitz(lags[:32], lags[1:33])
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)


def test_orders_beyond_the_executors_are_torchs() -> None:
    """It has room for 64 coefficients."""
    high = {"filter": "spectrum", "order": 65, "gains": 2, "resolution": 4, "reactive": 0}
    filter = build(
        {"model": {**MODELS["srnn"], "likelihood": "linear-prediction", "emission": high}, "inference": DIRECT}
    )
    filter.requires_grad_(False)
    with pytest.raises(Undescribed, match="order 65"):
        running.plans(filter)
    xs = sound(2, 2, 12)
    agree(filter, xs)


@pytest.mark.parametrize("size", [1, 7, 200])
def test_mixtures_are_averaged_in_double_precision(size: int) -> None:
    """Means and variances of weighted components to float32's last digits, by numpy in double; one alone is itself."""
    generator = torch.Generator().manual_seed(3)
    means, variances = (10.0 * torch.rand(2, 3, 5, size, generator=generator) for _ in range(2))
    weights = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
    weights /= weights.sum(-1, keepdim=True)
    found = elements.mixed(means, variances, weights)
    assert found is not None
    w, m, v = weights.numpy()[..., None], means.double().numpy(), variances.double().numpy()
    mean = (w * m).sum(-2)
    np.testing.assert_allclose(found[0], mean, rtol=1e-7)
    np.testing.assert_allclose(found[1], (w * (v + (m - mean[..., None, :]) ** 2)).sum(-2), rtol=2e-7)
    alone = elements.mixed(means[..., :1, :], None, torch.ones(2, 3, 1, dtype=torch.float64))
    assert alone is not None
    exact(alone[0], means[..., 0, :])
    assert elements.mixed(means, variances[:1], weights) is None


def test_filters_and_moments_of_rows_have_the_same_bits_in_any_batch() -> None:
    """Eight, or sixteen, are made at once; what stands beside a row does not touch it."""
    generator = torch.Generator().manual_seed(4)
    said = torch.randn(21, 48, generator=generator) / torch.arange(1.0, 49.0)
    before, gains = torch.randn(21, 32, generator=generator), torch.randn(21, 20, generator=generator)

    def made(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        coefficients = elements.filters(said[rows], 32, spectral=True)
        assert coefficients is not None
        units = {"center": 0.1, "scale": 2.0, "noise": 1.8}
        moments = elements.unrolled(coefficients, before[rows], gains[rows], frame=200, **units)
        assert moments is not None
        return coefficients, *moments

    together = made(slice(21))
    for first, last in ((0, 1), (3, 12), (20, 21)):
        exact(tuple(part[first:last] for part in together), made(slice(first, last)))
