"""The tensors of a likelihood have the axes of its mean, so that rows, samples and particles can be told apart."""

import pytest
import torch
from torch import Tensor

from avf_core.trees import tree_map

from .pairs import make, observations, one_of_each_model

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", one_of_each_model())
def test_every_tensor_of_a_likelihood_has_an_axis_of_rows(name: str) -> None:
    """Also of samples, where several latents a row are decoded; numbers that all rows share are expanded."""
    filter = make(name)
    belief, _ = filter.step(filter.initial(torch.arange(3)), observations(filter, 1, 3)[0])
    context, prior = filter.predict(belief)
    latents = torch.stack([prior.mean, prior.mean + 0.1])

    def axes(shape: tuple[int, ...]) -> object:
        def check(tensor: Tensor) -> Tensor:
            assert tuple(tensor.shape[: len(shape)]) == shape
            return tensor

        return check

    tree_map(axes((3,)), filter.model.decode(context, prior.mean))  # type: ignore[arg-type]
    tree_map(axes((2, 3)), filter.model.decode_samples(context, latents))  # type: ignore[arg-type]
