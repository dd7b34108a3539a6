"""The codec's laws: the decoder hears the latent alone, and louder sound is believed the same but for its level."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from avf_core.configuration import build
from avf_core.emissions.linear_prediction import LinearPrediction
from avf_core.filtering import Filter
from avf_core.models import base
from avf_core.models._codec_plan import LEVEL
from avf_core.models.codec import Model
from avf_core.nets import spectra
from avf_core.training import em

MODEL = {
    "kind": "codec",
    "observation_size": 40,
    "latent_size": 8,
    "hidden_size": 8,
    "prior_widths": [8],
    "decoder_widths": [8],
    "emission": {"filter": "spectrum", "order": 6, "gains": 4, "resolution": 6, "reactive": 5},
    "bin": 1e-9,
}
DIRECT = {"kind": "direct", "widths": [8], "context": ["hidden", "heard"], "relative": True}
ITERATIVE = {"kind": "iterative", "units": 8, "inputs": "whitened", "append_observation": True, "iterations": 2}


def codec(inference: dict[str, object], **changes: object) -> Filter:
    """A codec with the same random parameters each time, in double precision."""
    torch.manual_seed(11)
    filter = build({"model": {**MODEL, **changes}, "inference": inference}).double().eval().requires_grad_(False)
    for parameter in filter.model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return filter


def sound(time: int, batch: int) -> torch.Tensor:
    """Noise whose loudness wanders."""
    generator = torch.Generator().manual_seed(2)
    loudness = torch.randn(time, batch, 1, dtype=torch.float64, generator=generator).exp()
    return loudness * torch.randn(time, batch, 40, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("inference", [DIRECT, ITERATIVE], ids=["direct", "iterative"])
def test_louder_sound_is_believed_the_same_but_for_its_level(inference: dict[str, object]) -> None:
    """Once its first frames are forgotten: log k on the latent's first number, nothing on others, F by the levels."""
    filter = codec(inference, memory=2)
    xs, louder = sound(60, 2), 0.25
    seeds = torch.arange(2)
    _, plain = filter.scan(filter.initial(seeds), xs)
    _, loud = filter.scan(filter.initial(seeds), louder * xs)
    for name in ("prior", "posterior"):
        ours, theirs = getattr(plain, name), getattr(loud, name)
        moved = theirs.mean[-1] - ours.mean[-1]
        torch.testing.assert_close(moved[:, 0], torch.full_like(moved[:, 0], math.log(louder)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(moved[:, 1:], torch.zeros_like(moved[:, 1:]), rtol=0.0, atol=1e-4)
        torch.testing.assert_close(ours.log_variance[-1], theirs.log_variance[-1], rtol=1e-4, atol=1e-4)
    fewer = loud.free_energy[-1] - plain.free_energy[-1] - 40 * math.log(louder)
    torch.testing.assert_close(fewer, torch.zeros_like(fewer), rtol=0.0, atol=1e-2)


def test_the_decoder_hears_the_latent_alone() -> None:
    """Filter and scales of two different pasts are the same at the same latent, relative to the level."""
    model = codec(DIRECT).model
    assert isinstance(model, Model)
    state = model.transition(model.predict(model.initial(2))[0], sound(1, 2)[0], torch.zeros(2, 8, dtype=torch.float64))
    context, _ = model.predict(state)
    z = torch.randn(1, 8, dtype=torch.float64).expand(2, -1)
    z = torch.cat([z[:, :1] + context[LEVEL], z[:, 1:]], dim=-1)
    found = model.decode(context, z)
    for tensor in (found.coefficients, found.log_scale - context[LEVEL]):  # type: ignore[attr-defined]
        torch.testing.assert_close(tensor[0], tensor[1])


def test_louder_sound_is_as_surprising() -> None:
    """What surprise is judged by is the same at a quarter of the amplitude, also where samples are missing."""
    filter = codec(ITERATIVE, memory=2)
    xs, seeds = sound(60, 2), torch.arange(2)
    observed = torch.ones(60, 2, 40, dtype=torch.bool)
    observed[-1, 0, 5:20] = False
    scores = [filter.scan(filter.initial(seeds), k * xs, observed=observed)[1].score[-1] for k in (1.0, 0.25)]
    torch.testing.assert_close(scores[0], scores[1], rtol=0.0, atol=1e-2)
    many = [filter.step(filter.spread(seeds, particles=2), k * xs[0])[1] for k in (1.0, 0.25)]
    assert many[0].allowance is not None
    torch.testing.assert_close(many[0].score, many[0].free_energy - many[0].allowance)


def test_what_is_usual_is_the_entropy_of_the_scales_that_the_latent_says() -> None:
    """Level by level, where scales are of many levels; and of lost sound no less than that of a microphone's noise."""
    filter = codec(DIRECT)
    model, xs = filter.model, sound(6, 2)
    assert isinstance(model, Model)
    _, e = filter.scan(filter.initial(torch.arange(2)), xs)
    belief = filter.scan(filter.initial(torch.arange(2)), xs[:-1])[0]
    context, _ = model.predict(belief.model)
    likelihood = model.decode(context, e.z[-1])
    assert isinstance(likelihood, LinearPrediction)
    scales = likelihood.log_scale.exp() / likelihood.level
    assert bool((scales > 50.0).all())
    expected = stats.logistic.entropy(scale=scales.numpy()).sum(-1)
    assert e.allowance is not None
    np.testing.assert_allclose(e.allowance[-1], expected, rtol=1e-3)
    _, lost = filter.step(belief, torch.zeros_like(xs[0]))
    assert bool((lost.score < lost.free_energy - 39.0 * (2.0 + math.log(1.5))).all())


@pytest.mark.parametrize("steps", [1, 7])
def test_a_clip_in_one_pass_equals_its_steps(steps: int) -> None:
    """Contexts and priors of the replay, and the free energy of training in one pass."""
    filter = codec(DIRECT)
    model, xs = filter.model, sound(steps, 3)
    zs = torch.randn(steps, 3, 8, dtype=torch.float64)
    contexts, priors = model.replay(model.initial(3), xs, zs)
    expected, stepped = base.Model.replay(model, model.initial(3), xs, zs)
    for key in contexts.keys() & expected.keys():
        torch.testing.assert_close(contexts[key], expected[key])
    torch.testing.assert_close(priors.mean, stepped.mean)
    torch.testing.assert_close(priors.log_variance, stepped.log_variance)
    clip = em.Clip.whole(xs, torch.ones(steps, 3, dtype=torch.bool), torch.arange(3))
    found, _ = em.joint_free_energy(filter, clip, kl_weight=1.0)
    _, e = filter.scan(filter.initial(torch.arange(3)), xs)
    torch.testing.assert_close(found, e.free_energy.mean())


def test_what_is_heard_of_a_tone_is_its_envelope() -> None:
    """The cepstrum that is heard is that of an all-pole spectrum which peaks at the tone; and not of its loudness."""
    time = torch.arange(512, dtype=torch.float64)
    tone = torch.sin(2.0 * torch.pi * 0.125 * time) + 1e-2 * torch.randn(512, dtype=torch.float64)
    level = torch.zeros(1, dtype=torch.float64)
    heard = spectra.hear(tone, level, 200)
    places = torch.arange(1, spectra.CEPSTRUM + 1)
    cepstrum = heard[: spectra.CEPSTRUM] / (2.0 * torch.sqrt(places))
    angles = torch.linspace(0.0, torch.pi, 257, dtype=torch.float64)
    log_spectrum = 2.0 * cepstrum @ torch.cos(places[:, None] * angles)
    assert abs(float(angles[log_spectrum.argmax()]) - 2.0 * math.pi * 0.125) < 0.03
    torch.testing.assert_close(spectra.hear(8.0 * tone, level + math.log(8.0), 200), heard, rtol=1e-5, atol=1e-5)
