"""What the data decide of a model: sizes, lags, inputs, and whether time is told, where its settings do not say them.

The law: what a user has said stands. Sizes depend on the training data alone, lags on validation data, too, as
a baseline's order does: the same data, the same model.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from avf_core import drives
from avf_core import lags as autoregressive
from avf_core.configuration import model_config
from avf_core.data import Driven, Sequences, channel_statistics, input_statistics
from avf_core.data import numbers as real
from avf_core.errors import DataError
from avf_core.training.config import Preset

LATENTS = (4, 32)  # of a recurrent model: one a channel, within these
HIDDEN = (48, 128)  # units: eight a channel, within these
TRENDS = 64  # the most latents of a linear model: a level and a trend a channel
NEAR = 0.01  # part of the usual dt by which a step is off without being uneven
UNEVEN = 0.02  # of the steps, where more are uneven, time is told

Settings = dict[str, Any]


def sized(preset: Preset, train: Sequences, valid: Sequences | None = None) -> Preset:
    """The preset for these sequences; itself where its sizes are its own."""
    if not preset.sized:
        return preset
    model: Settings = {"observation_size": train[0].shape[1], **preset.model}
    chosen = _OF_KIND[model["kind"]](model, train, valid) if model["kind"] in _OF_KIND else {}
    emission = {**chosen.pop("emission", {}), **model.get("emission", {})}
    model = {**chosen, **model, **({"emission": emission} if emission else {})}
    return dataclasses.replace(preset, model=_driven(model, train))


def _recurrent(model: Settings, train: Sequences, valid: Sequences | None) -> Settings:
    """Of an SRNN: units by the number of channels, and lags and inputs of its emission where that autoregresses."""
    channels = train[0].shape[1]
    hidden = _within(8 * channels, HIDDEN)
    sizes: Settings = {
        "latent_size": _within(channels, LATENTS),
        "hidden_size": hidden,
        "prior_widths": (hidden,),
        "decoder_widths": (hidden, hidden),
    }
    if model.get("likelihood") == "vector-autoregressive":
        emission: Settings = {}
        sizes["emission"] = emission
        if "order" not in model.get("emission", {}):
            emission |= autoregressive.choose(*standardised(train, valid))._asdict()
        if "input_size" not in model and (inputs := len(input_statistics(train)[0])):
            emission["inputs"] = inputs
    return sizes


def _linear(model: Settings, train: Sequences, valid: Sequences | None) -> Settings:
    """Of an LGSSM: a level and a trend a channel."""
    return {"latent_size": max(2, min(2 * train[0].shape[1], TRENDS))}


_OF_KIND: dict[str, Callable[[Settings, Sequences, Sequences | None], Settings]] = {
    "srnn": _recurrent,
    "lgssm": _linear,
}


def _driven(model: Settings, train: Sequences) -> Settings:
    """Where it takes them, with the data's inputs, which are decoded; and timed where steps are uneven."""
    if not isinstance(model_config(model), drives.Config):
        return model
    center, scale = input_statistics(train)
    if center and "input_size" not in model:
        inputs = {"input_size": len(center), "input_center": center, "input_scale": scale}
        model = {"decode_inputs": True, **model, **inputs}
    return {"timed": True, **model} if _uneven(train) else model


def standardised(train: Sequences, valid: Sequences | None) -> tuple[autoregressive.Part, autoregressive.Part | None]:
    """Both in the units of `train`, with their inputs."""
    (center, scale), (middle, spread) = channel_statistics(train), input_statistics(train)

    def part(sequences: Sequences) -> autoregressive.Part:
        found = [(real(sequence).astype(np.float64) - center) / scale for sequence in sequences]
        inputs = (
            [(_inputs(sequence).astype(np.float64) - middle) / spread for sequence in sequences] if middle else None
        )
        return autoregressive.Part(sequences=found, inputs=inputs)

    return part(train), None if not valid else part(valid)


def _inputs(sequence: ndarray) -> ndarray:
    given = sequence.inputs if isinstance(sequence, Driven) else None
    if given is None:
        raise DataError("some sequences have inputs, and others none")
    return given


def _uneven(train: Sequences) -> bool:
    """Whether more than a few steps are longer or shorter than usual."""
    known = [sequence.dt for sequence in train if isinstance(sequence, Driven) and sequence.dt is not None]
    dts = np.concatenate(known) if known else np.zeros(0)
    dts = dts[~np.isnan(dts)]
    if not len(dts):
        return False
    usual = float(np.median(dts))
    return bool(np.mean(np.abs(dts - usual) > NEAR * usual) > UNEVEN)


def _within(count: int, bounds: tuple[int, int]) -> int:
    return min(max(count, bounds[0]), bounds[1])
