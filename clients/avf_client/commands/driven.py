"""What comes with the rows of a table, for models that take it: inputs by their names, and times.

The law: columns are found by name. Those of the observation are the ones that are asked for, or the model's channels;
those of the inputs are the ones that are asked for, or the model's inputs; none of these may be missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import avf_wire as wire
import numpy as np
from avf_sources import Options, Recording, read
from numpy.typing import NDArray

from avf_client.errors import InvalidArgument
from avf_client.observations import Step


@dataclass(frozen=True, kw_only=True, eq=False)
class Driven:
    """A recording, with the inputs (T, U) of each of its rows and their times (T,), where the model takes these."""

    recording: Recording
    inputs: NDArray[np.float64] | None = None
    times: NDArray[np.float64] | None = None

    def steps(self, limit: int | None = None) -> Iterator[Step]:
        """The rows as they are sent, all or the first ones."""
        for row, x in enumerate(self.recording.frames[:limit]):
            yield Step(
                x,
                None if self.inputs is None else self.inputs[row],
                None if self.times is None else float(self.times[row]),
            )


def alone(recording: Recording, *, info: wire.ModelInfo, inputs: Sequence[str]) -> Driven:
    """A recording for a model that takes no inputs. Raises InvalidArgument where some are named."""
    if inputs:
        raise InvalidArgument(f"the model {info.name} takes no inputs: leave --inputs out")
    return Driven(recording=recording, times=_times(recording, info))


def read_driven(
    file: str, options: Options, *, kind: str | None, info: wire.ModelInfo, inputs: Sequence[str]
) -> Driven:
    """A table by the names of a model's channels and of its inputs, or by those that are asked for.

    Raises SourceError, and InvalidArgument.
    """
    if inputs and not info.input_size:
        raise InvalidArgument(f"the model {info.name} takes no inputs: leave --inputs out")
    observed = options.channels or tuple(info.channels or ())
    moved = tuple(inputs) or tuple(info.inputs or ())
    for names, of, option, size in (
        (observed, "observations", "--channel", info.observation_size),
        (moved, "inputs", "--inputs", info.input_size),
    ):
        if len(names) != size:
            raise InvalidArgument(
                f"{len(names)} columns are named for the {size} {of} of {info.name}: name each by {option} COLUMN"
            )
    both = sorted({*observed} & {*moved})
    if both:
        raise InvalidArgument(f"{', '.join(both)} is named as an observation and as an input: name it in one")
    found = read(file, replace(options, channels=(*observed, *moved)), kind=kind)
    if len(found.channels) != len(observed) + len(moved):
        raise InvalidArgument(f"{found.name} has no columns with names, by which inputs are found: give a table")
    frames, given = np.split(found.frames, [len(observed)], axis=1)
    if np.isnan(given).any():
        row, column = np.argwhere(np.isnan(given))[0]
        raise InvalidArgument(
            f"{found.name} has no value of the input {moved[column]} in row {row + 1}: inputs may not be missing"
        )
    recording = replace(found, frames=frames, channels=found.channels[: len(observed)])
    return Driven(recording=recording, inputs=given if moved else None, times=_times(found, info))


def _times(recording: Recording, info: wire.ModelInfo) -> NDArray[np.float64] | None:
    """When each row was, by the file itself, for a model that takes times. Raises InvalidArgument where it asks."""
    if info.calendar and recording.times is None:
        raise InvalidArgument(f"the model {info.name} hears the calendar: name the column of times by --time")
    return recording.began + recording.times if info.timed and recording.times is not None else None
