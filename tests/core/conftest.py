"""What the library's tests share: small filters of every kind, and the real data where it is there."""

from collections.abc import Iterator

import pytest
import torch

from avf_core.filtering import Filter
from avf_core.native import running
from tests.support.native import needed

from .pairs import DESCRIBED, LISTED, make

NATIVE = " natively"


@pytest.fixture(params=sorted([*LISTED, *(name + NATIVE for name in LISTED if name in DESCRIBED)]))
def pair(request: pytest.FixtureRequest) -> Iterator[Filter]:
    """Every pair of model and inference procedure, on torch; those that describe themselves natively, too."""
    if request.param.endswith(NATIVE):
        needed()
    choice: running.Choice = "float32" if request.param.endswith(NATIVE) else "off"
    with torch.no_grad(), running.using(choice):
        yield make(request.param.removesuffix(NATIVE))
