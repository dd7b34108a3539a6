"""Models as clients see them."""

from typing import Any, Literal

from avf_wire.base import Message

Modality = Literal["music", "audio", "video", "series"]


class Quantiles(Message, frozen=True):
    """A distribution by its quantiles: `values` at `levels`, both ascending."""

    levels: list[float]
    values: list[float]


class ModelInfo(Message, frozen=True):
    """A model that the server holds. `low` and `high` bound each observed number, null where there is no bound.

    `modality` says what an observation is a piece of, and so how to draw it: `music`, the keys of a piano roll from
    MIDI pitch `first_pitch` up; `audio`, samples at `sample_rate` Hz; `video`, a frame of `shape` (height, width), row
    by row; `series`, plain numbers. `normal` is what free energy is on data that are normal for the model, in nats.
    What is not known is null.
    """

    name: str
    digest: str
    kind: str
    inference: str
    iterations: int
    observation_size: int
    latent_size: int
    low: float | None
    high: float | None
    parameters: int
    card: dict[str, Any]
    modality: Modality = "series"
    shape: list[int] | None = None
    sample_rate: int | None = None
    first_pitch: int | None = None
    normal: Quantiles | None = None


class Models(Message, frozen=True):
    """GET /v1/models."""

    models: list[ModelInfo]
