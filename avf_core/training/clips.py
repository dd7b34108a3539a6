"""The clips of an epoch, as a pure function of (seed, epoch): a resumed run sees what an uninterrupted one would."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from avf_core.analysis.batching import pad, pad_drive
from avf_core.training.config import TrainingConfig
from avf_core.training.em import Clip

SEMITONES = 6  # the furthest that a clip is transposed


def batches_per_epoch(sequences: Sequence[np.ndarray], config: TrainingConfig) -> int:
    """How many clip batches an epoch has."""
    return -(-_clips_per_epoch(sequences, config) // config.batch_size)


def _clips_per_epoch(sequences: Sequence[np.ndarray], config: TrainingConfig) -> int:
    """One a sequence, or as many as all steps fill."""
    if config.draw != "steps":
        return len(sequences)
    return -(-sum(len(sequence) for sequence in sequences) // config.clip_length)


def transposed(roll: UInt8[np.ndarray, "time keys"], shift: int) -> UInt8[np.ndarray, "time keys"]:
    """A piano roll moved up by `shift` semitones, or as far as its notes stay on the keyboard."""
    sounding = np.flatnonzero(roll.any(0))
    if not len(sounding):
        return roll
    shift = int(np.clip(shift, -sounding[0], roll.shape[1] - 1 - sounding[-1]))
    return np.roll(roll, shift, axis=1)


def _order(sequences: Sequence[np.ndarray], config: TrainingConfig, epoch: int) -> Int64[np.ndarray, " clips"]:
    """Which sequence each clip of an epoch is of."""
    generator = np.random.default_rng([config.seed, epoch])
    if config.draw == "sequences":
        return generator.permutation(len(sequences))
    lengths = np.array([len(sequence) for sequence in sequences])
    size = _clips_per_epoch(sequences, config)
    return generator.choice(len(sequences), size=size, p=lengths / lengths.sum())


def clip_batch(sequences: Sequence[np.ndarray], config: TrainingConfig, epoch: int, position: int) -> Clip:
    """Batch `position` of an epoch: one random clip of each of its sequences, in the epoch's own order."""
    order = _order(sequences, config, epoch)
    chosen = order[position * config.batch_size : (position + 1) * config.batch_size]
    generator = np.random.default_rng([config.seed, epoch, position])
    clips = []
    for index in chosen:
        sequence = sequences[index]
        start = generator.integers(0, max(1, len(sequence) - config.clip_length + 1))
        clip = sequence[start : start + config.clip_length]
        if generator.random() < config.transpose:
            clip = transposed(clip, int(generator.integers(-SEMITONES, SEMITONES + 1)))
        clips.append(clip)
    xs, real = pad(clips)
    missing = xs.isnan()
    observed = ~missing if bool(missing.any()) else None
    seeds = torch.from_numpy(generator.integers(0, 2**62, len(clips), dtype=np.int64))
    return Clip.whole(xs.nan_to_num(), real, seeds, pad_drive(clips), observed)
