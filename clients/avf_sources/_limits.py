"""How much a file may become: what a header claims is held against these before memory is taken.

The law: a limit is met by what is declared (numbers times their size, frames), never by running out of memory; the
error names the option that raises it.
"""

from dataclasses import dataclass

from avf_sources._errors import SourceError

MAX_BYTES = 1 << 30
MAX_FRAMES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that is read of a file. Raises SourceError where a limit is none.

    max_bytes   bytes of what it holds, once decoded
    max_frames  frames: time steps, rows, pictures
    """

    max_bytes: int = MAX_BYTES
    max_frames: int = MAX_FRAMES

    def __post_init__(self) -> None:
        for option in ("max_bytes", "max_frames"):
            if getattr(self, option) < 1:
                raise SourceError(f"{option} is {getattr(self, option)}, expected at least 1")

    def check_bytes(self, name: object, count: int) -> None:
        """Raise SourceError where `name` is `count` bytes, once decoded, and that is too much."""
        self._check(name, count, "bytes once decoded", "max_bytes")

    def check_frames(self, name: object, count: int) -> None:
        """Raise SourceError where `name` has `count` frames, and that is too many."""
        self._check(name, count, "frames", "max_frames")

    def _check(self, name: object, count: int, what: str, option: str) -> None:
        limit = getattr(self, option)
        if count > limit:
            flag = option.replace("_", "-")
            raise SourceError(
                f"{name} cannot be read: it claims {count} {what}, more than the {limit} that are read; where that is "
                f"no damage, raise {option} (avf stream --{flag}, or --data-option {option}=N)"
            )
