"""Signs of sound by the executor are torch's, and the same in any batch; and nobody pays who does not hear them."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from avf_core.configuration import build
from avf_core.emissions import Units, _filters
from avf_core.emissions._noise import NOISES
from avf_core.emissions.linear_prediction import LinearPrediction
from avf_core.models import _codec_signs, codec
from avf_core.native import running
from avf_core.trees import take
from tests.support.native import needed

ROWS = 13  # more than one vector of them
SHAPES = [(200, 32, 20, 512), (40, 6, 4, 512), (12, 15, 3, 512), (7, 2, 1, 512), (600, 8, 3, 600), (3, 2, 1, 8)]
"""Samples of a frame, order of its filter, its parts, and samples of the window: of even and odd spectra."""


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    needed()
    with torch.no_grad():
        yield


def sounds(frame: int, order: int, parts: int, window: int) -> tuple[Tensor, Tensor, Tensor, LinearPrediction]:
    """Noise, a tone that is loud, and silence."""
    generator = torch.Generator().manual_seed(frame)
    heard, x = torch.randn(ROWS, window, generator=generator), torch.randn(ROWS, frame, generator=generator)
    heard[0], x[0] = 0.0, 0.0
    heard[1], x[1] = 30.0 * torch.sin(0.3 * torch.arange(window)), 9.0 * torch.sin(0.3 * torch.arange(frame))
    likelihood = LinearPrediction(
        coefficients=_filters.of_reflections(0.5 * torch.randn(ROWS, order, generator=generator)),
        gains=torch.randn(ROWS, parts, generator=generator),
        reactivity=None,
        history=torch.randn(ROWS, order + 4, generator=generator),
        noise=NOISES["logistic"],
        units=Units(bin=1e-4, center=0.1, scale=0.3),
        window=4,
        level=1e-4,
        frame=frame,
    )
    return heard, 0.1 + 0.3 * x, torch.randn(ROWS, 5, generator=generator), likelihood


@pytest.mark.parametrize("shape", SHAPES)
def test_signs_are_torch_s(shape: tuple[int, int, int, int]) -> None:
    """To the rounding of what both compute in double precision."""
    told = sounds(*shape)
    native = _codec_signs._natively(told[0], told[1], told[3])
    assert native is not None
    with running.using("off"):
        reference = _codec_signs.signs(*told)
    torch.testing.assert_close(_codec_signs.signs(*told), reference, rtol=1e-6, atol=1e-6)
    assert torch.equal(_codec_signs.signs(*told)[:, 4:], native)


def test_a_row_s_signs_are_the_same_in_any_batch() -> None:
    """Alone, among eight, and among thirteen."""
    told = sounds(*SHAPES[0])
    whole = _codec_signs.signs(*told)
    for rows in (slice(9, 10), slice(2, 10), slice(5, 13)):
        assert torch.equal(_codec_signs.signs(*take(told, rows)), whole[rows])


def test_nobody_pays_for_signs_that_nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step asks for none; whoever looks at them does, once, and with particles each of their rows."""
    filter = build({"model": {"kind": "codec", **vars(codec.EXAMPLES["reflection"])}, "inference": {"kind": "direct"}})
    filter.eval().requires_grad_(False)
    asked: list[int] = []
    made = codec.Model.signs

    def counted(self: codec.Model, *of: Tensor) -> Tensor:
        asked.append(len(of[1]))
        return made(self, *of)

    monkeypatch.setattr(codec.Model, "signs", counted)
    xs = torch.from_numpy(0.1 * np.random.default_rng(0).normal(size=(3, 2, 6))).float()
    _, stretch = filter.scan(filter.initial(torch.arange(2)), xs)
    _, one = filter.step(filter.initial(torch.arange(2), particles=4), xs[0])
    assert asked == []
    assert stretch.signs.shape == (3, 2, sum(sign.given for sign in filter.model.listened))
    assert torch.equal(stretch.signs, stretch.signs)
    assert asked == [2, 2, 2]
    rows = one.signs
    assert rows.shape == (2, stretch.signs.shape[-1])
    assert asked == [2, 2, 2, 8]
    torch.testing.assert_close(rows[:, :2], one.heard.mean[:, :, 1:].mean(1))
