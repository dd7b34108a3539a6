"""Presets: a filter's settings and its schedule, by name. Those of the paper keep its figures (Appendix B).

`{name}-direct` is the same model with its published baseline, direct inference, where there is one.
"""

import dataclasses
import math
from typing import Any

from avf_core import drives, emissions
from avf_core.configuration import configure, model_config
from avf_core.data import Sequences, channel_statistics, input_statistics, knows_time, statistics, usual_dt
from avf_core.errors import ConfigurationError
from avf_core.training._music import key_by_key, music, music_best
from avf_core.training._sensors import LGSSM, REGIMES, SENSOR, SENSOR_HELD, SENSOR_ROBUST
from avf_core.training._shipped import ACTIONS as SHIPPED_ACTIONS
from avf_core.training._shipped import SPEECH as SHIPPED_SPEECH
from avf_core.training.config import TO_THE_END, Preset, TrainingConfig

Settings = dict[str, dict[str, Any]]

DIRECT = "-direct"


# Clips of half a second: 200 samples a frame at 16 kHz.
SPEECH = TrainingConfig(epochs=700, clip_length=40, batch_size=64, patience=TO_THE_END)
VRNN_SPEECH = Preset(
    model={"kind": "vrnn"},
    inference={"kind": "iterative", "iterations": 2, "rule": "learned_sgd", "normalize_mean": True},
    baseline={"kind": "direct", "widths": [500] * 4, "activation": "relu"},
    training=SPEECH,
    baseline_training=dataclasses.replace(SPEECH, theta_rate=1e-3, phi_rate=1e-3),
)
SRNN_SPEECH = Preset(
    model={
        "kind": "srnn",
        "observation_size": 200,
        "latent_size": 256,
        "hidden_size": 1024,
        "prior_widths": [512, 512],
        "decoder_widths": [512, 512],
        "likelihood": "discretized",
    },
    inference={"kind": "iterative", "iterations": 1, "rule": "gated", "append_observation": True},
    baseline={"kind": "direct", "widths": [512, 512]},
    training=dataclasses.replace(SPEECH, epochs=1000, kl_anneal_epochs=50, clip_norm=1000.0),
    baseline_training=dataclasses.replace(
        SPEECH, epochs=1000, theta_rate=1e-3, phi_rate=1e-3, kl_anneal_epochs=20, clip_norm=1000.0
    ),
)
VIDEO_SCHEDULE = TrainingConfig(epochs=100, clip_length=20, batch_size=20, patience=TO_THE_END)
SVG_ACTIONS = Preset(
    model={"kind": "svg"},
    inference={"kind": "iterative", "iterations": 1, "rule": "gated"},
    baseline={"kind": "direct", "widths": [], "context": [], "recurrent": 256},
    training=VIDEO_SCHEDULE,
    baseline_training=VIDEO_SCHEDULE,
)

