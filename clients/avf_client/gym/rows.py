"""What vector environments share: a generator of seeds a row, which rows a reset is of, and infos by row."""

from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from avf_client.errors import InvalidArgument
from avf_client.gym.filters import Estimates, Rows, draw_seed

Seeds = int | list[int | None] | None
"""The seed of a reset: that of row i is `seed + i`, or the i-th of a list; None goes on with what was."""


class RowGenerators:
    """A generator of seeds a row; with seed s, that of row i is an environment's that was reset with s + i."""

    def __init__(self, rows: int) -> None:
        self._generators = [seeding.np_random()[0] for _ in range(rows)]

    def reset(self, seed: Seeds, mask: NDArray[np.bool_]) -> None:
        """Seed the generators of the masked rows; without a seed they go on. Raises InvalidArgument."""
        rows = len(self._generators)
        seeds = [None if seed is None else seed + i for i in range(rows)] if not isinstance(seed, list) else seed
        if len(seeds) != rows:
            raise InvalidArgument(f"there are {len(seeds)} seeds for {rows} rows, expected one a row")
        for row in np.flatnonzero(mask):
            if seeds[row] is not None:
                self._generators[row] = seeding.np_random(seeds[row])[0]

    def draw(self, rows: Rows) -> list[int]:
        """The seed of the next sequence of each of these rows."""
        return [draw_seed(self._generators[row]) for row in rows]


def reset_mask(options: dict[str, Any] | None, rows: int) -> NDArray[np.bool_]:
    """The rows that a reset is of: all of them, or `options["reset_mask"]`. Raises InvalidArgument."""
    mask = (options or {}).get("reset_mask", np.ones(rows, dtype=np.bool_))
    if not (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (rows,) and mask.any()):
        raise InvalidArgument(f"reset_mask is {mask!r}, expected a boolean array of shape ({rows},), not all False")
    return mask.copy()


def infos_of(values: dict[str, NDArray[Any]], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Infos as Gymnasium's vector environments give them: each with `_name`, the rows that have it; 0 elsewhere."""
    infos: dict[str, Any] = {}
    for name, array in values.items():
        infos[name] = np.where(mask, array, np.zeros_like(array))
        infos[f"_{name}"] = mask.copy()
    return infos


def energies(estimates: Estimates) -> dict[str, NDArray[Any]]:
    """What infos say of an estimate, beside whether it was `filtered`."""
    return {name: getattr(estimates, name) for name in ("free_energy", "reconstruction", "kl", "iterations")}
