"""Forecasts of a session: sample paths from where it stands.

The law: a forecast leaves the session as it is and depends on its belief only, so the same request gives the same
answer until the next step. It is bounded before it begins, and runs between two ticks, one at a time.
"""

from dataclasses import dataclass

import avf_wire as wire
import numpy as np
import torch
from torch import Tensor

from avf_core import calendar
from avf_core.analysis import forecasting
from avf_server import problems
from avf_server.models.thread import ModelThread
from avf_server.sessions import clocks, options
from avf_server.sessions.registry import Sessions
from avf_server.stores import kept
from avf_server.stores.base import Record


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    max_horizon: int
    max_forecast_values: int


class Forecasts:
    """What comes next in sessions."""

    def __init__(self, limits: Limits, thread: ModelThread, sessions: Sessions) -> None:
        self._limits = limits
        self._thread = thread
        self._models = sessions.models
        self._sessions = sessions

    async def forecast(self, session: str, request: wire.ForecastRequest, *, owner: str) -> wire.Forecast:
        """The next observations of a session.

        Raises UnknownSessionError, InvalidSettingError, InvalidInputsError, InvalidTimeError, BeliefUnreadableError.
        """
        record = await self._sessions.record(session, owner=owner)
        size = self._models.checkpoint(record.meta.model).filter.model.observation.size
        self._check(request, size)
        return await self._thread.aside(lambda: self._forecast(record, request))

    def _check(self, request: wire.ForecastRequest, size: int) -> None:
        """Raises InvalidSettingError where a forecast makes no sense, or is too large."""
        horizon, most = request.horizon, self._limits.max_horizon
        if not 1 <= horizon <= most:
            raise problems.InvalidSettingError(f"horizon is {horizon}, expected a number in [1, {most}]")
        limit = self._limits.max_forecast_values // (horizon * size)
        if not 1 <= request.paths <= limit:
            raise problems.InvalidSettingError(
                f"paths is {request.paths}, expected a number in [1, {limit}] for {horizon} steps of {size} dimensions"
            )
        if len(request.quantiles) > limit or not all(0.0 <= level <= 1.0 for level in request.quantiles):
            raise problems.InvalidSettingError(f"quantiles are not {limit} levels or fewer, each in [0, 1]")

    def _forecast(self, record: Record, request: wire.ForecastRequest) -> wire.Forecast:
        stood, last, _ = kept.unpack(record.belief)
        belief = self._models.belief(options.setup_of(record.meta, self._models), stood, seed=record.meta.seed)
        filter = self._models.checkpoint(record.meta.model).filter
        moments = self._moments(request, record.meta.model, last=last)
        found = forecasting.forecast(
            filter,
            belief,
            horizon=request.horizon,
            paths=request.paths,
            inputs=self._inputs(request, record.meta.model, moments),
            dt=self._dt(request, record.meta.model, moments),
        )
        if not bool(torch.isfinite(found.paths).all() & torch.isfinite(found.variance).all()):
            raise problems.InvalidSettingError("the forecast is not finite so far ahead; ask for a shorter one")
        levels = list(request.quantiles)
        return wire.Forecast(
            session=record.meta.id,
            epoch=record.position.epoch,
            seq=record.position.seq,
            mean=found.mean[:, 0].tolist(),
            deviation=found.variance[:, 0].sqrt().tolist(),
            levels=levels,
            quantiles=found.quantiles(levels)[:, :, 0].tolist() if levels else [],
            paths=found.paths[:, 0].transpose(0, 1).tolist() if request.with_paths else None,
        )

    def _inputs(self, request: wire.ForecastRequest, model: str, moments: list[clocks.Moment]) -> Tensor | None:
        """What is done on the way, a row for each step ahead, of a batch of one; with what the calendar says of it.

        Raises InvalidInputsError.
        """
        size, made = self._models.form(model).input_size, self._models.calendar(model)
        if not size and request.inputs is None and not made:
            return None
        given = [[]] * (1 if size else request.horizon) if request.inputs is None else request.inputs
        if len(given) != request.horizon or any(len(row) != size for row in given):
            raise problems.InvalidInputsError(
                f"inputs are not {request.horizon} lists, one for each step ahead, of {size} numbers"
            )
        dates = calendar.inputs_at(np.array([moment.time for moment in moments]), made)
        rows = np.concatenate([np.reshape(np.array(given, dtype=np.float64), (request.horizon, size)), dates], axis=1)
        kind = self._models.checkpoint(model).filter.model.dtype
        return torch.tensor(rows, device=self._models.device, dtype=kind)[:, None]

    def _dt(self, request: wire.ForecastRequest, model: str, moments: list[clocks.Moment]) -> Tensor | None:
        """The time before each step ahead, of a batch of one."""
        if request.times is None or not self._models.checkpoint(model).filter.model.timed:
            return None
        return torch.tensor([[moment.dt] for moment in moments], device=self._models.device, dtype=torch.float64)

    def _moments(self, request: wire.ForecastRequest, model: str, *, last: float | None) -> list[clocks.Moment]:
        """When each step ahead is. Raises InvalidTimeError."""
        times = [None] * request.horizon if request.times is None else request.times
        if (request.times is not None and not self._models.form(model).timed) or len(times) != request.horizon:
            raise problems.InvalidTimeError(
                f"times are not {request.horizon} numbers, one for each step ahead, of a model that takes times"
            )
        usual, dated = self._models.usual_dt(model), bool(self._models.calendar(model))
        found: list[clocks.Moment] = []
        for time in times:
            found.append(clocks.moment(time, last=last, usual_dt=usual, dated=dated))
            last = found[-1].time
        return found
