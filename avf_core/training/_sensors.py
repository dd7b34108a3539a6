"""Presets for sensors: real numbers of any size, whose sizes the data decide (`sizes`)."""

import dataclasses

from avf_core.training.config import Preset, TrainingConfig

# Levels and trends, with maximum likelihood by the exact evidence.
LINEAR = TrainingConfig(
    epochs=200,
    clip_length=50,
    draw="steps",
    theta_rate=2e-2,
    phi_rate=1e-3,
    learning_rate_decay=0.99,
    clip_norm=100.0,
    average_decay=0.9,
    validate_start=True,
)
LGSSM = Preset(
    model={"kind": "lgssm", "offsets": True, "start": "trends"},
    inference={"kind": "kalman"},
    baseline={"kind": "direct", "widths": [32], "context": []},
    training=LINEAR,
    baseline_training=dataclasses.replace(LINEAR, theta_rate=3e-3, phi_rate=3e-3),
    sized=True,
)
REGIMES = Preset(
    model={"kind": "switching", "autoregressive": True},
    inference={"kind": "forward"},
    training=LINEAR,
    sized=True,
)

# It begins as the least-squares autoregression of its training data, and learns what that does not know: by direct
# inference, which is one pass over a clip, so that a hundred thousand steps of six channels are minutes of a core.
SENSING = TrainingConfig(
    epochs=60,
    clip_length=100,
    draw="steps",
    batch_size=16,
    theta_rate=1e-3,
    phi_rate=1e-3,
    learning_rate_decay=0.96,
    clip_norm=20.0,
    weight_decay=0.01,
    average_decay=0.98,
    validate_every=2,
    validate_start=True,
    patience=8,
)
SENSOR = Preset(
    model={"kind": "srnn", "likelihood": "vector-autoregressive", "emission": {"noise": "mixture", "held": True}},
    inference={"kind": "direct", "widths": [64], "context": ["hidden", "emission_expected"]},
    training=SENSING,
    sized=True,
)
# Tails as heavy, and what is expected is still the least squares of the data.
SENSOR_HELD = dataclasses.replace(SENSOR, model={**SENSOR.model, "emission": {"noise": "student-t", "held": True}})
SENSOR_ROBUST = dataclasses.replace(SENSOR, model={**SENSOR.model, "emission": {"noise": "student-t"}})
