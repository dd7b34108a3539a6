"""Training in one call, on data in the forms that programs have it in."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

import avf_core
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.training._given import sequences_of

SETTINGS = {
    "model": {
        "kind": "srnn",
        "observation_size": 2,
        "latent_size": 2,
        "hidden_size": 6,
        "prior_widths": (6,),
        "decoder_widths": (6,),
        "likelihood": "gaussian",
    },
    "inference": {"kind": "direct", "widths": [6]},
}
SCHEDULE = avf_core.TrainingConfig(
    epochs=6, clip_length=20, draw="steps", theta_rate=1e-2, phi_rate=1e-2, validate_every=2, validate_start=True
)
DATA = np.random.default_rng(0).normal(2.0, 0.3, size=(8, 40, 2)).astype(np.float32)


class Rows(Dataset[torch.Tensor]):
    """A Dataset of sequences, which does not say where it ends but by its length."""

    def __len__(self) -> int:
        return len(DATA)

    def __getitem__(self, place: int) -> torch.Tensor:
        return torch.from_numpy(DATA[place % len(DATA)])


def test_data_of_every_form_are_the_same_sequences() -> None:
    """Arrays, lists of tensors, Datasets, and the batches of a DataLoader."""
    tensors = TensorDataset(torch.from_numpy(DATA))
    loader: DataLoader[tuple[torch.Tensor]] = DataLoader(tensors, batch_size=3)
    for given in (DATA, torch.from_numpy(DATA), [*map(torch.from_numpy, DATA)], tensors, Rows(), loader, list(DATA)):
        np.testing.assert_array_equal(np.stack(sequences_of(given)), DATA)
    assert len(sequences_of(DATA[0])) == 1
    for wrong in ([], [np.zeros(3)], DATA[0].tolist()):
        with pytest.raises(DataError, match=r"expected arrays of shape \(time, observation\)"):
            sequences_of(wrong)


def test_a_filter_is_trained_in_place() -> None:
    """It has the weights of the best checkpoint, and says more of the data than before."""
    torch.manual_seed(0)
    filter = avf_core.build(SETTINGS)
    before = avf_core.evaluate(filter, list(DATA)).free_energy_pooled
    best = avf_core.fit(
        filter, DataLoader(TensorDataset(torch.from_numpy(DATA)), batch_size=4), DATA, schedule=SCHEDULE
    )
    after = avf_core.evaluate(filter, list(DATA)).free_energy_pooled
    assert after < before - 0.5
    assert after == pytest.approx(avf_core.evaluate(best.filter, list(DATA)).free_energy_pooled)
    by_hand = Filter(filter.model, filter.inference)
    with pytest.raises(ConfigurationError, match="does not know its settings"):
        avf_core.fit(by_hand, DATA, DATA)


def test_settings_and_presets_take_the_units_of_the_data() -> None:
    """Both give a checkpoint whose model knows where the data lie; a preset has its own sizes too."""
    short = avf_core.TrainingConfig(epochs=1, clip_length=20, draw="steps", validate_start=True)
    for given in (SETTINGS, "sensor"):
        found = avf_core.fit(given, DATA, DATA, schedule=short)  # type: ignore[arg-type]
        assert found.settings["model"]["center"] == pytest.approx([2.0, 2.0], abs=0.1)
        assert found.filter.model.observation.size == 2
