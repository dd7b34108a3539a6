"""VRNN: the paper's size, network by network, and its recurrence."""

import pytest
import torch

from avf_core.configuration import build, build_model
from avf_core.models import vrnn
from tests.support.comparing import count

from .pairs import make, observations


@pytest.fixture(scope="module")
def speech() -> vrnn.Model:
    """The paper's VRNN for speech."""
    model = build_model({"kind": "vrnn"})
    assert isinstance(model, vrnn.Model)
    return model


def test_each_network_has_the_papers_size(speech: vrnn.Model) -> None:
    """Summed by hand: a layer of a inputs and b outputs has (a + 1) b parameters, heads come in pairs."""
    lstm = 4 * 2000 * (600 + 500 + 2000) + 2 * 4 * 2000
    decoder = (500 + 2000 + 1) * 600 + 3 * 601 * 600 + 2 * 601 * 200
    assert count(speech.observation_features) == 201 * 600 + 3 * 601 * 600 == 1_202_400
    assert count(speech.latent_features) == 201 * 500 + 3 * 501 * 500 == 852_000
    assert count(speech.lstm.cell) == lstm == 24_816_000
    assert count(speech.lstm) == lstm + 2 * 2000
    assert count(speech.prior) == 2001 * 500 + 3 * 501 * 500 + 2 * 501 * 200 == 1_952_400
    parts = (speech.decoder_hidden, speech.decoder_latent, speech.decoder)
    assert sum(map(count, parts)) == decoder == 2_822_800
    assert count(speech) == 31_649_600


def test_the_baseline_has_the_papers_size(speech: vrnn.Model) -> None:
    """q on the features of x and h_{t-1}: four layers of 500 with heads of 200."""
    baseline = {"kind": "direct", "widths": [500] * 4, "activation": "relu"}
    inference = build({"model": {"kind": "vrnn"}, "inference": baseline}).inference
    assert count(inference) == (600 + 2000 + 1) * 500 + 3 * 501 * 500 + 2 * 501 * 200


def test_the_first_decoder_layer_in_two_parts_is_the_layer_on_both() -> None:
    """[phi(z), h] through one matrix, written out."""
    filter = make("vrnn-iterative", torch.float64)
    model = filter.model
    assert isinstance(model, vrnn.Model)
    belief, _ = filter.step(filter.initial(torch.arange(3)), observations(filter, 1, 3)[0])
    context, prior = model.predict(belief.model)
    joined = torch.cat([model.latent_features(prior.mean), belief.model["hidden"]], dim=-1)
    weight = torch.cat([model.decoder_latent.weight, model.decoder_hidden.weight], dim=1)
    first = torch.relu(joined @ weight.T + model.decoder_hidden.bias)
    expected = model.emission.likelihood_of(model.decoder(first), {})
    torch.testing.assert_close(model.decode(context, prior.mean).mean, expected.mean)


def test_what_was_observed_and_what_was_inferred_both_enter_the_recurrence() -> None:
    """The next prior depends on x_t and on z_t."""
    filter = make("vrnn-iterative")
    context, _ = filter.model.predict(filter.model.initial(2))
    x, z = torch.zeros(2, 6), torch.zeros(2, 4)
    x[1] += 1.0
    same_z = filter.model.predict(filter.model.transition(context, x, z))[1].mean
    z[1] += 1.0
    same_x = filter.model.predict(filter.model.transition(context, x[:1].expand(2, -1), z))[1].mean
    for prior in (same_z, same_x):
        assert float((prior[0] - prior[1]).abs().max()) > 1e-4
