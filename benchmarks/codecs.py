"""What do codecs and textbooks need for the data that models are judged on, in nats a step?

    python -m benchmarks.codecs [--speech FOLDER] [--video FILE] [--json]
    python -m benchmarks.codecs --speech FOLDER --against speech --pairs docs/results/pairs

Speech: FLAC at its highest level, the whole frames of every utterance (less the header of an empty file), and linear
prediction from 32 samples, one filter for all of train, with Gaussian noise of a running variance. Video: the last
frame with Student-t noise whose scale follows what moved nearby, three numbers fitted on train. Of both: independent
numbers by train's mean and deviation of each, and the number before (of video, the pixel of the last frame) with one
Gaussian for all. Levels are integrated over; a first frame is scored by the means. Every frame of the reported split is
scored from the first, and nothing is fitted to it. With `--against` a checkpoint is compared with each, paired by
sequence, and the records go to `--pairs`, from which the page of results is written; and by how many decibels its
predictions, made before it hears a frame, are nearer to it than the frame before.
"""

import argparse
import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import avf_sources
import numpy as np
import soundfile
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy import linalg, ndimage, optimize, signal, stats

from avf_core import checkpoints
from avf_core.analysis.comparison import compared
from avf_core.analysis.evaluation import sequence_sums
from avf_core.analysis.walking import walk
from avf_core.checkpoints import Checkpoint
from avf_core.data import Sequences, Source, describe, load
from avf_core.filtering import Filter
from avf_core.training.model_card import readable

ORDER = 32  # samples that a prediction hears
MEMORIES = (25, 50, 100, 200, 400)  # samples over which the variance runs; the best on train is taken
RATE, SIXTEEN_BITS, EIGHT_BITS = 16_000, 2.0**-15, 1.0 / 255.0
FITTED = 40  # frames of train that the noise of video is fitted on


Nats = Float[ndarray, " sequences"]


def flac(utterances: Sequences) -> Nats:
    """Nats of FLAC files, one an utterance, less the header."""
    return np.array([_flac_bytes(u) - _flac_bytes(u[:0]) for u in utterances]) * 8.0 * math.log(2.0)


