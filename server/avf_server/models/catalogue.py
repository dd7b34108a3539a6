"""The models as clients see them: their sizes and bounds, what their observations are of, and what is normal for them.

The law: what is said of a model is read off its checkpoint (the model, the settings, the facts of its card), and what
these do not say is null, never guessed.
"""

import dataclasses
from collections.abc import Mapping
from typing import cast, get_args

import avf_wire as wire
import msgspec
import torch

from avf_core import calendar, data
from avf_core.analysis import units
from avf_core.checkpoints import Checkpoint
from avf_core.data.base import Plugin
from avf_core.errors import CheckpointError, ConfigurationError
from avf_core.plugins import plugin
from avf_server import problems
from avf_server.models.references import Reference
from avf_server.models.setups import Setup

PIANO_KEYS, LOWEST_KEY = 88, 21  # MIDI pitch of A0
PITCHES = 128  # a roll of all of MIDI's


def model_info(checkpoint: Checkpoint, *, setup: Setup, reference: Reference | None) -> wire.ModelInfo:
    """A model as clients see it; bounds that are infinite are null."""
    model, card = checkpoint.filter.model, checkpoint.card
    low, high, size = model.observation.low, model.observation.high, model.observation.size
    modality = modality_of(checkpoint)
    timed = model.timed or bool(calendar_of(checkpoint))
    lay = lay_about(checkpoint)
    first_pitch = {PIANO_KEYS: LOWEST_KEY, PITCHES: 0}.get(size)
    return wire.ModelInfo(
        name=checkpoint.name,
        digest=checkpoint.digest,
        kind=checkpoint.settings["model"]["kind"],
        inference=checkpoint.settings["inference"]["kind"],
        iterations=setup.iterations,
        observation_size=size,
        latent_size=model.latent_size,
        low=None if low == float("-inf") else low,
        high=None if high == float("inf") else high,
        parameters=sum(parameter.numel() for parameter in checkpoint.filter.parameters()),
        card=dict(card),
        modality=modality,
        shape=None if model.observation.shape is None else list(model.observation.shape),
        sample_rate=sample_rate_of(checkpoint) if modality == "audio" else None,
        first_pitch=first_pitch if modality == "music" else None,
        normal=None if reference is None else reference.quantiles,
        center=None if lay is None else lay[0],
        scale=None if lay is None else lay[1],
        channels=channels_of(checkpoint),
        inputs=_sent(checkpoint),
        input_size=model.input_size - len(calendar_of(checkpoint)),
        calendar=list(calendar_of(checkpoint)),
        timed=timed,
        usual_dt=model.reader.usual_dt if timed else None,
        precision="float64" if model.dtype == torch.float64 else "float32",
        points=dict(points_of(checkpoint)),
        prediction_samples=setup.samples,
        quantiles=setup.quantiles,
    )


def points_of(checkpoint: Checkpoint) -> Mapping[str, wire.Point]:
    """The operating points that a card names, as `"points": {"bound": {"particles": 4}}` does.

    Raises CheckpointError for what is none, or says more.
    """
    said = checkpoint.card.get("points") or {}
    try:
        found = msgspec.convert(said, dict[str, wire.Point])
        if odd := sorted({key for point in said.values() for key in point} - {*wire.Point.__struct_fields__}):
            raise msgspec.ValidationError(f"they say {', '.join(odd)}, expected particles and iterations")
        return found
    except msgspec.ValidationError as error:
        raise CheckpointError(f"the points in the card of {checkpoint.name} are none: {error}") from error


def calendar_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The names of the inputs that the server makes of an observation's time, after those that are sent."""
    named = checkpoint.names("inputs", count=checkpoint.filter.model.input_size) or ()
    return tuple(calendar.among(named))


def _sent(checkpoint: Checkpoint) -> list[str] | None:
    """The names of the inputs that clients send."""
    named = checkpoint.names("inputs", count=checkpoint.filter.model.input_size)
    made = calendar_of(checkpoint)
    return None if named is None else [name for name in named if name not in made] or None


def channels_of(checkpoint: Checkpoint) -> list[str] | None:
    """What the numbers of an observation are called."""
    return checkpoint.names("channels", count=checkpoint.filter.model.observation.size)


def lay_about(checkpoint: Checkpoint) -> tuple[list[float], list[float]] | None:
    """About which number each number of an observation of sensors lay in the training data, and how far it spread."""
    size = checkpoint.filter.model.observation.size
    return units.known(checkpoint.settings, channels=size) if modality_of(checkpoint) == "series" else None


def modality_of(checkpoint: Checkpoint) -> wire.Modality:
    """What a model's observations are of: as its card says, or the data in it, or the shape of an observation."""
    for modality in get_args(wire.Modality):
        if checkpoint.card.get("modality") == modality:
            return cast(wire.Modality, modality)
    shape = checkpoint.filter.model.observation.shape
    by_shape: wire.Modality = "video" if shape is not None and len(shape) == 2 else "series"
    found = _plugin(checkpoint)
    return by_shape if found is None or found.MODALITY == "series" else found.MODALITY


def sample_rate_of(checkpoint: Checkpoint) -> int | None:
    """The rate of an audio model's samples, in Hz: as its card says, or the data in it; None where neither does."""
    facts = checkpoint.data
    options = facts.get("options")
    said = options.get("rate") if isinstance(options, Mapping) else None
    for rate in (checkpoint.card.get("sample_rate"), facts.get("rate"), said, _default_rate(checkpoint)):
        if isinstance(rate, int) and rate > 0:
            return rate
    return None


def agreed_audio(audio: wire.Audio | None, checkpoint: Checkpoint) -> wire.Audio | None:
    """What a session and its client agree on. Raises InvalidSettingError where the model takes no such sound."""
    if audio is None:
        return None
    rate = sample_rate_of(checkpoint) if modality_of(checkpoint) == "audio" else None
    if rate is None:
        raise problems.InvalidSettingError(
            f"audio is given, but the observations of {checkpoint.name} are no sound at a known rate: leave it out"
        )
    if audio.rate != rate:
        raise problems.InvalidSettingError(
            f"audio.rate is {audio.rate}, but {checkpoint.name} takes {rate} samples a second: resample before you send"
        )
    if audio.channels != 1:
        raise problems.InvalidSettingError(
            f"audio.channels is {audio.channels}, but {checkpoint.name} takes 1: average them before you send"
        )
    return audio


def _default_rate(checkpoint: Checkpoint) -> int | None:
    """The rate at which the kind of data set is read where nothing else was asked for."""
    found = _plugin(checkpoint)
    if found is None:
        return None
    defaults = {field.name: field.default for field in dataclasses.fields(found.Options)}
    rate = defaults.get("rate", getattr(found, "RATE", None))
    return rate if isinstance(rate, int) else None


def _plugin(checkpoint: Checkpoint) -> Plugin | None:
    """The kind of data set that the card names; None where it names none, or one that nobody here has named."""
    try:
        found = plugin(data, checkpoint.data.get("kind"), trusted=False)
    except ConfigurationError:
        return None
    return found if isinstance(found, Plugin) else None
