"""What ships of sound and pictures, as entries: emissions that know their own dimensions, in the order they learn.

Speech by direct inference first, with a low weight of KL that rises from run to run, so that its latent learns to carry
the frame; then iterative inference from where that is, and direct inference from there for as many updates, to compare.
"""

import dataclasses

from avf_core.reproduction.entries import Entry, Group, Role

CROWD16K = "speech/crowd16k"
WEIZMANN = "video/weizmann64/weizmann64_gray_train_valid.npz"
GROUPS = {
    "codec": Group(title="Speech: a codec, whose latent is the frame's filter, on crowd16k"),
    "residual": Group(title="Video: what the last frames do not tell, on Weizmann actions"),
}


FIRST = "kl_anneal_epochs=100000 kl_weight_floor=0.2 epochs=50 learning_rate_decay=0.955"
SECOND = (
    "kl_anneal_epochs=100000 kl_weight_floor=0.5 epochs=24 theta_rate=6e-4 phi_rate=6e-4 "
    "learning_rate_decay=0.9 validate_every=4"
)
THIRD = (
    "kl_anneal_epochs=100000 kl_weight_floor=0.8 epochs=8 theta_rate=3e-4 phi_rate=3e-4 "
    "learning_rate_decay=0.75 validate_every=4"
)


def _speech(name: str, preset: str, *, start: str | None, said: str, role: Role = "start") -> Entry:
    """A run of the codec; `said` are its changes, with the schedule's names alone."""
    return Entry(
        name=name,
        group="codec",
        role=role,
        preset=preset,
        data=CROWD16K,
        changes=tuple(f"training.{change}" for change in said.split()),
        start=start,
        minutes=90.0,
        precision="float32",
    )


NO_LATENT = "speech-no-latent"
SPEECH = (
    _speech("codec-start", "speech-direct", start=None, said=FIRST),
    _speech("codec-second", "speech-direct", start="codec-start", said=SECOND),
    _speech("codec-direct", "speech-direct", start="codec-second", said=THIRD, role="ships"),
    _speech("codec-no-latent-start", NO_LATENT, start=None, said=FIRST),
    _speech("codec-no-latent-second", NO_LATENT, start="codec-no-latent-start", said=SECOND),
    _speech("codec-no-latent", NO_LATENT, start="codec-no-latent-second", said=THIRD, role="no-latent"),
    _speech("codec-avf-first", "speech", start="codec-direct", said="epochs=12 validate_every=1"),
    _speech(
        "codec-avf",
        "speech",
        start="codec-avf-first",
        said="epochs=14 theta_rate=1e-4 phi_rate=5e-4 theta_waits=1 validate_every=2",
        role="ships",
    ),
    _speech(
        "codec-direct-longer",
        "speech-direct",
        start="codec-direct",
        said="epochs=26 theta_rate=2e-4 phi_rate=1e-3 learning_rate_decay=0.955 kl_anneal_epochs=0 validate_every=2",
        role="ships",
    ),
)
RESIDUAL = Entry(
    name="residual-direct",
    group="residual",
    role="ships",
    preset="actions-direct",
    data=WEIZMANN,
    minutes=90.0,
    precision="float32",
)
VIDEO = (
    RESIDUAL,
    dataclasses.replace(RESIDUAL, name="residual-no-latent", role="no-latent", preset="actions-no-latent"),
)
