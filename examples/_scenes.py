"""Sounds and pictures made on the spot, what goes wrong in them, and how well a score tells where it did.

Everything is drawn from seeds, so that the examples that use it need neither a network nor a data set.
"""

from collections.abc import Callable

import numpy as np
from scipy import signal, stats

RATE = 16_000  # samples a second
LEVEL = 2.0**-15
FORMANTS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240), "e": (530, 1840, 2480)}


def voice(seconds: float, seed: int) -> np.ndarray:
    """Vowels and hisses with pauses between them: pulses of a gliding pitch, or noise, through formants."""
    random = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * RATE:
        count = int(random.uniform(0.08, 0.25) * RATE)
        kind = random.choice(["vowel", "vowel", "hiss", "pause"])
        parts.append(np.zeros(count) if kind == "pause" else _phone(count, kind, random))
    sound = np.concatenate(parts)[: int(seconds * RATE)]
    return 0.06 * sound / np.sqrt(np.mean(sound**2)) + 3e-4 * random.standard_normal(len(sound))


def _phone(count: int, kind: str, random: np.random.Generator) -> np.ndarray:
    """A vowel, or a hiss, faded in and out."""
    if kind == "hiss":
        taps = signal.butter(2, [3000, 7000], "bandpass", fs=RATE)
        sound = 0.15 * signal.lfilter(*taps, random.standard_normal(count))
    else:
        pitch = np.linspace(random.uniform(90, 200), random.uniform(90, 200), count)
        turns = np.floor(np.cumsum(pitch) / RATE)
        sound = np.diff(turns, prepend=0.0) + 0.01 * random.standard_normal(count)
        for formant in FORMANTS[str(random.choice(list(FORMANTS)))]:
            radius = np.exp(-np.pi * 90.0 / RATE)
            sound = signal.lfilter([1.0], [1.0, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], sound)
        sound = sound / np.sqrt(np.mean(sound**2))
    fade = min(320, count // 2)
    ramp = np.minimum(1.0, np.minimum(np.arange(count), np.arange(count)[::-1]) / fade)
    return np.asarray(sound * ramp)


def levels(sound: np.ndarray) -> np.ndarray:
    """Rounded to 16 bits."""
    return (np.clip(np.round(sound / LEVEL), -(2**15), 2**15 - 1) * LEVEL).astype(np.float32)


def _tone(frequency: float | None) -> Callable[[int, np.random.Generator], np.ndarray]:
    def made(count: int, random: np.random.Generator) -> np.ndarray:
        time = np.arange(count) / RATE
        turns = np.cumsum(900 + 400 * np.sin(3 * np.pi * time)) / RATE if frequency is None else frequency * time
        return np.sin(2 * np.pi * turns)

    return made


ADDED: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "siren": _tone(None),
    "beep": _tone(4000.0),
    "slam": lambda count, random: random.standard_normal(count) * np.exp(-12.0 * np.arange(count) / RATE),
    "white noise": lambda count, random: random.standard_normal(count),
}
"""What may sound at once with speech."""
CHANGED = ("clicks", "reversed speech", "bit crush", "lost audio")
"""What may become of the speech itself."""


def disturbed(
    sound: np.ndarray, event: str, *, first: int, last: int, decibels: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The sound with an event between two samples, so loud beside the speech, and where it is."""
    random, heard, here = np.random.default_rng(seed), sound.copy(), np.zeros(len(sound), bool)
    loudness, part = np.sqrt(np.mean(sound**2)) * 10 ** (decibels / 20), slice(first, last)
    here[part] = True
    if event in ADDED:
        added = ADDED[event](last - first, random)
        short = 3200 if event == "slam" else last - first  # a slam has died away by then
        heard[part] += loudness * added / np.sqrt(np.mean(added[:3200] ** 2))
        here[first + short : last] = False
    elif event == "clicks":
        places = random.integers(first, last, 16)
        heard[places] = random.choice([-1.0, 1.0], 16) * np.abs(sound).max() * 10 ** (decibels / 20)
        here[:] = False
        here[places] = True
    elif event == "reversed speech":
        heard[part] = sound[part][::-1]
    elif event == "bit crush":
        step = np.abs(sound).max() / 8.0
        heard[part] = np.round(sound[part] / step) * step
    else:
        heard[part] = 0.0
    return levels(heard), here


def moving(frames: int, seed: int, *, side: int = 64) -> np.ndarray:
    """A textured wall before which a figure walks to and fro, seen by a noisy camera: (time, side, side) in [0, 1]."""
    random = np.random.default_rng(seed)
    wall = (
        0.45 + 0.1 * signal.convolve2d(random.standard_normal((side, side)), np.ones((5, 5)) / 5.0, mode="same") / 2.0
    )
    rows, columns = np.mgrid[:side, :side]
    pictures = []
    for t in range(frames):
        place = side / 2 + 0.3 * side * np.sin(0.12 * t + seed)
        figure = 1.0 / (
            1.0 + np.exp(2.0 * (np.hypot((columns - place) / 0.45, (rows - 0.55 * side) / 1.6) - 0.14 * side))
        )
        pictures.append(wall * (1.0 - figure) + 0.2 * figure + 0.01 * random.standard_normal((side, side)))
    return pixels(np.stack(pictures))


def pixels(pictures: np.ndarray) -> np.ndarray:
    """Rounded to 8 bits."""
    return (np.round(np.clip(pictures, 0.0, 1.0) * 255.0) / 255.0).astype(np.float32)


def intruded(pictures: np.ndarray, first: int, last: int) -> np.ndarray:
    """With a small dark thing that crosses between two frames."""
    found, side = pictures.copy(), pictures.shape[-1]
    for t in range(first, last):
        place = int((side - 6) * (t - first) / max(1, last - first - 1))
        found[t, side // 8 : side // 8 + 6, place : place + 6] *= 0.6
    return pixels(found)


def stopped(pictures: np.ndarray, first: int, last: int) -> np.ndarray:
    """With one frame shown again and again between two."""
    found = pictures.copy()
    found[first:last] = pictures[first - 1]
    return found


def auroc(scores: np.ndarray, here: np.ndarray) -> float:
    """The chance that a frame of the event has a higher score than one outside of it; ties count half."""
    ranks, inside = stats.rankdata(scores), int(here.sum())
    return float((ranks[here].sum() - inside * (inside + 1) / 2) / (inside * (len(here) - inside)))
