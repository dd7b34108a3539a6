"""The signs of sound: autocorrelations, clicks and lines by brute force, and no loudness in any of them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from avf_core import configuration
from avf_core.models import _codec_signs
from avf_core.models.codec import Model

DRAW = np.random.default_rng(0)


def column(values: Tensor) -> np.ndarray:
    return values[:, 0].numpy()


def test_whiteness_is_autocorrelation() -> None:
    """Of the innovations' arctangents; a tone that is left has it at all lags, and silence has none."""
    noise = DRAW.normal(size=(3, 60))
    found = _codec_signs.whiteness(torch.from_numpy(noise)).numpy()
    soft = np.arctan(noise)
    for row, lags in zip(soft, found, strict=True):
        whole = np.correlate(row, row, "full")[59:]
        np.testing.assert_allclose(lags, whole[1:33] / whole[0], atol=1e-5)
    tone = torch.sin(torch.arange(200.0, dtype=torch.float64))[None]
    assert _codec_signs.whiteness(tone).abs().amax() > 0.8
    assert not _codec_signs.whiteness(torch.zeros(1, 40, dtype=torch.float64)).any()


def test_an_outlier_is_the_click_that_explains_most() -> None:
    """By least squares at every sample: its size over its deviation, for noise of the innovations' own."""
    coefficients = np.array([[1.2, -0.5], [0.3, 0.1]])
    innovations = DRAW.normal(size=(2, 30))
    innovations[0, 11:14] += 6.0 * np.array([1.0, -1.2, 0.5])
    found = column(_codec_signs.outlier(torch.from_numpy(innovations), torch.from_numpy(coefficients)))
    for row, filter, told in zip(innovations, coefficients, found, strict=True):
        ratios = []
        for place in range(30):
            shape = np.zeros(33)
            shape[place : place + 3] = [1.0, *-filter]
            shape = shape[:30]
            size = (shape @ row) / (shape @ shape)
            ratios.append(abs(size) * np.sqrt(shape @ shape))
        assert told == pytest.approx(np.log(max(ratios) / np.sqrt(np.mean(row**2))), abs=2e-3)
    assert found[0] > found[1]


def test_a_line_is_power_in_few_bins() -> None:
    """Far more of a tone than of noise, whatever the loudness; of silence it is what a flat spectrum has."""
    time = np.arange(401)
    sounds = np.stack([np.sin(0.7 * time), DRAW.normal(size=401), 0.01 * np.sin(0.7 * time), np.zeros(401)])
    tone, noise, quiet, silence = column(_codec_signs.line(torch.from_numpy(sounds), 200))
    assert tone > 4.0 > 0.0 > noise
    assert quiet == pytest.approx(tone, abs=0.1)
    assert silence == pytest.approx(np.log(3.0 / 198.0))  # the first of all bins, with two on one side


def test_a_spectrum_is_that_of_twice_the_window() -> None:
    """Its log powers by numpy, the second half silent; as many bins as there are."""
    sound = DRAW.normal(size=(2, 512))
    found = _codec_signs.spectrum(torch.from_numpy(sound)).numpy()
    power = np.abs(np.fft.fft(sound * np.hanning(514)[1:-1], 1024)) ** 2
    np.testing.assert_allclose(found, np.log(power[:, :292] + 4e-5), atol=1e-9)
    assert _codec_signs.spectrum(torch.zeros(1, 8, dtype=torch.float64)).shape == (1, 9)


def test_signs_are_as_many_as_are_listened_to_and_the_same_for_louder_sound() -> None:
    """Five groups, of a model of frames of any size, with all samples and with some; a spectrum is as much higher."""
    torch.manual_seed(0)
    filter = configuration.build(
        {
            "model": {
                "kind": "codec",
                "observation_size": 40,
                "latent_size": 9,
                "hidden_size": 8,
                "prior_widths": [8],
                "decoder_widths": [8],
                "emission": {"filter": "spectrum", "order": 6, "gains": 4, "resolution": 8, "reactive": 4},
                "memory": 2,
                "scale": 0.1,
                "bin": 1e-7,
            },
            "inference": {"kind": "direct", "context": ["hidden", "heard"], "relative": True},
        }
    )
    assert isinstance(filter.model, Model)
    xs = torch.from_numpy(0.1 * DRAW.normal(size=(40, 2, 40))).float()
    observed = torch.ones(40, 2, 40, dtype=torch.bool)
    observed[-1, 0, 5:20] = False
    signs = [filter.scan(filter.initial(torch.arange(2)), k * xs, observed=observed)[1].signs for k in (1.0, 0.25)]
    sizes = [sign.size for sign in filter.model.listened]
    bins = [sign.bins for sign in filter.model.listened]
    assert (sizes, bins) == ([8, 32, 1, 1, 1], [0, 0, 0, 0, 292])
    assert signs[0].shape == (40, 2, 42 + 292)
    assert bool(signs[0].isfinite().all())
    loud, quiet = signs[0][-1, 1], signs[1][-1, 1]
    torch.testing.assert_close(loud[:42], quiet[:42], rtol=0.0, atol=2e-2)
    torch.testing.assert_close(loud[42:] - quiet[42:], torch.full((292,), 2.0 * np.log(4.0)), rtol=0.0, atol=2e-2)
