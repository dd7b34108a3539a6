"""Pictures in the native executor against torch: values, slopes, rows in any batch, and what is left to torch."""

from typing import Any

import pytest
import torch

from avf_core import intervals, noise
from avf_core.configuration import build
from avf_core.filtering import Filter
from avf_core.models import svg
from avf_core.native import elements, pictures, running
from tests.support.native import needed


@pytest.fixture(scope="module", autouse=True)
def executor() -> None:
    """The executor, or none of these tests."""
    needed()


def filter_of(**changes: Any) -> Filter:
    """A small SVG of convolutions that the executor has, but for the changes; norms with weights of their own."""
    torch.manual_seed(0)
    model = {"kind": "svg", "frame_size": 16, "latent_size": 4, "encoding_size": 24, "hidden_size": 6}
    model |= {"encoder": "dcgan", "norm": "group", "widths": [16, 32], "bin": 1.0 / 256, **changes}
    inference = {"kind": "iterative", "units": 16, "samples": 2, "inputs": "whitened"}
    made = build({"model": model, "inference": inference}).eval().requires_grad_(False)
    for name, parameter in made.model.named_parameters():
        if name.startswith(("encoder", "decoder")):
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def frames(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, 256, generator=torch.Generator().manual_seed(1))


def is_native(filter: Filter) -> bool:
    """Whether the executor decodes and encodes."""
    model = filter.model
    assert isinstance(model, svg.Model)
    data, frame = torch.zeros(1, 24), torch.zeros(1, 1, 16, 16)
    decodes = pictures.net_for(model.decoder, pictures.Decoder, model.decoder._layers, data) is not None
    encodes = pictures.net_for(model.encoder, pictures.Encoder, model.encoder._layers, frame) is not None
    assert decodes == encodes
    return decodes


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("changes", [{}, {"likelihood": "gaussian"}, {"widths": [48, 16]}])
def test_values_and_slopes_are_those_of_torch(changes: dict[str, Any], masked: bool) -> None:
    """Of the encoder, of decoded maps, and of -log p(x) by the latent, also where pixels are missing."""
    filter = filter_of(**changes)
    model, x = filter.model, frames(3)
    assert isinstance(model, svg.Model)
    assert is_native(filter)
    observed = torch.rand(3, 256, generator=torch.Generator().manual_seed(2)) > 0.3 if masked else None
    context, _ = model.predict(model.initial(3))
    z = 3.0 * torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(3))
    found = []
    for choice in ("off", "auto"):
        with running.using(choice):  # type: ignore[arg-type]
            likelihood: Any = model.decode(context, z[0])
            slope = model.reconstruction_slope(context, z, x, observed)
            found.append([model.features(x), likelihood.mean, likelihood.log_variance, *slope])
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_row_is_the_same_bits_in_any_batch(threads: int) -> None:
    """Alone, with six others, and by several threads."""
    filter = filter_of()
    model, x = filter.model, frames(7)
    vectors = torch.tanh(torch.randn(7, 24, generator=torch.Generator().manual_seed(4)))
    assert isinstance(model, svg.Model)
    pixels = pictures.pixels_of(model.emission.plan(), svg.OUTPUT_LOG_VARIANCE)
    assert pixels is not None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = [model.decoder(vectors, []), model.features(x)]
        sloped = model.decoder.energy_slope(vectors, [], pixels, x, None)
    finally:
        torch.set_num_threads(before)
    assert sloped is not None
    for row in range(7):
        one = slice(row, row + 1)
        alone = [model.decoder(vectors[one], []), model.features(x[one])]
        other = model.decoder.energy_slope(vectors[one], [], pixels, x[one], None)
        assert other is not None
        for whole, part in zip([*together, *sloped], [*alone, *other], strict=True):
            torch.testing.assert_close(whole[one], part, rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes", [{"encoder": "vgg"}, {"norm": "batch"}, {"widths": [8, 16]}, {"likelihood": "discretized-authors"}]
)
def test_what_the_executor_has_not_is_computed_by_torch(changes: dict[str, Any]) -> None:
    """Other layers, channels that fill no vector; and for another likelihood, the slope alone."""
    filter = filter_of(**changes)
    assert is_native(filter) == ("likelihood" in changes)
    xs = frames(2, 3)
    energies = []
    for choice in ("off", "auto"):
        with running.using(choice):  # type: ignore[arg-type]
            energies.append(filter.scan(filter.initial(torch.arange(3)), xs)[1].free_energy)
    torch.testing.assert_close(*energies)


def test_training_gradients_and_other_precisions_are_torchs() -> None:
    """So is everything where the executor is turned off."""
    filter = filter_of()
    model = filter.model
    assert isinstance(model, svg.Model)
    assert is_native(filter)
    with running.using("off"):
        assert not is_native(filter)
    assert not is_native(filter.train())
    filter.eval().requires_grad_(True)
    assert not is_native(filter)
    vectors = torch.zeros(1, 24, requires_grad=True)
    model.decoder(vectors, []).sum().backward()
    assert vectors.grad is not None
    double = filter_of().double()
    assert isinstance(double.model, svg.Model)
    assert double.model.decoder(torch.zeros(1, 24, dtype=torch.float64), []).dtype == torch.float64


def test_parameters_that_change_are_copied_anew() -> None:
    """In place, by a new value, and by another tensor."""
    filter = filter_of()
    model = filter.model
    assert isinstance(model, svg.Model)
    vectors = torch.ones(2, 24)
    for change in (
        lambda: model.decoder.first[0].weight.mul_(1.5),  # type: ignore[index,union-attr]
        lambda: model.load_state_dict({k: 0.9 * v for k, v in model.state_dict().items()}),
        lambda: setattr(model.decoder.first[0], "bias", torch.nn.Parameter(torch.ones(32))),  # type: ignore[index]
    ):
        change()
        with torch.no_grad():
            found = model.decoder(vectors, [])
            with running.using("off"):
                expected = model.decoder(vectors, [])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 16, 37])
def test_elements_are_those_of_torch(count: int) -> None:
    """Log-probabilities of narrow and wide bins near and far, with slopes; counts that fill no vector."""
    generator = torch.Generator().manual_seed(count)
    x, mean = torch.randn(2, count, generator=generator)
    log_variance = -4.0 + 6.0 * torch.rand(count, generator=generator)
    for width in (1e-4, 0.1, 3.0):
        found = elements.log_probability(x, mean, log_variance, width, sloped=True)
        assert found is not None
        expected = intervals.log_probability_slopes(x.double(), mean.double(), log_variance.double(), width=width)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs.float(), rtol=1e-5, atol=1e-5)


def test_noise_is_that_of_torch_rounded() -> None:
    """By seed, step and stream, for sizes that fill no vector, and streams far apart."""
    seed, step = torch.tensor([0, 7, -5]), torch.tensor([0, 3, 1 << 40])
    streams = [noise.POSTERIOR, noise.ITERATION + 3, noise.COMMON + 1]
    for size in (1, 2, 15, 64):
        found = elements.standard_normal(seed, step, streams=streams, size=size)
        assert found is not None
        expected = noise.standard_normal(seed, step, streams=streams, size=size).float()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
