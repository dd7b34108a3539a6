"""The engine: one thread owns the models and filters batches; the event loop filters a lone session's short steps.

The laws: the event loop is held by no step that takes longer than SHORT, nor by one beside which another session has
something under way; row i of a batch depends on row i only, so that batches may be padded, split and merged at will; a
row that fails is answered by itself and harms no other; what comes out for a row is finite, or a problem.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import torch
from avf_wire.binary_arrays import ALARM, Numbers
from numpy.typing import NDArray
from torch import Tensor

from avf_core import calendar, flat
from avf_core.errors import AvfError, InputError, TimeStepError
from avf_server import problems
from avf_server.models.served import Models
from avf_server.models.setups import Setup
from avf_server.models.thread import ModelThread
from avf_server.sessions import clocks
from avf_server.stepping import alarms, beside, decisions, estimates
from avf_server.stepping.costs import Costs, Work
from avf_server.stepping.estimates import Batch, Told
from avf_server.stepping.rows import Row, Stepped
from avf_server.stores.base import Position

logger = logging.getLogger(__name__)

REFUSALS: dict[type, type[problems.ProblemError]] = {
    InputError: problems.InvalidInputsError,
    TimeStepError: problems.InvalidTimeError,
}
"""Of what the library refuses; all else is of the observation."""

WORKS_KEPT = 1024
"""Batches by model and size whose work is remembered: it is asked for at every tick."""

SHORT = 1e-3
"""Seconds that a step may take which the event loop computes: to wake the thread and the loop again takes a tenth."""

NOT_FINITE = "the estimate is not finite: the observation lies too far outside of what the model can hold"


class Engine:
    """Batched steps of the models, on their thread."""

    def __init__(self, models: Models, thread: ModelThread, *, max_batch: int) -> None:
        self._models = models
        self._thread = thread
        self._sizes = decisions.warmed_sizes(max_batch)
        self._costs = Costs()
        self._work = lru_cache(WORKS_KEPT)(self._worked)
        self._executor = cache(lambda model: flat.executor(models.checkpoint(model).filter))  # models stay as they are
        self._met: set[tuple[str, int]] = set()  # models at sizes of batches
        self._took: deque[tuple[Setup, int, float]] = deque()  # batches, their rows and seconds, yet to be learnt from

    def expected_seconds(self, model: str, rows: int, iterations: int, samples: int | None = None) -> float:
        """What a batch of so many rows of a model, of particles or alone, will take; 0 while nothing is known of it.

        `samples` are the most of an iteration; None for as many as the model has.
        """
        return self._costs.seconds(model, self._work(model, iterations, rows=rows, most=samples))

    async def step(self, rows: Sequence[Row], *, alone: bool = False) -> list[Stepped | problems.ProblemError]:
        """Filter one observation of every row, one batch for each setup; `alone`: nobody else waits for anything."""
        return await self._thread.run(lambda: self._step(rows), here=alone and self._is_short(rows))

    def _is_short(self, rows: Sequence[Row]) -> bool:
        """Whether so little is to be done that it is known to take no longer than SHORT."""
        if len(rows) > 1 or self._models.device != "cpu":
            return False
        setup = rows[0].setup
        most = setup.gradient_samples or None
        return 0.0 < self.expected_seconds(setup.model, setup.particles, setup.iterations, most) <= SHORT

    async def warm(self) -> None:
        """Run every model at every size, in turns with ticks, so that few clients wait for a first run."""
        for size in self._sizes:
            for name in self._models:
                await self._thread.aside(partial(self._step, [self._idle(self._models.setup(name))] * size))
                self.learn()

    def _idle(self, setup: Setup) -> Row:
        """An observation to warm with: with nothing observed, nothing would be inferred."""
        model = setup.model
        spec, form = self._models.checkpoint(model).filter.model.observation, self._models.form(model)
        kind = np.float64 if form.wide else np.float32
        return Row(
            setup=setup,
            durability="group",
            belief=None,
            seed=0,
            continues=Position(1, 0),
            x=np.full(spec.size, min(max(0.0, spec.low), spec.high), dtype=kind),
            inputs=np.zeros(form.input_size, dtype=kind) if form.input_size else None,
            moment=clocks.moment(None, last=None, usual_dt=self._models.usual_dt(model)) if form.timed else None,
        )

    def _step(self, rows: Sequence[Row]) -> list[Stepped | problems.ProblemError]:
        results: list[Any] = [None] * len(rows)
        groups: dict[Setup, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(row.setup, []).append(index)
        for setup, members in groups.items():
            began = time.perf_counter()
            answers = self._step_group(setup, [rows[i] for i in members])
            self._took.append((setup, len(members), time.perf_counter() - began))
            for index, answer in zip(members, answers, strict=True):
                results[index] = answer
        return results

    def learn(self) -> None:
        """Hear what batches took, once they are on their way to the store: nobody waits for it."""
        while self._took:
            self._note(*self._took.popleft())

    def _note(self, setup: Setup, rows: int, seconds: float) -> None:
        """How long a batch took; the first of its size is none to judge others by."""
        most = setup.gradient_samples or None
        work = self._work(setup.model, setup.iterations, rows=rows * setup.particles, most=most)
        if (setup.model, work.rows) in self._met:
            self._costs.took(setup.model, work, seconds=seconds)
        self._met.add((setup.model, work.rows))

    def _worked(self, model: str, iterations: int, *, rows: int, most: int | None = None) -> Work:
        samples = self._models.samples(model, iterations, most=most)
        return Work(rows=self._padded(rows), iterations=iterations, samples=samples)

    def _padded(self, rows: int) -> int:
        """The size of the batch that so many rows are filtered in: one that is warm, where that is of use."""
        return rows if self._models.device == "cpu" else decisions.padded_size(rows, self._sizes)

    def _step_group(self, setup: Setup, rows: Sequence[Row]) -> list[Stepped | problems.ProblemError]:
        """The rows of one setup; those whose belief cannot be read are answered and left out of the batch."""
        results: list[Any] = [self._belief_row(row) for row in rows]
        good = [i for i, result in enumerate(results) if isinstance(result, bytes)]
        if good:
            answers = self._isolated(setup, [results[i] for i in good], [rows[i] for i in good])
            for index, answer in zip(good, answers, strict=True):
                results[index] = answer
        return results

    def _isolated(self, setup: Setup, found: list[bytes], rows: list[Row]) -> list[Stepped | problems.ProblemError]:
        """Filter a batch; where it fails, filter its rows one by one, so that only the guilty ones fail."""
        try:
            return self._filter(setup, found, rows)
        except AvfError as error:
            kind = next((REFUSALS[each] for each in type(error).__mro__ if each in REFUSALS), None)
            failure: problems.ProblemError = (kind or problems.InvalidObservationError)(str(error))
        except Exception:
            logger.exception("a batch of %d rows of %s failed", len(rows), setup.model)
            failure = problems.internal()
        if len(rows) == 1:
            return [failure]
        return [self._isolated(setup, [belief], [row])[0] for belief, row in zip(found, rows, strict=True)]

    def _filter(self, setup: Setup, found: list[bytes], rows: list[Row]) -> list[Stepped | problems.ProblemError]:
        form = self._models.belief_rows(setup)
        padding = self._padded(len(rows)) - len(rows)
        x = np.stack([row.x for row in rows + rows[:1] * padding])
        observed = ~np.isnan(x)
        whole = bool(observed.all())
        kept = np.frombuffer(bytearray().join(found + found[:1] * padding), dtype=np.uint8).reshape(-1, form.width)
        batch = self._flat(setup, kept, x) if whole and not padding else None
        if batch is None:
            batch = self._by_tensors(setup, kept, x, rows, observed=None if whole else observed)
        return self._results(setup, batch, rows, seen=np.asarray(observed[: len(rows)].any(axis=1)))

    @torch.no_grad()
    def _flat(self, setup: Setup, kept: NDArray[np.uint8], x: Numbers) -> Batch | None:
        """A batch of which nothing is missing, by the native executor; None where that does not compute it."""
        engine = self._executor(setup.model) if self._models.device == "cpu" else None
        if engine is None:
            return None
        filter, form = self._models.checkpoint(setup.model).filter, self._models.belief_rows(setup)
        most, samples = setup.iterations or None, setup.gradient_samples or None
        done = flat.step(filter, engine, form, kept, x, iterations=most, samples=samples, draws=setup.samples)
        return None if done is None else estimates.of_flat(done, form, setup, heard=self._hears(setup.model))

    @torch.no_grad()
    def _by_tensors(
        self, setup: Setup, kept: NDArray[np.uint8], x: Numbers, rows: list[Row], *, observed: NDArray[np.bool_] | None
    ) -> Batch:
        """Any batch, of rows and of what fills it up; `observed` is None where nothing is missing."""
        checkpoint, form = self._models.checkpoint(setup.model), self._models.belief_rows(setup)
        padding = len(x) - len(rows)
        following, estimate = checkpoint.filter.step(
            form.belief(torch.from_numpy(kept).to(self._models.device)),
            torch.from_numpy(x).to(self._models.device),
            inputs=self._column(rows, padding, self._inputs_of(setup.model)),
            dt=self._column(rows, padding, _dt) if checkpoint.filter.model.timed else None,
            observed=None if observed is None else torch.from_numpy(observed).to(self._models.device),
            iterations=setup.iterations or None,
            samples=setup.gradient_samples or None,
        )
        told = Told.of(estimate, setup)
        return estimates.to_host(following, told, form, count=len(rows), heard=self._hears(setup.model))

    def _hears(self, model: str) -> bool:
        """Whether what is normal for a model is told by signs."""
        reference = self._models.reference(model)
        return reference is not None and reference.width > 0

    def _results(
        self, setup: Setup, batch: Batch, rows: list[Row], *, seen: NDArray[np.bool_]
    ) -> list[Stepped | problems.ProblemError]:
        """What came of every row; `seen` says of which something was observed."""
        form = self._models.belief_rows(setup)
        reference = self._models.reference(setup.model)
        listening = [beside.split(row.beside, 0 if reference is None else reference.width) for row in rows]
        warming = self._models.checkpoint(setup.model).filter.model.warming
        judged = seen & (form.steps(batch.beliefs) > warming) if warming else seen
        surprise, running = estimates.surprise_of(batch, rows, judged, reference, [each.signs for each in listening])
        detectors: Sequence[bytes | None] = [None] * len(rows)
        if setup.alarm_every:
            known = (judged if setup.alarm_by == "change" else seen) & batch.finite
            detectors, said = alarms.heard(
                setup, rows, [each.detector for each in listening], batch.arrays, known=known
            )
            batch = replace(batch, arrays={**batch.arrays, ALARM: said})
        messages = estimates.to_messages(batch, rows, surprise=surprise)
        notes = estimates.to_notes(batch, rows, surprise=surprise)
        return [
            Stepped(belief=form.to_bytes(belief.tobytes()), estimate=message, note=note, beside=beside.join(*states))
            if finite
            else problems.InvalidObservationError(NOT_FINITE)
            for belief, message, note, states, finite in zip(
                batch.beliefs, messages, notes, zip(running, detectors, strict=True), batch.finite.tolist(), strict=True
            )
        ]

    def _column(self, rows: list[Row], padding: int, of: Callable[[Row], Any]) -> Tensor | None:
        """What came with the rows of one model, which all have it or none has; on the device."""
        values = [of(row) for row in rows]
        if values[0] is None:
            return None
        return torch.from_numpy(np.stack(values + values[:1] * padding)).to(self._models.device)

    def _inputs_of(self, model: str) -> Callable[[Row], Numbers | None]:
        """What a model hears beside an observation: what was sent, and what the calendar says of its time."""
        names = self._models.calendar(model)

        def heard(row: Row) -> Numbers | None:
            if not names or row.moment is None:
                return row.inputs
            made = calendar.inputs_at(np.array([row.moment.time]), names)[0].astype(row.x.dtype)
            return made if row.inputs is None else np.concatenate([row.inputs, made])

        return heard

    def _belief_row(self, row: Row) -> bytes | problems.ProblemError:
        """The row's belief in bytes, or why it cannot be read."""
        try:
            return self._models.belief_row(row.setup, row.belief, seed=row.seed)
        except problems.BeliefUnreadableError as problem:
            return problem


def _dt(row: Row) -> float | None:
    """The time since the observation before."""
    return None if row.moment is None else row.moment.dt