# The same models at sizes that two cores train within the hour.
SMALL_UPDATES = {"kind": "iterative", "samples": 2, "antithetic": True, "units": 512}
# Of speech, as in the paper: layer-normalised inputs with the observation appended, so that posteriors are said in the
# latent's own coordinates. From silence to a vowel they move by thirty deviations of the prior, which an update in
# units of these rarely learns. A new update model is trained for a while before theta moves. Direct inference begins
# with a low weight of KL, so that latents are used.
SPEECH_UPDATES = {**SMALL_UPDATES, "iterations": 2, "append_observation": True}
SPEECH_SMALL = TrainingConfig(
    epochs=60,
    clip_length=40,
    batch_size=32,
    theta_rate=2e-4,
    phi_rate=5e-4,
    theta_waits=4,
    outlier=4000.0,
    learning_rate_decay=0.98,
    clip_norm=300.0,
    average_decay=0.95,
)
SPEECH_SMALL_DIRECT = dataclasses.replace(
    SPEECH_SMALL,
    epochs=190,
    theta_rate=1e-3,
    phi_rate=1e-3,
    theta_waits=0,
    outlier=0.0,
    learning_rate_decay=0.995,
    kl_anneal_epochs=60,
    kl_weight_floor=0.05,
    clip_norm=1000.0,
    average_decay=0.99,
)
VRNN_SPEECH_SMALL = Preset(
    model={
        "kind": "vrnn",
        "latent_size": 64,
        "hidden_size": 512,
        "observation_widths": [384, 384],
        "latent_widths": [256, 256],
        "prior_widths": [256, 256],
        "decoder_widths": [384, 384],
    },
    inference=SPEECH_UPDATES,
    baseline={"kind": "direct", "widths": [384, 384], "activation": "relu"},
    training=dataclasses.replace(SPEECH_SMALL, epochs=20, theta_rate=5e-4, theta_waits=2),
    baseline_training=dataclasses.replace(
        SPEECH_SMALL_DIRECT, epochs=80, kl_anneal_epochs=30, learning_rate_decay=0.99, average_decay=0.97
    ),
)
SRNN_SPEECH_SMALL = Preset(
    model={
        "kind": "srnn",
        "observation_size": 200,
        "latent_size": 64,
        "hidden_size": 512,
        "prior_widths": [384],
        "decoder_widths": [384, 384],
        "likelihood": "discretized",
    },
    inference=SPEECH_UPDATES,
    baseline={"kind": "direct", "widths": [384, 384]},
    training=SPEECH_SMALL,
    baseline_training=SPEECH_SMALL_DIRECT,
)
VIDEO_SMALL = TrainingConfig(
    epochs=80,
    clip_length=20,
    batch_size=20,
    theta_rate=1e-3,
    phi_rate=5e-4,
    learning_rate_decay=0.995,
    clip_norm=1000.0,
    average_decay=0.99,
    validate_every=25,
)
VIDEO_SMALL_DIRECT = dataclasses.replace(VIDEO_SMALL, epochs=230, phi_rate=1e-3)
SVG_ACTIONS_SMALL = Preset(
    model={
        "kind": "svg",
        "latent_size": 32,
        "encoding_size": 64,
        "hidden_size": 128,
        "encoder": "dcgan",
        "widths": [16, 32, 64, 64],
        "norm": "group",
    },
    inference={**SMALL_UPDATES, "inputs": "whitened", "iterations": 1, "units": 256},
    baseline={"kind": "direct", "widths": [], "context": [], "recurrent": 128},
    training=VIDEO_SMALL,
    baseline_training=VIDEO_SMALL_DIRECT,
)


def without_latent(preset: Preset) -> Preset:
    """The same model and schedule of direct inference; its latent is a function of the past. What is a latent worth?"""
    return dataclasses.replace(
        preset,
        inference={"kind": "deterministic"},
        training=preset.baseline_training or preset.training,
        baseline=None,
        baseline_training=None,
    )


CHORALES = key_by_key(epochs=100, validate_every=10, frames=8)

