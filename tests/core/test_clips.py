"""Where clips begin and how far they are moved: every place and every shift that there is, and no other."""

from collections.abc import Iterator

import numpy as np

from avf_core.training.clips import SEMITONES, batches_per_epoch, clip_batch
from avf_core.training.config import TrainingConfig

LENGTH, COUNT, EPOCHS = 5, 40, 10


def clips(sequence: np.ndarray, config: TrainingConfig) -> Iterator[np.ndarray]:
    """The clips of some epochs over so many copies of a sequence."""
    sequences = [sequence] * COUNT
    for epoch in range(EPOCHS):
        for position in range(batches_per_epoch(sequences, config)):
            yield from clip_batch(sequences, config, epoch, position).xs.transpose(0, 1).numpy()


def test_clips_begin_anywhere_from_the_first_frame_to_the_last_whole_clip() -> None:
    """Of eight frames, clips of five begin at the first four; a sequence of five has one clip, and shorter ones too."""
    config = TrainingConfig(clip_length=LENGTH, batch_size=16)
    for frames, starts in ((LENGTH + 3, {0, 1, 2, 3}), (LENGTH, {0}), (LENGTH - 2, {0})):
        numbered = np.arange(frames, dtype=np.float32)[:, None]
        found = list(clips(numbered, config))
        assert len(found) == COUNT * EPOCHS
        assert {int(clip[0, 0]) for clip in found} == starts
        for clip in found:
            np.testing.assert_array_equal(clip[:, 0], clip[0, 0] + np.arange(min(frames, LENGTH)))


def test_rolls_are_moved_by_up_to_half_an_octave_either_way() -> None:
    """Both ends included."""
    roll = np.zeros((LENGTH, 88), np.uint8)
    roll[:, 40] = 1
    found = clips(roll, TrainingConfig(clip_length=LENGTH, batch_size=16, transpose=1.0))
    assert {int(np.flatnonzero(clip[0])[0]) - 40 for clip in found} == set(range(-SEMITONES, SEMITONES + 1))


def test_an_epoch_has_every_sequence_once() -> None:
    """In batches, of which the last is what is left, in an order of each epoch's own."""
    sequences = [np.full((LENGTH, 1), float(i), np.float32) for i in range(37)]
    config = TrainingConfig(clip_length=LENGTH, batch_size=16)
    assert batches_per_epoch(sequences, config) == 3
    orders = []
    for epoch in range(2):
        batches = [clip_batch(sequences, config, epoch, position).xs[0, :, 0].tolist() for position in range(3)]
        assert [len(batch) for batch in batches] == [16, 16, 5]
        orders.append([int(number) for batch in batches for number in batch])
        assert sorted(orders[-1]) == list(range(37))
    assert orders[0] != orders[1]
