"""SVG: the published sizes, network by network, frames of several sizes, and who hears what."""

from itertools import pairwise

import pytest
import torch

from avf_core.configuration import build, build_model
from avf_core.errors import ConfigurationError
from avf_core.models import svg
from tests.support.comparing import count

from .pairs import ITERATIVE, SVG, make, observations


def conv(inputs: int, outputs: int, side: int = 3) -> int:
    """Weights and biases of a convolution, or of a transposed one."""
    return side * side * inputs * outputs + outputs


def vgg(*channels: int) -> int:
    """3 x 3 convolutions from each number of channels to the next, each with a batch norm's scale and shift."""
    return sum(conv(a, b) + 2 * b for a, b in pairwise(channels))


@pytest.fixture(scope="module")
def actions() -> svg.Model:
    """The paper's SVG for 64 x 64 pixels."""
    model = build_model({"kind": "svg"})
    assert isinstance(model, svg.Model)
    return model


def test_each_network_has_the_published_size(actions: svg.Model) -> None:
    """VGG-64 of Denton & Fergus layer by layer; prior LSTM 128 -> 256; frame predictor 2 x 256; heads of 512."""
    stages = vgg(1, 64, 64) + vgg(64, 128, 128) + vgg(128, 256, 256, 256) + vgg(256, 512, 512, 512)
    assert count(actions.encoder) == stages + conv(512, 128, 4) + 2 * 128
    stages = vgg(512, 512, 512, 256) + vgg(256, 256, 256, 128) + vgg(128, 128, 64) + vgg(64, 64)
    assert count(actions.decoder) == conv(128, 512, 4) + 2 * 512 + stages + conv(64, 2)
    start = 2 * 256
    assert count(actions.prior_lstm) == 4 * 256 * (128 + 256 + 2) + start
    assert count(actions.prior) == 2 * (256 + 1) * 512
    assert count(actions.predictor) == 4 * 256 * (512 + 128 + 256 + 2) + 4 * 256 * (256 + 256 + 2) + 2 * start
    assert count(actions.predicted) == 257 * 128
    parts = (actions.encoder, actions.decoder, actions.prior_lstm, actions.prior, actions.predictor, actions.predicted)
    assert count(actions) == sum(map(count, parts)) + 128  # g_0


def test_skips_double_what_each_stage_of_the_decoder_reads(actions: svg.Model) -> None:
    """The encoder is the same; the first convolution of each stage has twice the channels."""
    with_skips = build_model({"kind": "svg", "skips": True})
    assert isinstance(with_skips, svg.Model)
    assert count(with_skips.encoder) == count(actions.encoder)
    more = 9 * (512 * 512 + 256 * 256 + 128 * 128 + 64 * 64)
    assert count(with_skips.decoder) == count(actions.decoder) + more


def test_the_baseline_is_an_lstm_over_g() -> None:
    """Linear embedding of g, one LSTM of 256, two heads: Denton & Fergus's."""
    inference = {"kind": "direct", "widths": [], "context": [], "recurrent": 256}
    baseline = build({"model": {"kind": "svg", "widths": [8, 8, 8, 8]}, "inference": inference}).inference
    lstm = 4 * 256 * (256 + 256 + 2) + 2 * 256
    assert count(baseline) == 129 * 256 + lstm + 2 * 257 * 512


def test_a_small_dcgan_has_a_few_hundred_thousand_parameters() -> None:
    """Strided 4 x 4 convolutions with group norm, summed by hand."""
    model = build_model({"kind": "svg", "encoder": "dcgan", "widths": [16, 32, 64, 64], "norm": "group"})
    assert isinstance(model, svg.Model)
    stages = [(1, 16), (16, 32), (32, 64), (64, 64)]
    down = sum(conv(a, b, 4) + 2 * b for a, b in stages) + conv(64, 128, 4)
    up = conv(128, 64, 4) + 2 * 64 + conv(64, 64, 4) + 2 * 64 + conv(64, 32, 4) + 2 * 32
    up += conv(32, 16, 4) + 2 * 16 + conv(16, 2, 4)
    assert (count(model.encoder), count(model.decoder)) == (down, up)
    assert down + up < 600_000


