"""What a session keeps beside its belief to judge steps by, as bytes: of its reference of signs, and of its detector.

The law: what is of another length than this model's is nothing, and what listens begins anew.
"""

from typing import NamedTuple

NUMBER = 4  # bytes


class Listening(NamedTuple):
    """What each has kept; None where that is nothing."""

    signs: bytes | None
    detector: bytes | None


def split(kept: bytes | None, width: int) -> Listening:
    """Of a session whose reference keeps `width` numbers, 0 for none; the detector has the rest."""
    length = NUMBER * width
    if kept is None or len(kept) < length:
        return Listening(None, None)
    return Listening(kept[:length] or None, kept[length:] or None)


def join(signs: bytes | None, detector: bytes | None) -> bytes | None:
    """Both together, None where there is nothing."""
    return b"".join(part for part in (signs, detector) if part is not None) or None
