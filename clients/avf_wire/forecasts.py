"""Forecasts of a session."""

from avf_wire.base import Message, Request


class ForecastRequest(Request, frozen=True):
    """POST /v1/sessions/{id}/forecast: `paths` sample paths of the next `horizon` observations.

    `inputs` are those of each step ahead, where the model takes inputs; `times` say when each is, where it takes times.
    """

    horizon: int
    paths: int = 100
    quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
    with_paths: bool = False
    inputs: list[list[float]] | None = None
    times: list[float] | None = None


class Forecast(Message, frozen=True):
    """What comes after observation `seq`: by step ahead, then dimension.

    `mean` and `deviation` are of the mixture of the paths' likelihoods; `quantiles`, first by level, are of the paths.
    `paths`, first by path, are null where they were not asked for.
    """

    session: str
    epoch: int
    seq: int
    mean: list[list[float]]
    deviation: list[list[float]]
    levels: list[float]
    quantiles: list[list[list[float]]]
    paths: list[list[list[float]]] | None
