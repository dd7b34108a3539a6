"""Presets of what ships beside the paper's: emissions that know their own dimensions, latents that have to be used."""

import dataclasses

from avf_core.training.config import Preset, TrainingConfig

# Direct inference first, in one pass over a clip. A low weight of KL costs the free energy two nats and lets the latent
# carry ten times as much; a second, shorter run from there (--init) with a weight of a half gives them back. The
# iterative filter starts from its model.
SPEECH_DIRECT = TrainingConfig(
    epochs=50,
    clip_length=50,
    draw="frames",
    batch_size=16,
    theta_rate=1e-3,
    phi_rate=1e-3,
    learning_rate_decay=0.955,
    kl_anneal_epochs=100_000,
    kl_weight_floor=0.2,
    clip_norm=300.0,
    average_decay=0.98,
    validate_every=5,
)
SPEECH = Preset(
    model={"kind": "codec"},
    inference={
        "kind": "iterative",
        "iterations": 2,
        "rule": "gated",
        "inputs": "whitened",
        "append_observation": True,
        "samples": 2,
        "antithetic": True,
        "units": 256,
    },
    baseline={
        "kind": "direct",
        "widths": [256],
        "context": ["hidden", "heard"],
        "activation": "relu",
        "relative": True,
    },
    training=dataclasses.replace(
        SPEECH_DIRECT, epochs=20, theta_rate=2e-4, phi_rate=1e-3, theta_waits=2, kl_anneal_epochs=0, average_decay=0.95
    ),
    baseline_training=SPEECH_DIRECT,
)

ACTIONS_DIRECT = TrainingConfig(
    epochs=450,
    clip_length=10,
    draw="frames",
    batch_size=4,
    theta_rate=1.5e-3,
    phi_rate=1e-3,
    learning_rate_decay=0.993,
    clip_norm=20_000.0,
    average_decay=0.98,
    validate_every=15,
)
ACTIONS = Preset(
    model={
        "kind": "svg",
        "latent_size": 16,
        "encoding_size": 64,
        "hidden_size": 64,
        "predictor_layers": 1,
        "encoder": "dcgan",
        "widths": [8, 16, 32, 32],
        "norm": "group",
        "likelihood": "residual",
        "emission": {"kernel": 7},
        "bin": 1 / 255,
    },
    inference={
        "kind": "iterative",
        "iterations": 1,
        "inputs": "whitened",
        "append_observation": True,
        "samples": 2,
        "antithetic": True,
        "units": 128,
    },
    baseline={"kind": "direct", "widths": [128], "context": ["g", "prior_hidden"]},
    training=dataclasses.replace(ACTIONS_DIRECT, epochs=20, theta_rate=3e-4),
    baseline_training=ACTIONS_DIRECT,
)
