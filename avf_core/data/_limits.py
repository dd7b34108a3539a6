"""The most that is read of a file of a data set: options that all kinds have, the readers' limits by the same names."""

from dataclasses import dataclass

import avf_sources

from avf_core.errors import ConfigurationError, DataError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a file may be.

    `max_bytes`: once decoded. `max_frames`: time steps. Raises ConfigurationError where a limit is none.
    """

    max_bytes: int = avf_sources.Limits.max_bytes
    max_frames: int = avf_sources.Limits.max_frames

    def __post_init__(self) -> None:
        for option in ("max_bytes", "max_frames"):
            if getattr(self, option) < 1:
                raise ConfigurationError(f"{option} is {getattr(self, option)}, expected at least 1")

    @property
    def of_source(self) -> avf_sources.Options:
        """The same for a reader of users' files."""
        return avf_sources.Options(max_bytes=self.max_bytes, max_frames=self.max_frames)

    def check_frames(self, name: object, count: int) -> None:
        """Raise DataError where so many time steps are too many."""
        try:
            self.of_source.check_frames(name, count)
        except avf_sources.SourceError as error:
            raise DataError(str(error)) from error
