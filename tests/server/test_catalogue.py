"""What is said of models, and what is normal for them: read off their checkpoints, and null where these do not say."""

from pathlib import Path
from typing import Any

import avf_wire as wire
import msgspec
import numpy as np
import pytest
import torch
from avf_server.models.catalogue import model_info
from avf_server.models.references import Reference
from avf_server.models.setups import Setup

from avf_core import checkpoints, configuration
from avf_core.analysis.surprise import ReferenceDistribution
from tests.core import pairs

SRNN: dict[str, Any] = {"model": pairs.SRNN, "inference": {"kind": "direct", "widths": [8]}}
ROLL = SRNN | {"model": SRNN["model"] | {"observation_size": 88}}
SVG = {
    "model": {
        "kind": "svg",
        "frame_size": 8,
        "latent_size": 4,
        "encoding_size": 8,
        "hidden_size": 8,
        "encoder": "dcgan",
        "widths": [8],
    },
    "inference": {"kind": "direct", "widths": [8], "context": ["g"]},
}
REFERENCE = ReferenceDistribution.fit(np.random.default_rng(0).normal(4.0, 1.0, 1000))


def info(folder: Path, settings: dict[str, Any], card: dict[str, Any]) -> wire.ModelInfo:
    """What is said of a checkpoint with these settings and this card."""
    checkpoints.save(folder, filter=configuration.build(settings), settings=settings, card=card)
    checkpoint = checkpoints.load(folder)
    return model_info(checkpoint, setup=Setup(model="m", iterations=0), reference=Reference.of(checkpoint))


@pytest.mark.parametrize(
    ("settings", "card", "expected"),
    [
        (SRNN, {}, ("series", None, None, None)),
        (SRNN, {"data": "unreadable", "modality": "smell", "sample_rate": "fast"}, ("series", None, None, None)),
        (SRNN, {"data": {"kind": "pianoroll"}}, ("music", None, None, None)),
        (ROLL, {"data": {"kind": "pianoroll"}}, ("music", None, None, 21)),
        (ROLL, {}, ("series", None, None, None)),
        (SRNN, {"data": {"kind": "timit"}}, ("audio", None, 16_000, None)),
        (SRNN, {"data": {"kind": "fsdd"}}, ("audio", None, 8_000, None)),
        (SRNN, {"data": {"kind": "fsdd", "options": {"rate": 16_000}}}, ("audio", None, 16_000, None)),
        (SRNN, {"modality": "audio"}, ("audio", None, None, None)),
        (SRNN, {"modality": "audio", "sample_rate": 44_100}, ("audio", None, 44_100, None)),
        (SVG, {}, ("video", [8, 8], None, None)),
    ],
)
def test_what_observations_are_of_is_read_off_the_checkpoint(
    tmp_path: Path, settings: dict[str, Any], card: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """By its card, the data in the card, or the shape of an observation; what none of these says is null."""
    found = info(tmp_path / "model", settings, card)
    assert (found.modality, found.shape, found.sample_rate, found.first_pitch) == expected
    assert found.normal is None


def test_what_is_normal_is_said_by_quantiles(tmp_path: Path) -> None:
    """Those of the card's reference distribution; nothing is said where the reference is of another score, or bad."""
    facts = {**REFERENCE.as_dict(), "score": "free_energy"}
    normal = info(tmp_path / "good", SRNN, {"reference": facts}).normal
    assert normal is not None
    assert normal.levels[2] == 0.5
    assert normal.values == sorted(normal.values)
    assert normal.values[2] == pytest.approx(4.0, abs=0.1)
    for number, wrong in enumerate(({**facts, "score": "evidence"}, {**facts, "values": [1.0]}, "none")):
        assert info(tmp_path / str(number), SRNN, {"reference": wrong}).normal is None


async def test_estimates_say_how_surprising_they_are(tmp_path: Path, runtime: Any, observations: Any) -> None:
    """The p-value of each free energy among its model's normal ones; null where nothing was observed."""
    folder = tmp_path / "known"
    torch.manual_seed(0)
    card = {"reference": {**REFERENCE.as_dict(), "score": "free_energy"}}
    checkpoints.save(folder, filter=configuration.build(SRNN), settings=SRNN, card=card)
    async with runtime(models=(str(folder),)) as server:
        request = wire.CreateSession(model="known", seed=1)
        session = (await server.sessions.create(request, owner="")).id
        for seq, x in enumerate([*observations(5), [None] * 6], 1):
            reply = await server.service.observe(session, seq=seq, x=x, owner="")
            estimate = reply.message()
            expected = REFERENCE.p_value(torch.tensor([estimate.free_energy], dtype=torch.float64))
            assert estimate.surprise == (None if x[0] is None else pytest.approx(float(expected)))
            assert estimate.observation is msgspec.UNSET
