"""The text of a MusicXML file, plain or compressed (.mxl), chunk by chunk.

The law: what an archive says of its sizes is judged before anything is unpacked: the bytes themselves, and how many
times its size it claims to be. Of its members the score that META-INF/container.xml names first is read.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from avf_sources._errors import SourceError
from avf_sources._limits import Limits
from avf_sources._piece import DamagedError
from avf_sources._xml import walk

MAGIC = b"PK"
CONTAINER = "META-INF/container.xml"
RATIO = 100
"""Scores are packed to a tenth or a fortieth; no score is a hundredth."""
SMALL = 256
"""What claims less than this part of max_bytes may be packed as tightly as it likes."""
_CHUNK = 1 << 16
_CONTAINER_BYTES = 1 << 20
_MUSIC = ("application/vnd.recordare.musicxml+xml", "application/vnd.recordare.musicxml", None)
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, UnicodeError),
    *(EOFError, KeyError, NotImplementedError, OSError, RuntimeError, ValueError),
)
"""What zipfile raises for archives that are none, or are of no use: each of these was met."""


def text(name: str, path: Path, limits: Limits) -> Iterator[bytes]:
    """The bytes of the score. Raises DamagedError, and SourceError where it is too large."""
    with path.open("rb") as file:
        packed = file.read(len(MAGIC)) == MAGIC
    if packed:
        yield from _unpacked(name, path, limits)
        return
    limits.check_bytes(name, path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _unpacked(name: str, path: Path, limits: Limits) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            score = archive.getinfo(_score(name, archive, limits))
            _check(name, score, path.stat().st_size, limits)
            with archive.open(score) as member:
                while chunk := member.read(_CHUNK):
                    yield chunk
    except (DamagedError, SourceError):
        raise
    except _DAMAGE as error:
        raise DamagedError(
            f"its archive may be truncated, export it again ({error or type(error).__name__})"
        ) from error


def _score(name: str, archive: zipfile.ZipFile, limits: Limits) -> str:
    """The name of the score within an archive."""
    names = archive.namelist()
    if CONTAINER not in names:
        found = [n for n in names if n.lower().endswith((".musicxml", ".xml")) and not n.startswith("META-INF/")]
        if len(found) != 1:
            raise DamagedError(f"its archive has no {CONTAINER}, and {len(found)} scores")
        return found[0]
    with archive.open(CONTAINER) as member:
        container = member.read(_CONTAINER_BYTES)
    for path, element in walk(name, [container], limits, wanted=frozenset({"rootfile"})):
        if path and element.get("media-type") in _MUSIC:
            return element.get("full-path", "")
    raise DamagedError(f"the {CONTAINER} of its archive names no score")


def _check(name: str, score: zipfile.ZipInfo, size: int, limits: Limits) -> None:
    limits.check_bytes(name, score.file_size)
    packed = max(min(score.compress_size, size), 1)
    if score.file_size > RATIO * packed and score.file_size * SMALL > limits.max_bytes:
        raise SourceError(
            f"{name} cannot be read: {packed} bytes of it claim to unpack to {score.file_size}, more than {RATIO} "
            f"times as many; where that is no damage, raise max_bytes to {SMALL * score.file_size}"
        )
