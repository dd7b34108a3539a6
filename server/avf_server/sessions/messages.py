"""Sessions as clients see them: how each was opened, and where it stands."""

import avf_wire as wire

from avf_server.models.catalogue import channels_of, lay_about
from avf_server.models.served import Models
from avf_server.sessions import options
from avf_server.stores.base import Meta


def session_of(
    meta: Meta, models: Models, *, epoch: int, next_seq: int, expires_in: float, rest: int = 0
) -> wire.Session:
    """A session that stands there; `rest` counts the samples that fill no observation yet. Raises UnknownModelError."""
    checkpoint = models.checkpoint(meta.model)
    lay = lay_about(checkpoint)
    form, setup = options.form_of(meta, models), options.setup_of(meta, models)
    return wire.Session(
        id=meta.id,
        model=meta.model,
        model_digest=checkpoint.digest,
        epoch=epoch,
        next_seq=next_seq,
        seed=meta.seed,
        iterations=meta.iterations,
        durability=meta.durability,
        observation_size=form.size,
        latent_size=checkpoint.filter.model.latent_size,
        created_at=meta.created_at,
        expires_in=expires_in,
        audio=meta.audio,
        input_size=form.input_size,
        timed=form.timed,
        precision="float64" if form.wide else "float32",
        deadline_s=meta.deadline_s,
        particles=setup.particles,
        lag=setup.lag,
        prediction_samples=setup.samples,
        quantiles=setup.quantiles,
        alarm_every=meta.alarm_every,
        alarm_by=meta.alarm_by,
        channels=channels_of(checkpoint),
        center=None if lay is None else lay[0],
        scale=None if lay is None else lay[1],
        next_sample=None if meta.audio is None else (next_seq - 1) * form.size + rest,
    )
