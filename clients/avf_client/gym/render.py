"""What a filter saw, expected and believes, to be looked at: as text, or as an image without any library of plots.

The law: colours and bars are relative to the range that observations have, or else to the largest that is shown; what
is missing is grey.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from avf_client.errors import InvalidArgument
from avf_client.gym.filters import Array, Estimates, Spec

MODES = ("ansi", "rgb_array")
STEPS = 64  # that a picture shows
WIDTH, HEIGHT = 4, 96  # pixels: of a step, and of a band at least
GAP = 4  # pixels between bands
BARS = " ▁▂▃▄▅▆▇█"
MOST = 64  # numbers of a band in text
LOW, HIGH, MISSING = np.array([20, 24, 82]), np.array([253, 231, 37]), np.array([128, 128, 128])


def checked_mode(mode: str | None) -> str | None:
    """A render mode that there is. Raises InvalidArgument."""
    if mode is not None and mode not in MODES:
        raise InvalidArgument(f"render_mode is {mode!r}, expected one of {', '.join(MODES)}, or None")
    return mode


class Picture:
    """The last steps of a sequence: bands of what was observed, what was expected, and the mean of the belief."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._steps: deque[dict[str, Array]] = deque(maxlen=STEPS)
        self._energies: deque[tuple[float, float, float, int]] = deque(maxlen=STEPS)
        self._count = 0

    def clear(self) -> None:
        """Another sequence begins."""
        self._steps.clear()
        self._energies.clear()
        self._count = 0

    def add(self, x: Array, estimates: Estimates) -> None:
        """One step: the observation (D,), and the estimates of this one row."""
        self._steps.append({"observed": x, "expected": estimates.prediction[0], "belief": estimates.posterior_mean[0]})
        energies = (estimates.free_energy, estimates.reconstruction, estimates.kl)
        f, reconstruction, kl = (float(each[0]) for each in energies)
        self._energies.append((f, reconstruction, kl, int(estimates.iterations[0])))
        self._count += 1

    def rendered(self, mode: str | None) -> "str | NDArray[np.uint8] | None":
        """The picture in a render mode."""
        if mode is None:
            return None
        return self._text() if mode == "ansi" else self._image()

    def _text(self) -> str:
        if not self._steps:
            return "step 0: nothing is observed yet\n"
        f, reconstruction, kl, iterations = self._energies[-1]
        lines = [f"step {self._count}: F {f:.3f} nats = {reconstruction:.3f} + {kl:.3f}, {iterations} iterations"]
        for name, values in self._steps[-1].items():
            part = self._part(name, values)
            cells = ["·" if np.isnan(p) else BARS[round(float(p) * (len(BARS) - 1))] for p in part[:MOST]]
            more = f" and {len(part) - MOST} more" if len(part) > MOST else ""
            lines.append(f"{name:9}|{''.join(cells)}|{more}")
        return "\n".join(lines) + "\n"

    def _image(self) -> NDArray[np.uint8]:
        """Time goes to the right; the top of a band is its first number; under the bands, bars of the free energy."""
        sizes = dict.fromkeys(("observed", "expected"), self._spec.observation_size)
        sizes["belief"] = self._spec.latent_size
        bands = []
        for name, size in sizes.items():
            shown = np.full((size, STEPS), np.nan)
            if self._steps:
                shown[:, -len(self._steps) :] = self._part(name, np.stack([step[name] for step in self._steps], axis=1))
            bands += [_coloured(shown, height=-(-HEIGHT // size) if size < HEIGHT else 1), _gap()]
        return np.concatenate([*bands, self._bars()])

    def _bars(self) -> NDArray[np.uint8]:
        energies = np.full(STEPS, np.nan)
        if self._energies:
            energies[-len(self._energies) :] = [each[0] for each in self._energies]
        finite = np.abs(energies[np.isfinite(energies)])
        heights = np.nan_to_num(np.abs(energies) / max(finite.max(initial=0.0), 1e-9)) * (HEIGHT // 2)
        lit = np.arange(HEIGHT // 2, 0, -1)[:, None] <= heights
        return _coloured(lit.astype(np.float64), height=1)

    def _part(self, name: str, values: Array) -> NDArray[np.float64]:
        """Values as parts of their range, in [0, 1]."""
        low, high = self._spec.low, self._spec.high
        if name == "belief" or not np.isfinite([low, high]).all():
            most = float(np.abs(values[np.isfinite(values)]).max(initial=1e-9))
            low, high = -most, most
        parts: NDArray[np.float64] = ((values.astype(np.float64) - low) / (high - low)).clip(0.0, 1.0)
        return parts


def _coloured(parts: NDArray[np.float64], *, height: int) -> NDArray[np.uint8]:
    """Parts (numbers, steps) as pixels, so many of `height` a number."""
    mixed = LOW + parts[..., None] * (HIGH - LOW)
    pixels = np.where(np.isnan(parts)[..., None], MISSING, np.nan_to_num(mixed)).astype(np.uint8)
    image: NDArray[np.uint8] = pixels.repeat(height, axis=0).repeat(WIDTH, axis=1)
    return image


def _gap() -> NDArray[np.uint8]:
    return np.full((GAP, WIDTH * STEPS, 3), 255, dtype=np.uint8)
