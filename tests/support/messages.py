"""What a server says on a stream."""

import avf_wire as wire

SESSION = "s-1"


def begin(
    *, epoch: int = 1, next_seq: int = 1, credit: int = 4, session: str = SESSION, next_sample: int | None = None
) -> wire.Begin:
    """What a server says first."""
    info = wire.Session(
        id=session,
        model="m",
        model_digest="d",
        epoch=epoch,
        next_seq=next_seq,
        seed=0,
        iterations=1,
        durability="group",
        observation_size=1,
        latent_size=1,
        created_at=0.0,
        expires_in=1.0,
    )
    return wire.Begin(session=info, credit=credit, next_sample=next_sample)


def estimate(seq: int, *, value: float = 0.0, epoch: int = 1, durable_seq: int | None = None) -> wire.Estimate:
    """An answer."""
    moments = wire.Moments(mean=[0.0], deviation=[1.0])
    return wire.Estimate(
        epoch=epoch,
        seq=seq,
        free_energy=value,
        reconstruction=value,
        kl=0.0,
        free_energies=[value],
        iterations=1,
        prior=moments,
        posterior=moments,
        prediction=moments,
        likelihood=moments,
        durability="group",
        durable_seq=durable_seq,
    )