def _flac_bytes(utterance: Float[ndarray, "time samples"]) -> int:
    file = io.BytesIO()
    levels = np.round(utterance.reshape(-1) / SIXTEEN_BITS).clip(-(2**15), 2**15 - 1).astype(np.int16)
    soundfile.write(file, levels, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return len(file.getvalue())


def linear_prediction(train: Sequences, reported: Sequences) -> Nats:
    """Nats of utterances by one filter, and a variance that runs."""
    signals = [u.reshape(-1).astype(np.float64) for u in train]
    lags = sum(np.array([s[: len(s) - k] @ s[k:] for k in range(ORDER + 1)]) for s in signals)
    whitening = np.concatenate([[1.0], -linalg.solve_toeplitz(lags[:ORDER], lags[1:])])
    memory = min(MEMORIES, key=lambda m: sum(_running(whitening, s, m) for s in signals[::10]))
    return np.array([_running(whitening, u.reshape(-1).astype(np.float64), memory) for u in reported])


def independent(train: Sequences, reported: Sequences, *, level: float) -> Nats:
    """Nats of sequences by the mean and deviation in train of each number of a frame."""
    everything = np.concatenate([np.asarray(s, dtype=np.float64) for s in train])
    mean, deviation = everything.mean(0), everything.std(0) + level
    return np.array([-_gaussian(np.asarray(s, dtype=np.float64) - mean, deviation, level) for s in reported])


def copied(train: Sequences, reported: Sequences, *, level: float, back: int | None = None) -> Nats:
    """Nats of sequences by the number `back` before each, of all frames end to end, and one Gaussian for all errors.

    Where `back` is not said it is a whole frame.
    """
    back = back or train[0].shape[1]
    signals = [np.asarray(s, dtype=np.float64).reshape(-1) for s in train]
    deviation = math.sqrt(np.concatenate([(s[back:] - s[:-back]) ** 2 for s in signals]).mean()) + level
    begins = np.concatenate([s[:back] for s in signals])
    mean, spread = begins.mean(), begins.std() + level
    ends = [np.asarray(s, dtype=np.float64).reshape(-1) for s in reported]
    return np.array(
        [-_gaussian(s[:back] - mean, spread, level) - _gaussian(s[back:] - s[:-back], deviation, level) for s in ends]
    )


def _gaussian(error: Float[ndarray, "*any"], deviation: Float[ndarray, "*any"] | float, level: float) -> float:
    """log P of the levels around errors."""
    return float(_levels(stats.norm, error / deviation, 0.5 * level / deviation).sum())


def _running(whitening: Float[ndarray, " taps"], samples: Float[ndarray, " samples"], memory: int) -> float:
    """Nats of an utterance; before it stands silence of one level's variance."""
    errors = signal.lfilter(whitening, [1.0], samples)
    share = 1.0 / memory
    squares = np.concatenate([[SIXTEEN_BITS**2], errors[:-1] ** 2])
    variance, _ = signal.lfilter([share], [1.0, share - 1.0], squares, zi=[(1.0 - share) * SIXTEEN_BITS**2])
    deviation = np.sqrt(variance + SIXTEEN_BITS**2)
    return -float(_levels(stats.norm, errors / deviation, 0.5 * SIXTEEN_BITS / deviation).sum())


def persistence(train: Sequences, reported: Sequences, shape: tuple[int, ...]) -> Nats:
    """Nats of clips by the last frame, with Student-t noise by local motion."""
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
    nats = []
    for clip in (_frames(clip, shape) for clip in reported):
        first = -_gaussian(clip[0] - mean, deviation, EIGHT_BITS)
        padded = np.concatenate([clip[:1], clip])  # before the first frame nothing moved
        nats.append(first + sum(_moved(padded[t - 1 : t + 2], found.x) for t in range(1, len(clip))))
    return np.array(nats)


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


def of_speech(data: Path) -> dict[str, Nats]:
    """What textbooks and codecs need for each utterance of the reported split."""
    train, reported = load(data, "train"), load(data, describe(data).reported)
    return {
        "FLAC, highest level": flac(reported),
        f"linear prediction from {ORDER} samples, running variance": linear_prediction(train, reported),
        "sample before, one Gaussian": copied(train, reported, level=SIXTEEN_BITS, back=1),
        "independent samples, one Gaussian each": independent(train, reported, level=SIXTEEN_BITS),
    }


def of_video(data: Path) -> dict[str, Nats]:
    """The same of clips."""
    described = describe(data)
    train, reported = load(data, "train"), load(data, described.reported)
    return {
        "last frame, Student-t noise by local motion": persistence(train, reported, described.shape or ()),
        "last frame, one Gaussian": copied(train, reported, level=EIGHT_BITS),
        "independent pixels, one Gaussian each": independent(train, reported, level=EIGHT_BITS),
    }


def rows(data: Path, found: Mapping[str, Nats]) -> list[dict[str, Any]]:
    """The table: what, of which data and split, nats a step."""
    split = describe(data).reported
    steps = sum(map(len, load(data, split)))
    return [
        {"data": data.name, "split": split, "by": name, "nats per step": round(float(nats.sum()) / steps, 1)}
        for name, nats in found.items()
    ]


def pairs(shipped: Checkpoint, reported: Sequences, data: Path, found: Mapping[str, Nats]) -> dict[str, dict[str, Any]]:
    """The checkpoint less each of them, paired by sequence, in the form of `avf compare --json`; by file's name."""
    split = describe(data).reported
    energies, steps = sequence_sums(shipped.filter, reported)
    told = {}
    for other, nats in found.items():
        known = {"a": {"model": shipped.name, "digest": shipped.digest}, "b": {"model": other}, "data": data.name}
        slug = re.sub(r"[^a-z]+", "-", other.lower()).strip("-")
        told[f"{shipped.name}-{slug}"] = {
            **known,
            "split": split,
            **compared(energies[None], nats[None], steps).as_dict(),
        }
    return told


@torch.no_grad()
def gain(filter: Filter, sequences: Sequences) -> float:
    """Decibels by which predictions are nearer, in mean square, than the step before; all steps but the first ones."""
    predicted = copied = 0.0
    for sequence in sequences:
        later = (step for step in walk(filter, [sequence]) if step.t)
        predicted += sum(float((step.estimate.prediction.mean - step.x).square().sum()) for step in later)
        copied += float((np.diff(sequence.astype(np.float64), axis=0) ** 2).sum())
    return 10.0 * math.log10(copied / predicted)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--against", help="A checkpoint of the same data, to be compared with each.")
    parser.add_argument("--pairs", type=Path, help="The folder for what --against finds.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.against and (options.pairs is None or (options.speech is None) == (options.video is None)):
        parser.error("--against wants --pairs, and one of --speech and --video")
    table: list[dict[str, Any]] = []
    nearer: dict[str, Any] = {}
    for data, measure in ((options.speech, of_speech), (options.video, of_video)):
        if data is None:
            continue
        found = measure(data)
        table += rows(data, found)
        if options.against:
            shipped = checkpoints.load(options.against)
            reported = Source(path=data).like(shipped.card["data"]).load(describe(data).reported)
            avf_sources.make_folder(options.pairs)
            for name, record in pairs(shipped, reported, data, found).items():
                avf_sources.replace_file(options.pairs / f"{name}.json", readable(record) + "\n")
            nearer = {"of": options.against, "one step ahead, dB": round(gain(shipped.filter, reported), 2)}
    if options.json:
        print(json.dumps({"rows": table, "gain": nearer}))
        return
    print("| data | split | by | nats per step |\n|---|---|---|---|")
    for row in table:
        print(f"| {row['data']} | {row['split']} | {row['by']} | {row['nats per step']:,} |")
    if nearer:
        print(f"{nearer['of']}: one step ahead {nearer['one step ahead, dB']} dB nearer than the frame before")


if __name__ == "__main__":
    main()
