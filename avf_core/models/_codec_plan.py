"""The codec as programs of the native executor.

The level is taken from the latent's first number by linear maps: W (z - level e_0) is W z - level W e_0. Gains are told
relative to that number, so that the decoder's skip is larger by one in their column.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avf_core.emissions import linear_prediction
from avf_core.emissions.base import MEMORY
from avf_core.native.plan import ModelPlan, Program, Register, Registers, plan_of
from avf_core.nets import MLP, GaussianNet, LearnedStartLSTM, activation_name, described, spectra

# What is kept of the sound itself, and of its loudness: never rounded, as the emission's memory.
BEFORE, POWER, COUNT, LEVEL = (f"{MEMORY}{name}" for name in ("window", "power", "count", "level"))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What of a codec has a plan: its networks, its emission, and sizes."""

    lstm: LearnedStartLSTM
    prior: GaussianNet
    prior_skip: nn.Linear
    decoder: MLP
    decoder_head: nn.Linear
    decoder_skip: nn.Linear
    emission: linear_prediction.Emission
    size: int  # of a frame
    window: int
    feature_size: int
    latent_size: int
    memory: int


def of(model: Parts, registers: Registers) -> ModelPlan:
    """What the model says of itself."""
    emission, size = plan_of(model.emission), model.size
    state = {name: registers.new(count) for name, count in _sizes(model).items()} | emission.remembers(registers)
    before, power, count = (state[name] for name in (BEFORE, POWER, COUNT))
    x, z, latents = (
        registers.new(size),
        registers.new(model.latent_size),
        registers.new(model.latent_size, sampled=True),
    )
    predict, features, transition = Program(registers), Program(registers), Program(registers)
    level = predict.loudness(power)
    mean, log_variance = described(predict, model.prior, predict.joined([state["hidden"], state["heard"]]))
    predict.added(state["heard"], lambda: model.prior_skip.weight, mean)
    predict.added(level, lambda: torch.eye(model.latent_size, 1), mean)
    decode, said = _decoding(model, predict, level, latents)
    standardized = features.standardized(x)
    window, above = features.joined([before, standardized]), features.loudness(power)
    heard = features.heard(window, above, frame=size, size=spectra.size(size))
    powered, counted = features.power(standardized, power, count, memory=model.memory)
    seen = features.joined([heard, features.loudness(powered, above=above)])
    hidden, cell = transition.lstm(seen, state["hidden"], state["cell"], model.lstm.cell)
    following = {
        "hidden": hidden,
        "cell": cell,
        "heard": seen,
        BEFORE: transition.cut(window, before.size, offset=size),
        POWER: powered,
        COUNT: counted,
        **transition.remembered(emission, state, standardized),
    }
    return ModelPlan(
        state=state,
        following=following,
        context={**state, LEVEL: level},
        prior=(mean, log_variance),
        x=x,
        seen=seen,
        z=z,
        latents=latents,
        outputs=(said,),
        predict=predict,
        features=features,
        decode=decode,
        transition=transition,
        emission=emission,
    )


def _sizes(model: Parts) -> dict[str, int]:
    """Of what the state holds beside the emission's memory."""
    hidden = model.lstm.cell.hidden_size
    recurrent = {"hidden": hidden, "cell": hidden, "heard": model.feature_size}
    return {**recurrent, BEFORE: model.window - model.size, POWER: 1, COUNT: 1}


def _decoding(model: Parts, predict: Program, level: Register, latents: Register) -> tuple[Program, Register]:
    """What is said of a latent, relative to the level."""
    registers, skip, head = predict.registers, model.decoder_skip, model.decoder_head
    decode, read = Program(registers, sampled=True), latents

    def lowered(size: int, weight: Callable[[], Tensor]) -> Register:
        """-level W e_0."""
        out = registers.new(size)
        predict.mapped(level, lambda: [(-weight()[:, :1], None)], out)
        return out

    def skipped() -> Tensor:
        start = model.emission.config.filtering
        own = torch.zeros_like(skip.weight)
        own[start : start + model.emission.config.gains, 0] = 1.0
        return skip.weight + own

    layers = [layer for layer in model.decoder.layers if isinstance(layer, nn.Linear)]
    if layers:
        first, *others = layers
        activation = activation_name(model.decoder.activation)
        other = lowered(first.out_features, lambda: first.weight)
        read = decode.linear(read, first, other=other, activation=activation)
        for layer in others:
            read = decode.linear(read, layer, activation=activation)
        other = lowered(head.out_features, lambda: skip.weight)
    else:
        other = lowered(head.out_features, lambda: skip.weight + head.weight)
    said = decode.linear(read, head, other=other)
    decode.added(latents, skipped, said)
    return decode, said
