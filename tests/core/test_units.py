"""Natural units by channel: columns in different units are learned as well as the same columns standardised by hand."""

import numpy as np
import pytest
import torch

from avf_core import data, emissions
from avf_core.configuration import build
from avf_core.emissions import Units
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.training import presets

CENTER, SCALE = (1000.0, -0.002, 20.0), (5.0, 1e-4, 300.0)
MODEL = {"kind": "srnn", "observation_size": 3, "latent_size": 2, "hidden_size": 4, "likelihood": "gaussian"}


def filter_of(**units: tuple[float, ...]) -> Filter:
    """A small filter of three sensors, always with the same weights."""
    torch.manual_seed(0)
    small = {"prior_widths": (4,), "decoder_widths": (4,)}
    return build({"model": {**MODEL, **small, **units}, "inference": {"kind": "direct"}}).double()


def test_a_channel_has_units_of_its_own() -> None:
    """What is filtered in natural units is what is filtered standardised by hand, in other units: F is moved by the
    logarithm of these, and means and deviations are in them."""
    standardized = torch.randn(6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    center, scale = torch.tensor(CENTER, dtype=torch.float64), torch.tensor(SCALE, dtype=torch.float64)
    natural, plain = filter_of(center=CENTER, scale=SCALE), filter_of()
    seeds = torch.tensor([3, 4])
    _, ours = natural.scan(natural.initial(seeds), center + scale * standardized)
    _, by_hand = plain.scan(plain.initial(seeds), standardized)
    torch.testing.assert_close(ours.free_energy, by_hand.free_energy + scale.log().sum(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.likelihood.mean, center + scale * by_hand.likelihood.mean, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ours.posterior.mean, by_hand.posterior.mean, rtol=1e-9, atol=1e-9)


def test_units_are_taken_from_the_data_by_channel() -> None:
    """Median and spread, which one glitch in a hundred does not move; gaps are left out; a channel that never changes,
    and one that hardly ever does, have a scale nevertheless."""
    generator = np.random.default_rng(0)
    rows = np.asarray(CENTER) + np.asarray(SCALE) * generator.normal(size=(20_000, 3))
    rows[::100, 0] += 1e6
    rows[5:50, 1] = np.nan
    rows = np.column_stack([rows, np.full(20_000, 7.0), np.where(np.arange(20_000) % 40 == 0, 1.0, 0.0)])
    fitted = presets.fit({"model": {**MODEL, "observation_size": 5}}, [rows[:5000], rows[5000:]])["model"]
    np.testing.assert_allclose(fitted["scale"][:3], SCALE, rtol=0.05)
    np.testing.assert_allclose((np.asarray(fitted["center"][:3]) - CENTER) / SCALE, 0.0, atol=0.05)
    assert (fitted["center"][3], fitted["scale"][3]) == (7.0, 1.0)
    assert fitted["scale"][4] == pytest.approx(np.sqrt(0.025 * 0.975))


def test_levels_share_their_unit() -> None:
    """The samples of a frame of sound have one center and one scale."""
    frames = [np.random.default_rng(0).normal(0.1, 0.5, size=(50, 3)).astype(np.float32)]
    fitted = presets.fit({"model": {**MODEL, "likelihood": "discretized"}}, frames)["model"]
    assert (fitted["center"], fitted["scale"]) == data.statistics(frames)


def test_units_that_do_not_fit_are_refused() -> None:
    """With the number there should be; a scale that is no positive number; a channel without a number."""
    with pytest.raises(ConfigurationError, match="center has 2 numbers for observations of 3"):
        emissions.build("gaussian", {}, units=Units(center=(0.0, 1.0)), size=3)
    with pytest.raises(ConfigurationError, match="scale is"):
        Units(scale=(1.0, 0.0))
    with pytest.raises(DataError, match="channel 1 of the data has no number"):
        data.channel_statistics([np.array([[1.0, np.nan], [2.0, np.nan]])])
