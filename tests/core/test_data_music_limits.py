"""The limits of music for data sets: the reader's own, by the names of `--data-option`."""

from pathlib import Path

import pytest
from music21 import note, stream

from avf_core import data
from avf_core.errors import ConfigurationError, DataError


def test_limits_of_music_are_options(tmp_path: Path) -> None:
    """A piece of four quarters is more than three frames, and fewer than five; a limit of nothing is none."""
    stream.Score([stream.Part([note.Note("C4", quarterLength=1.0) for _ in range(4)])]).write(
        "midi", tmp_path / "a.mid"
    )
    assert len(data.load(tmp_path / "a.mid", "test", options={"max_frames": 4})[0]) == 4
    with pytest.raises(DataError, match=r"claims 4 frames.*--data-option max_frames=N"):
        data.load(tmp_path / "a.mid", "test", options={"max_frames": 3})
    for option in ("max_frames", "max_bytes"):
        with pytest.raises(ConfigurationError, match="expected at least 1"):
            data.load(tmp_path / "a.mid", "test", options={option: 0})
