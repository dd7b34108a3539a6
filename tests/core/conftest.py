"""What the library's tests share: small filters of every kind, and the real data where it is there."""

from collections.abc import Iterator

import pytest
import torch

from avf_core.filtering import Filter

from .pairs import LISTED, make


@pytest.fixture(params=sorted(LISTED))
def pair(request: pytest.FixtureRequest) -> Iterator[Filter]:
    """Every pair of model and inference procedure."""
    with torch.no_grad():
        yield make(request.param)
