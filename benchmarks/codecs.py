"""What do codecs and textbooks need for the data that models are judged on, in nats a step?

    python -m benchmarks.codecs [--speech FOLDER] [--video FILE] [--json]

Speech: FLAC at its highest level, every utterance's whole frames end to end (its header, a few dozen bytes, is in it),
and linear prediction from 32 samples, one filter for all of train, with Gaussian noise of a running variance. Video:
the last frame with Student-t noise whose scale follows what moved nearby, three numbers fitted on train. Levels are
integrated over; a first frame is scored by train's mean and deviation of each pixel. Every frame of the reported split
is scored from the first, and nothing is fitted to it.
"""

import argparse
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float
from numpy import ndarray
from scipy import linalg, ndimage, optimize, signal, stats

from avf_core.data import Sequences, describe, load

ORDER = 32  # samples that a prediction hears
MEMORIES = (25, 50, 100, 200, 400)  # samples over which the variance runs; the best on train is taken
RATE, SIXTEEN_BITS, EIGHT_BITS = 16_000, 2.0**-15, 1.0 / 255.0
FITTED = 40  # frames of train that the noise of video is fitted on


def flac(utterances: Sequences) -> float:
    """Nats a frame of a FLAC file."""
    samples = np.concatenate([u.reshape(-1) for u in utterances])
    file = io.BytesIO()
    levels = np.round(samples / SIXTEEN_BITS).clip(-(2**15), 2**15 - 1).astype(np.int16)
    soundfile.write(file, levels, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return len(file.getvalue()) * 8.0 * math.log(2.0) / sum(map(len, utterances))


def linear_prediction(train: Sequences, reported: Sequences) -> float:
    """Nats a frame of one filter, and a variance that runs."""
    signals = [u.reshape(-1).astype(np.float64) for u in train]
    lags = sum(np.array([s[: len(s) - k] @ s[k:] for k in range(ORDER + 1)]) for s in signals)
    whitening = np.concatenate([[1.0], -linalg.solve_toeplitz(lags[:ORDER], lags[1:])])
    memory = min(MEMORIES, key=lambda m: sum(_running(whitening, s, m) for s in signals[::10]))
    total = sum(_running(whitening, u.reshape(-1).astype(np.float64), memory) for u in reported)
    return total / sum(map(len, reported))


def _running(whitening: Float[ndarray, " taps"], samples: Float[ndarray, " samples"], memory: int) -> float:
    """Nats of an utterance; before it stands silence of one level's variance."""
    errors = signal.lfilter(whitening, [1.0], samples)
    share = 1.0 / memory
    squares = np.concatenate([[SIXTEEN_BITS**2], errors[:-1] ** 2])
    variance, _ = signal.lfilter([share], [1.0, share - 1.0], squares, zi=[(1.0 - share) * SIXTEEN_BITS**2])
    deviation = np.sqrt(variance + SIXTEEN_BITS**2)
    return -float(_levels(stats.norm, errors / deviation, 0.5 * SIXTEEN_BITS / deviation).sum())


def persistence(train: Sequences, reported: Sequences, shape: tuple[int, ...]) -> float:
    """Nats a frame of the last one, with Student-t noise by local motion."""
    frames = [_frames(clip, shape) for clip in train]
    pairs = [(clip, t) for clip in frames for t in range(2, len(clip), max(1, len(clip) // 4))][:FITTED]
    steps = [clip[t - 2 : t + 1] for clip, t in pairs]
    found = optimize.minimize(
        lambda p: sum(_moved(step, p) for step in steps),
        [-5.0, 0.0, 1.0],
        method="Nelder-Mead",
        options={"maxiter": 80},
    )
    everything = np.concatenate(frames)
    mean, deviation = everything.mean(0), everything.std(0) + EIGHT_BITS
    total = 0.0
    for clip in (_frames(clip, shape) for clip in reported):
        total -= float(_levels(stats.norm, (clip[0] - mean) / deviation, 0.5 * EIGHT_BITS / deviation).sum())
        padded = np.concatenate([clip[:1], clip])  # before the first frame nothing moved
        total += sum(_moved(padded[t - 1 : t + 2], found.x) for t in range(1, len(clip)))
    return total / sum(map(len, reported))


def _moved(step: Float[ndarray, "three height width"], numbers: Float[ndarray, " three"]) -> float:
    """Nats of the last of three frames: log of the least scale, log-odds of motion's share, log degrees of freedom."""
    least, share, freedom = np.exp(numbers)
    motion = ndimage.uniform_filter(np.abs(step[1] - step[0]), 5)
    scale = least + share * motion
    noise = stats.t(1.0 + freedom)
    return -float(_levels(noise, (step[2] - step[1]) / scale, 0.5 * EIGHT_BITS / scale).sum())


def _levels(noise: Any, error: Float[ndarray, "*any"], half: Float[ndarray, "*any"]) -> Float[ndarray, "*any"]:
    """log P of the level around each error, by the tail it lies in."""
    far = np.abs(error)
    probability = noise.sf(far - half) - noise.sf(far + half)
    return np.log(np.maximum(probability, 1e-300))


def _frames(clip: Float[ndarray, "time pixels"], shape: tuple[int, ...]) -> Float[ndarray, "time height width"]:
    return clip.reshape(-1, *shape).astype(np.float64)


def rows(speech: Path | None, video: Path | None) -> list[dict[str, Any]]:
    """The table: what, of which data and split, nats a step."""
    found: list[dict[str, Any]] = []

    def add(name: str, data: Path, split: str, nats: float) -> None:
        found.append({"data": data.name, "split": split, "by": name, "nats per step": round(nats, 1)})

    if speech:
        split = describe(speech).reported
        train, reported = load(speech, "train"), load(speech, split)
        add("FLAC, highest level", speech, split, flac(reported))
        add(
            f"linear prediction from {ORDER} samples, running variance",
            speech,
            split,
            linear_prediction(train, reported),
        )
    if video:
        described = describe(video)
        train, reported = load(video, "train"), load(video, described.reported)
        nats = persistence(train, reported, described.shape or ())
        add("last frame, Student-t noise by local motion", video, described.reported, nats)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = rows(options.speech, options.video)
    if options.json:
        print(json.dumps({"rows": found}))
        return
    print("| data | split | by | nats per step |\n|---|---|---|---|")
    for row in found:
        print(f"| {row['data']} | {row['split']} | {row['by']} | {row['nats per step']:,} |")


if __name__ == "__main__":
    main()