@pytest.mark.parametrize("encoder", ["vgg", "dcgan"])
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("widths", [[4], [2, 4, 4], [2, 2, 4, 4]])
def test_frames_of_several_sizes(encoder: str, skips: bool, widths: list[int]) -> None:
    """8, 32 and 64 pixels a side: pixels in, means of pixels out, and the belief's skips have the stages' sizes."""
    side = 4 * 2 ** len(widths)
    settings = {**SVG, "frame_size": side, "widths": widths, "encoder": encoder, "skips": skips}
    filter = build({"model": settings, "inference": ITERATIVE}).eval().requires_grad_(False)
    assert filter.model.observation.shape == (side, side)
    before = filter.initial(torch.arange(2))
    belief, estimate = filter.step(before, observations(filter, 1, 2)[0])
    assert estimate.likelihood.mean.shape == (2, side * side)
    assert 0.0 < float(estimate.likelihood.mean.min()) < float(estimate.likelihood.mean.max()) < 1.0
    assert {k: v.shape for k, v in belief.model.items()} == {k: v.shape for k, v in before.model.items()}
    assert sum(name.startswith("skip") for name in belief.model) == (len(widths) if skips else 0)


def test_a_frame_that_the_stages_do_not_fit_is_refused() -> None:
    """The error says which size does."""
    with pytest.raises(ConfigurationError, match="expected frames of 32"):
        build_model({"kind": "svg", "frame_size": 64, "widths": [8, 8, 8]})


@pytest.mark.parametrize("encoder", ["vgg", "dcgan"])
def test_with_group_norm_rows_are_isolated_in_training_too(encoder: str) -> None:
    """Batch norm mixes rows in training; group norm does not, so each row's gradient is that of its own F."""

    def energy(norm: str, others: float) -> torch.Tensor:
        torch.manual_seed(0)
        filter = build({"model": {**SVG, "encoder": encoder, "norm": norm}, "inference": ITERATIVE}).train()
        xs = observations(filter, 2, 3).index_fill(1, torch.tensor([1, 2]), others)
        return filter.scan(filter.initial(torch.arange(3)), xs)[1].free_energy[:, 0].detach()

    torch.testing.assert_close(energy("group", 0.0), energy("group", 1.0), rtol=0, atol=0)
    assert float((energy("batch", 0.0) - energy("batch", 1.0)).abs().max()) > 1e-3


def test_the_last_frame_is_heard_by_prior_and_predictor_and_through_skips() -> None:
    """With everything else equal, x_{t-1} changes the next prior, and the skips change the next likelihood."""
    filter = make("svg-skips")
    model = filter.model
    x = observations(filter, 1, 2)[0]
    context, prior = model.predict(model.initial(2))
    z = prior.mean[:1].expand(2, -1)
    context, prior = model.predict(model.transition(context, x, z))
    assert float((prior.mean[0] - prior.mean[1]).abs().max()) > 1e-5
    mixed = {name: value[:1].expand_as(value) for name, value in context.items()}
    for name in ("g", "skip0"):
        means = model.decode({**mixed, name: context[name]}, z).mean
        assert float((means[0] - means[1]).abs().max()) > 1e-5
    torch.testing.assert_close(*model.decode(mixed, z).mean)


def test_a_batch_of_one_can_be_trained_on() -> None:
    """Where batch norm has no batch, g is normalised by the frames before it."""
    torch.manual_seed(0)
    filter = build({"model": SVG, "inference": {"kind": "direct", "context": []}}).train()
    _, e = filter.scan(filter.initial(torch.arange(1)), observations(filter, 3, 1))
    e.free_energy.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in filter.parameters() if p.grad is not None)
