"""Networks and models: the paper's sizes, and one pass against many steps."""

import pytest
import torch

from avf_core import configuration
from avf_core.distributions import Gaussian
from avf_core.inference import iterative
from avf_core.models import base
from avf_core.native import running
from avf_core.nets import LearnedStartLSTM
from tests.support.comparing import count

from .pairs import make, observations, one_of_each_model


def test_the_update_model_has_the_papers_size() -> None:
    """With latents of 200, two highway layers of 1,024 and four heads have 5,379,872 parameters."""
    model = configuration.build_model({"kind": "lgssm", "latent_size": 200, "observation_size": 200})
    assert count(iterative.Inference(iterative.Config(), model)) == 5_379_872


def test_srnn_has_the_papers_size() -> None:
    """LSTM 300 on 88 keys, prior 1x500 with two heads of 100, decoder 2x500, summed by hand."""
    lstm = 4 * (88 * 300 + 300 * 300 + 2 * 300) + 2 * 300
    prior = (400 * 500 + 500) + 2 * (500 * 100 + 100)
    decoder = (400 * 500 + 500) + (500 * 500 + 500) + (500 * 88 + 88)
    assert count(configuration.build_model({"kind": "srnn"})) == lstm + prior + decoder


def test_srnn_for_speech_has_the_papers_size() -> None:
    """LSTM 1,024 on 200 samples, all networks 2x512, Gaussian output with two heads, summed by hand."""
    lstm = 4 * (200 * 1024 + 1024 * 1024 + 2 * 1024) + 2 * 1024
    prior = (1280 * 512 + 512) + (512 * 512 + 512) + 2 * (512 * 256 + 256)
    decoder = (1280 * 512 + 512) + (512 * 512 + 512) + 2 * (512 * 200 + 200)
    sizes = {"observation_size": 200, "latent_size": 256, "hidden_size": 1024}
    widths = {"prior_widths": [512, 512], "decoder_widths": [512, 512]}
    model = configuration.build_model({"kind": "srnn", "likelihood": "discretized", **sizes, **widths})
    assert count(model) == lstm + prior + decoder


@pytest.mark.parametrize(
    "name",
    [
        "srnn-gated",
        "srnn-gaussian",
        "srnn-speech",
        "vrnn-iterative",
        "svg-iterative",
        "svg-skips",
        "svg-direct",
        "lgssm-iterative",
        *(name for name in one_of_each_model() if ".driven" in name),
    ],
)
@pytest.mark.parametrize("steps", [1, 6])
def test_replay_equals_predict_and_transition(name: str, steps: int) -> None:
    """A model's faster replay gives what its steps give."""
    filter = make(name)
    model = filter.model
    xs = observations(filter, steps, 3)
    zs = torch.randn(steps, 3, model.latent_size)
    state = model.initial(3)
    drive = filter.drive(filter.initial(torch.arange(3)), time=(steps,))
    contexts, priors = model.replay(state, xs, zs, drive)
    expected_contexts, expected_priors = base.Model.replay(model, state, xs, zs, drive)
    torch.testing.assert_close(priors.mean, expected_priors.mean)
    torch.testing.assert_close(priors.log_variance, expected_priors.log_variance)
    for key in contexts.keys() & expected_contexts.keys():
        torch.testing.assert_close(contexts[key], expected_contexts[key])
    found, expected = (
        model.decode({key: value.flatten(0, 1) for key, value in each.items()}, zs.flatten(0, 1)).log_prob(
            xs.flatten(0, 1)
        )
        for each in (contexts, expected_contexts)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", [name for name in one_of_each_model() if not name.startswith("lgssm")])
def test_every_parameter_of_a_model_is_reached_by_the_gradient(name: str) -> None:
    """Through the filter step by step and through the replay alike, with finite gradients in float32."""
    filter = make(name).train().requires_grad_(True)
    model, xs = filter.model, observations(filter, 4, 3)
    belief = filter.initial(torch.arange(3))
    _, e = filter.scan(belief, xs)
    contexts, priors = model.replay(model.initial(3), xs, e.z.detach(), filter.drive(belief, time=(len(xs),)))
    flat = {key: value.flatten(0, 1) for key, value in contexts.items()}
    replayed = model.decode(flat, e.z.detach().flatten(0, 1)).log_prob(xs.flatten(0, 1)).sum()
    assert isinstance(e.prior, Gaussian)
    stepped = e.free_energy.sum() + e.prior.log_prob(e.z.detach()).sum()
    for energy in (stepped, replayed + priors.log_prob(e.z.detach()).sum()):
        model.zero_grad()
        energy.backward(retain_graph=True)
        unreached = [key for key, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
        assert not unreached
        assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_lstm_scan_equals_its_cell() -> None:
    """All steps at once against torch's LSTM cell."""
    torch.manual_seed(0)
    lstm = LearnedStartLSTM(4, 5)
    xs = torch.randn(7, 3, 4)
    hidden, cell = lstm.initial(3)
    scanned = lstm.scan(xs, hidden, cell)
    for t in range(7):
        hidden, cell = lstm(xs[t], hidden, cell)
        torch.testing.assert_close(scanned[t], hidden)


def test_missing_observations_continue_as_draws_from_the_model() -> None:
    """Over a gap, what is fed back is binary and has the predicted frequency."""
    filter = make("srnn-gated")
    batch = 4000
    seen: list[torch.Tensor] = []
    transition = filter.model.transition
    filter.model.transition = lambda context, x, z: seen.append(x) or transition(context, x, z)  # type: ignore[method-assign,func-returns-value]
    nothing = torch.zeros(batch, 6, dtype=torch.bool)
    with torch.no_grad(), running.using("off"):
        _, e = filter.step(filter.initial(torch.arange(batch)), torch.zeros(batch, 6), observed=nothing)
    assert set(seen[0].unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(seen[0].mean(0), e.likelihood.mean.mean(0), atol=0.04, rtol=0.0)
