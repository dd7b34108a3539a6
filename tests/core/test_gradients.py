"""The gradients that enter the update model against finite differences of F, in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from avf_core import trees
from avf_core.distributions import Gaussian
from avf_core.drives import Drive
from avf_core.inference import _study, iterative
from avf_core.models import svg
from avf_core.models.base import Model
from avf_core.nets import ACTIVATIONS, activate, with_backward
from avf_core.objectives import StepObjective
from avf_core.training import em

from .pairs import make, observations

PAIRS = ["srnn-gated", "srnn-gaussian", "srnn-speech", "vrnn-iterative", "vrnn-appended", "lgssm-iterative"]
BINNED = ("srnn-speech", "vrnn-iterative", "vrnn-appended")  # energies so large that differences are rounded more
PICTURES = ["svg-iterative", "svg-skips", "svg-dcgan"]
WRITTEN_OUT = [name for name in PAIRS if not name.startswith("lgssm")] + PICTURES


def objective(name: str, *, masked: bool, kl_weight: float = 1.0) -> StepObjective:
    filter = make(name, torch.float64)
    xs = observations(filter, 3, 4)
    belief, _ = filter.scan(filter.initial(torch.arange(4)), xs[:2])
    observed = torch.rand(xs[2].shape, generator=torch.Generator().manual_seed(0)) > 0.3 if masked else None
    return filter.objective(belief, xs[2], observed=observed, kl_weight=kl_weight)


def sampled_free_energy(o: StepObjective, q: Gaussian, eps: Tensor) -> Tensor:
    """F_t on given noise, written out from its definition."""
    energies = []
    for noise in eps:
        log_prob = o.model.decode(o.context, q.mean + torch.exp(q.log_variance / 2) * noise).log_prob(o.x)
        if o.observed is not None:
            log_prob = log_prob * o.observed
        energies.append(-log_prob.sum(-1))
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(
        normal(q.mean, torch.exp(q.log_variance / 2)), normal(o.prior.mean, o.prior.deviation)
    )
    return torch.stack(energies).mean(0) + o.kl_weight * kl.sum(-1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", PAIRS)
def test_gradient_equals_finite_differences(name: str, samples: int, masked: bool) -> None:
    """Each row's gradient is that of its own F, with respect to mean and log-variance."""
    o = objective(name, masked=masked, kl_weight=0.7)
    generator = torch.Generator().manual_seed(1)
    shift = torch.randn(2, *o.prior.mean.shape, generator=generator, dtype=torch.float64)
    q = Gaussian(o.prior.mean + 0.3 * shift[0], o.prior.log_variance + 0.3 * shift[1])
    eps = torch.randn(samples, *q.mean.shape, generator=generator, dtype=torch.float64)
    found = o.gradient(q, eps)
    torch.testing.assert_close(found.free_energy, sampled_free_energy(o, q, eps))
    width = 1e-6
    for part in ("mean", "log_variance"):
        for dimension in range(q.mean.shape[-1]):
            step = torch.zeros_like(q.mean)
            step[:, dimension] = width
            ends = []
            for sign in (1.0, -1.0):
                values = {"mean": q.mean, "log_variance": q.log_variance}
                values[part] = values[part] + sign * step
                ends.append(sampled_free_energy(o, Gaussian(**values), eps))
            slope = (ends[0] - ends[1]) / (2.0 * width)
            coarse = 10.0 if name in BINNED else 1.0
            close = {"rtol": 1e-6 * coarse, "atol": 1e-7 * coarse}
            torch.testing.assert_close(getattr(found, part)[:, dimension], slope, **close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_gradients_written_out_are_those_of_automatic_differentiation(
    name: str, masked: bool, dtype: torch.dtype
) -> None:
    """In the precision of the layers; far from zero too, where activations and log-variances are clipped."""
    o = objective(name, masked=masked)
    model = o.model.to(dtype).eval()
    z = 40.0 * torch.randn(3, *o.prior.mean.shape, generator=torch.Generator().manual_seed(2))
    context = {key: value.to(dtype) for key, value in o.context.items()}
    given = (context, z, o.x.float(), o.observed)
    with torch.no_grad():
        found, expected = model.reconstruction_slope(*given), Model.reconstruction_slope(model, *given)
    for ours, theirs in zip(found, expected, strict=True):
        rounded = 0.03 * float(theirs.abs().max())  # of a sum of products in bfloat16
        close = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": rounded}
        torch.testing.assert_close(ours, theirs, **close)


def test_gradients_of_pictures_with_inputs_are_those_of_automatic_differentiation() -> None:
    """Inputs that the decoder reads stand beside the encoded frame; the gradient with respect to z goes by them."""
    model = svg.Model(replace(svg.EXAMPLES["driven"], predictor_layers=3)).double().eval()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    state = {name: value + 0.3 for name, value in model.initial(4).items()}
    context, _ = model.predict(state, Drive(inputs=inputs, dt=torch.full((4,), 0.7, dtype=torch.float64)))
    z = torch.randn(3, 4, model.latent_size, generator=generator, dtype=torch.float64)
    x = torch.rand(4, model.observation.size, generator=generator, dtype=torch.float64)
    found = model.reconstruction_slope(context, z, x, None)
    for ours, theirs in zip(found, Model.reconstruction_slope(model, context, z, x, None), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_every_activation_has_its_backward_pass() -> None:
    """What models can be configured with; of other layers it is said that there is none."""
    x = torch.randn(50, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 6.0
    for activation in ACTIVATIONS.values():
        value, backward = activate(activation, x)
        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(activation(leaf).sum(), leaf)
        torch.testing.assert_close(value, activation(x))
        torch.testing.assert_close(backward(torch.ones_like(x)), expected)
    with pytest.raises(TypeError, match="Softplus has no backward pass of its own"):
        with_backward(torch.nn.Softplus(), x)


def test_gradient_does_not_depend_on_the_batch() -> None:
    """It is never divided by the batch size: a row alone has the same gradient."""
    o = objective("srnn-gated", masked=False)
    eps = torch.randn(1, *o.prior.mean.shape, dtype=torch.float64)
    together = o.gradient(o.prior, eps)
    one = slice(1, 2)
    rows = {k: v[one] for k, v in o.context.items()}
    alone = StepObjective(
        model=o.model,
        context=rows,
        prior=trees.take(o.prior, one),
        x=o.x[one],
        observed=None,
        seed=o.seed[one],
        step=o.step[one],
    )
    found = alone.gradient(alone.prior, eps[:, one])
    torch.testing.assert_close(found.mean, together.mean[one])


@pytest.mark.parametrize(
    ("name", "exaggeration"),
    [
        *((name, 1.0) for name in ("srnn-gated", "srnn-learned_sgd", "srnn-appended", "srnn-whitened")),
        *(("srnn-keep_best", exaggeration) for exaggeration in (1.0, 10.0, 30.0)),
    ],
)
def test_update_models_gradient_equals_that_of_the_sum_over_iterates(name: str, exaggeration: float) -> None:
    """The batched pass gives phi the gradient that autograd finds on the loss written out.

    With accept-or-keep that is the sum over all proposals, those that were so bad that they were refused included.
    """
    filter = make(name, torch.float64).requires_grad_(True)
    inference = filter.inference
    assert isinstance(inference, iterative.Inference)
    with torch.no_grad():
        inference.heads.weight.mul_(exaggeration)
        inference.heads.bias.mul_(exaggeration)
    xs = observations(filter, 3, 4)
    clip = em.Clip.whole(xs, torch.ones(3, 4, dtype=torch.bool), torch.arange(4))
    _, study = em.expectation(filter, clip, kl_weight=1.0)
    assert isinstance(study, _study.Study)
    study.backward(em.weighing(torch.tensor(1)))
    batched = {k: p.grad.clone() for k, p in inference.named_parameters() if p.grad is not None}
    inference.zero_grad()
    refused, before = 0, torch.zeros(())
    for t, made in zip(range(3 * inference.config.iterations), study.applications, strict=True):
        o, eps = _objective_of(filter, clip, t, inference)
        said = inference.heads(inference.trunk(made.record.layers[0].read))
        if t % inference.config.iterations:
            refused += int(((made.terms[:, 0] - before).abs() > 1e-6).any(-1).sum())
        updated = inference.settle(made.terms, said, made.prior)
        before = updated.mean.detach()
        sampled_free_energy(o, updated, eps).sum().backward()
    assert refused > 0 or not inference.config.keep_best
    for key, parameter in inference.named_parameters():
        torch.testing.assert_close(batched[key], parameter.grad, rtol=1e-9, atol=1e-12)


def _objective_of(filter, clip, index, inference):  # type: ignore[no-untyped-def]
    """The objective and the noise that the iterate `index` of a clip was judged on."""
    time, iteration = divmod(index, inference.config.iterations)
    with torch.no_grad():
        belief = filter.initial(clip.seeds)
        if time:
            belief, _ = filter.scan(belief, clip.xs[:time])
        o = filter.objective(belief, clip.xs[time])
    return o, inference.draw(o, iteration + 1)