PRESETS = {
    "paper-vrnn-speech": VRNN_SPEECH,
    "paper-srnn-speech": SRNN_SPEECH,
    "paper-piano": music({"iterations": 1, "rule": "learned_sgd"}),
    "paper-muse": music({"iterations": 1, "rule": "gated"}),
    "paper-nottingham": music({"iterations": 1, "rule": "gated"}),
    "paper-jsb": music({"iterations": 5, "rule": "learned_sgd", "normalize_mean": True}),
    "paper-actions": SVG_ACTIONS,
    "srnn-jsb-best": music_best(direct_epochs=340, epochs=40, direct_rate=1.5e-3, direct_decay=0.996, transpose=0.75),
    "srnn-piano-best": music_best(direct_epochs=500, epochs=100, direct_rate=1.5e-3, direct_decay=0.995),
    "srnn-muse-best": music_best(
        direct_epochs=190,
        epochs=20,
        direct_rate=2e-3,
        direct_decay=0.9923,
        transpose=0.3,
        dropout=0.2,
        draw="frames",
        hidden_size=500,
    ),
    "srnn-nottingham-best": music_best(direct_epochs=190, epochs=20, direct_decay=0.1 ** (1 / 190)),
    "vrnn-speech-small": VRNN_SPEECH_SMALL,
    "srnn-speech-small": SRNN_SPEECH_SMALL,
    "svg-actions-small": SVG_ACTIONS_SMALL,
    "sensor": SENSOR,
    "sensor-held": SENSOR_HELD,
    "sensor-robust": SENSOR_ROBUST,
    "lgssm": LGSSM,
    "regimes": REGIMES,
    "speech": SHIPPED_SPEECH,
    "speech-no-latent": without_latent(SHIPPED_SPEECH),
    "actions": SHIPPED_ACTIONS,
    "actions-no-latent": without_latent(SHIPPED_ACTIONS),
    "chorales": CHORALES,
    "chorales-no-latent": without_latent(CHORALES),
    "piano": key_by_key(epochs=12, validate_every=2, dropout=0.4, thinned=0.2),
    "muse": key_by_key(epochs=5, validate_every=1, dropout=0.3, thinned=0.1),
    "nottingham": key_by_key(epochs=5, validate_every=1, dropout=0.3, thinned=0.1),
}


def get(name: str) -> Preset:
    """The preset of this name; ConfigurationError lists those there are."""
    if name not in names():
        raise ConfigurationError(f"no preset {name!r}; there are {', '.join(names())}")
    preset = PRESETS[name.removesuffix(DIRECT)]
    if not name.endswith(DIRECT):
        return preset
    assert preset.baseline is not None
    assert preset.baseline_training is not None
    return dataclasses.replace(preset, inference=preset.baseline, training=preset.baseline_training)


def names() -> list[str]:
    """All presets, each followed by its baseline where it has one."""
    with_baseline = {name for name, preset in PRESETS.items() if preset.baseline is not None}
    return [name for base in PRESETS for name in (base, base + DIRECT) if name == base or base in with_baseline]


def fit(settings: Settings, train: Sequences) -> Settings:
    """The settings with the training set's units, for a model that standardises and was not told them.

    Where data are levels of one width, all numbers of an observation are in one unit, and have one center and scale;
    elsewhere each channel has its own.
    """
    model = settings["model"] | _drive(settings["model"], train)
    settings, config = {**settings, "model": model}, model_config(model)
    if not hasattr(config, "center") or "center" in model or "scale" in model:
        return settings
    emission = emissions.named(getattr(config, "likelihood", "gaussian"))
    if emission.range != (-math.inf, math.inf):
        return settings
    measured = statistics if emission.of_levels else channel_statistics
    center, scale = measured(train)
    return {**settings, "model": {**model, "center": center, "scale": scale}}


def _drive(model: dict[str, Any], train: Sequences) -> dict[str, Any]:
    """How many inputs the data has, their units, and its usual dt, for a model that may take them and was not told."""
    config = model_config(model)
    if not isinstance(config, drives.Config):
        return {}
    center, scale = input_statistics(train)
    inputs = {"input_size": len(center), "input_center": center, "input_scale": scale}
    told = {} if not center or "input_size" in model else inputs
    timed = config.timed or knows_time(train)
    return told | ({"usual_dt": usual_dt(train)} if timed and "usual_dt" not in model else {})


def override(preset: Preset, assignments: dict[str, Any]) -> Preset:
    """The preset with changes such as {"training.epochs": 60, "inference.units": 256}."""
    sections: dict[str, dict[str, Any]] = {"model": {}, "inference": {}, "training": {}}
    for key, value in assignments.items():
        section, _, option = key.partition(".")
        if section not in sections or not option:
            raise ConfigurationError(f"cannot set {key!r}: expected model.X, inference.X or training.X")
        sections[section][option] = value
    training = {**dataclasses.asdict(preset.training), **sections["training"]}
    return dataclasses.replace(
        preset,
        model={**preset.model, **sections["model"]},
        inference={**preset.inference, **sections["inference"]},
        training=configure(TrainingConfig, training),
    )
