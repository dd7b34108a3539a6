"""Rows that keep step with their environments, whatever goes wrong with a filter.

The law: what a row's environment showed is filtered in its order, once, or marked as missing. An observation that the
filter does not take is missing, and said to be; one that could not be filtered now, because a server is away, is owed:
it is filtered before the next one. No row's trouble is another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avf_client.errors import AvfClientError, InvalidObservation
from avf_client.gym.filters import Array, Estimates, Failures, Filters, Rows


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """What became of an observation of each row: its estimate, and whether it was filtered as it came."""

    estimates: Estimates
    as_shown: NDArray[np.bool_]


class SteadyRows:
    """Filters whose rows never fall behind their environments."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._owed: dict[int, list[tuple[Array, Array, bool]]] = {}

    def begin(self, rows: Rows, seeds: Sequence[int]) -> None:
        """Begin these rows' sequences anew; what they owed is forgotten."""
        for row in rows.tolist():
            self._owed[row] = []
        self._filters.begin(rows, seeds)

    def step(self, rows: Rows, xs: Array, inputs: Array) -> Filtered:
        """Filter what rows owe, and then what they were shown, (len(rows), D), and what was done before, an input each.

        Raises the first error of a row that could not be filtered now, once all others were; call again with what
        is shown next.
        """
        faults = self._filters.spec.faults(xs)
        for place, (row, x, u) in enumerate(zip(rows.tolist(), xs, inputs, strict=True)):
            shown = np.full_like(x, np.nan) if place in faults else x
            self._owed.setdefault(row, []).append((shown.copy(), u.copy(), place not in faults))
        found: Estimates | None = None
        as_shown, failed = np.ones(len(rows), dtype=np.bool_), Failures()
        places = list(range(len(rows)))
        while places:
            estimates, refused, failures = self._next(rows[places])
            found = estimates.at([0] * len(rows)) if found is None else found
            settled = [at for at in range(len(places)) if at not in failures]
            found.put(np.array([places[at] for at in settled], dtype=np.intp), estimates.at(settled))
            for at in settled:
                shown = self._owed[int(rows[places[at]])].pop(0)[2]
                as_shown[places[at]] = shown and at not in refused
            failed |= {places[at]: error for at, error in failures.items()}
            places = [places[at] for at in settled if self._owed[int(rows[places[at]])]]
        for error in failed.values():
            raise error
        assert found is not None  # there is a row
        return Filtered(estimates=found, as_shown=as_shown)

    def close(self) -> None:
        """Let go of the filters."""
        self._filters.close()

    def _next(self, rows: Rows) -> tuple[Estimates, set[int], Failures]:
        """Filter the first that each of these rows owes; what is refused is then missing."""
        xs, inputs = (np.stack([self._owed[row][0][part] for row in rows.tolist()]) for part in (0, 1))
        estimates, failures = self._filters.step(rows, xs, inputs)
        refused = [at for at, error in failures.items() if isinstance(error, InvalidObservation)]
        if refused:
            nothing = np.full_like(xs[refused], np.nan)
            others, again = self._filters.step(rows[refused], nothing, inputs[refused])
            estimates.put(np.array(refused, dtype=np.intp), others)
            for at, place in enumerate(refused):
                failure: AvfClientError | None = again.get(at)
                failures = {p: e for p, e in failures.items() if p != place} | ({place: failure} if failure else {})
        return estimates, set(refused), failures
