"""Presets for piano rolls: the paper's, and what trains best."""

import dataclasses
from typing import Any, Literal

from avf_core.training.config import TO_THE_END, Preset, TrainingConfig

MUSIC_BASELINE = {"kind": "direct", "widths": [500], "context": ["hidden"]}


def music(inference: dict[str, Any]) -> Preset:
    """SRNN on piano rolls, as in the paper: clips of 25 steps, batches of 16, KL annealed over 50 epochs."""
    schedule = TrainingConfig(kl_anneal_epochs=50, patience=TO_THE_END)
    return Preset(
        model={"kind": "srnn"},
        inference={"kind": "iterative", **inference},
        baseline=MUSIC_BASELINE,
        training=schedule,
        baseline_training=schedule,
    )


# What trains best on piano rolls; docs/results.md says what each change brings. Direct inference learns fast and goes
# first; the iterative filter starts from its model (--init) and goes on at a lower rate, phi learning online.
BEST_DIRECT = TrainingConfig(
    clip_length=80,
    theta_rate=1e-3,
    phi_rate=1e-3,
    kl_anneal_epochs=10,
    clip_norm=3.0,
    weight_decay=0.05,
    average_decay=0.997,
    transpose=0.5,
    validate_every=10,
)
BEST_AVF = dataclasses.replace(
    BEST_DIRECT,
    clip_length=60,
    theta_rate=4e-4,
    phi_rate=5e-4,
    kl_anneal_epochs=0,
    clip_norm=1.5,
    average_decay=0.995,
    validate_every=5,
)


def music_best(
    *,
    direct_epochs: int,
    epochs: int,
    direct_decay: float,
    direct_rate: float = 1e-3,
    transpose: float = 0.5,
    dropout: float = 0.4,
    draw: Literal["sequences", "frames"] = "sequences",
    hidden_size: int = 300,
) -> Preset:
    """SRNN on piano rolls, regularised, on transposed clips; gradients whitened by the prior's scale.

    The baseline's learning rates begin at `direct_rate` and are multiplied by `direct_decay` at each epoch; those of
    AVF fall to a third over its epochs.
    """
    avf = dataclasses.replace(
        BEST_AVF, epochs=epochs, learning_rate_decay=0.3 ** (1 / epochs), transpose=transpose, draw=draw
    )
    direct = dataclasses.replace(
        BEST_DIRECT,
        draw=draw,
        epochs=direct_epochs,
        theta_rate=direct_rate,
        phi_rate=direct_rate,
        learning_rate_decay=direct_decay,
        transpose=transpose,
    )
    return Preset(
        model={"kind": "srnn", "hidden_size": hidden_size, "dropout": dropout, "hidden_dropout": dropout},
        inference={
            "kind": "iterative",
            "iterations": 5,
            "rule": "gated",
            "inputs": "whitened",
            "samples": 8,
            "antithetic": True,
            "units": 256,
        },
        baseline=MUSIC_BASELINE,
        training=avf,
        baseline_training=direct,
    )


def key_by_key(
    *,
    epochs: int,
    validate_every: int,
    hidden_size: int = 200,
    dropout: float = 0.5,
    thinned: float = 0.3,
    transpose: float = 0.75,
    **emission: int,
) -> Preset:
    """SRNN whose keys hear those below them and the frames before: harmony is the emission's affair.

    The latent is small, and may say nothing: the free energy is then the likelihood itself. Learning rates fall to a
    thirtieth. `dropout` is that of what hears the whole roll, `thinned` that of the units that all keys share.
    """
    schedule = TrainingConfig(
        epochs=epochs,
        clip_length=64,
        draw="steps",
        batch_size=4,
        theta_rate=3e-3,
        phi_rate=3e-3,
        learning_rate_decay=0.03 ** (1 / epochs),
        clip_norm=3.0,
        weight_decay=0.02,
        average_decay=0.995,
        transpose=transpose,
        validate_every=validate_every,
        patience=TO_THE_END,
    )
    model = {
        "kind": "srnn",
        "latent_size": 16,
        "hidden_size": hidden_size,
        "prior_widths": [64],
        "decoder_widths": [200],
        "dropout": dropout,
        "hidden_dropout": dropout,
        "likelihood": "autoregressive",
        "emission": {"dropout": thinned, **emission},
    }
    inference = {"kind": "direct", "widths": [64], "context": ["hidden"]}
    return Preset(model=model, inference=inference, training=schedule)
