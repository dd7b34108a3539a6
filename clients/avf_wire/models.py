"""Models as clients see them."""

from typing import Any, Literal

import msgspec

from avf_wire.base import Message, Precision

Modality = Literal["music", "audio", "video", "series"]


class Quantiles(Message, frozen=True):
    """A distribution by its quantiles: `values` at `levels`, both ascending."""

    levels: list[float]
    values: list[float]


class Point(Message, frozen=True):
    """A way to run a model that has a name: so many `particles` and `iterations`, the model's own where null."""

    particles: int = 1
    iterations: int | None = None


class ModelInfo(Message, frozen=True):
    """A model that the server holds. `low` and `high` bound each observed number, null where there is no bound.

    `modality` says what an observation is a piece of, and so how to draw it: `music`, the keys of a piano roll from
    MIDI pitch `first_pitch` up; `audio`, samples at `sample_rate` Hz; `video`, a frame of `shape` (height, width), row
    by row; `series`, plain numbers. `normal` is what free energy is on data that are normal for the model, in nats.
    `center` and `scale` are about which number each number of an observation lay in the training data, and how far it
    spread. `channels` and `inputs` are the names of an observation's numbers and of inputs, with their units in
    brackets. An observation comes with `input_size` inputs, and a time where the model is `timed`, `usual_dt` after
    the one before where it is not said; where the model hears the `calendar`, as those names say, the first time of a
    session is said, in seconds since 1970. It computes in its `precision`. Sessions may ask for up to `max_particles`
    and `max_lag`; those that ask for nothing else have `prediction_samples` and `quantiles`; and they may ask for one
    of `points` by its name. What is not known is null.
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
    center: list[float] | None = None
    scale: list[float] | None = None
    channels: list[str] | None = None
    inputs: list[str] | None = None
    input_size: int = 0
    calendar: list[str] = msgspec.field(default_factory=list)
    timed: bool = False
    usual_dt: float | None = None
    precision: Precision = "float32"
    points: dict[str, Point] = msgspec.field(default_factory=dict)
    max_particles: int = 1
    max_lag: int = 0
    prediction_samples: int = 0
    quantiles: tuple[float, ...] = ()


class Models(Message, frozen=True):
    """GET /v1/models."""

    models: list[ModelInfo]
