"""Every model in every precision, and on an accelerator where there is one."""

import pytest
import torch

from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.trees import tree_map

from .pairs import LISTED, make, observations

MODELS = [name for name in sorted(LISTED) if LISTED[name]["inference"]["kind"] in ("iterative", "direct")]


def filtered(filter: Filter, xs: torch.Tensor) -> Estimate:
    device = next(filter.parameters()).device
    with torch.no_grad():
        return filter.scan(filter.initial(torch.arange(4, device=device)), xs.to(device))[1]


@pytest.mark.parametrize("name", MODELS)
def test_single_precision_is_that_of_double_rounded(name: str) -> None:
    """The first step's energies agree to what float32 holds; later ones may part, as samples are fed back."""
    xs = observations(make(name), 4, 4)
    double, single = filtered(make(name, torch.float64), xs.double()), filtered(make(name), xs)
    torch.testing.assert_close(single.free_energies[0].double(), double.free_energies[0], rtol=2e-3, atol=2e-3)
    assert double.free_energy.dtype == torch.float64
    assert bool(double.free_energy.isfinite().all())


@pytest.mark.parametrize("observed", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_weights_give_nearly_the_energies_of_float32(name: str, observed: torch.dtype) -> None:
    """Observations may come in either precision: networks read them in their own, the likelihood in theirs."""
    xs = observations(make(name), 3, 4)
    single, half = filtered(make(name), xs), filtered(make(name, torch.bfloat16), xs.to(observed))
    assert bool(half.free_energy.isfinite().all())
    prior, expected = half.free_energies[0, :, 0].float(), single.free_energies[0, :, 0]
    torch.testing.assert_close(prior, expected, rtol=0.05, atol=0.2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", MODELS)
def test_an_accelerator_gives_the_energies_of_the_cpu(name: str) -> None:
    """Noise is counter-based, so even samples agree."""
    xs = observations(make(name), 3, 4)
    there = tree_map(torch.Tensor.cpu, filtered(make(name).cuda(), xs))
    torch.testing.assert_close(there.free_energies[0], filtered(make(name), xs).free_energies[0], rtol=1e-3, atol=1e-3)
