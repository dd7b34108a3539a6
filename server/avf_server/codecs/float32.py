"""Raw little-endian float32, row after row: observations only. `seq` stands in the address. A missing number is NaN."""

import numpy as np
from numpy.typing import NDArray

from avf_server.codecs.base import Place, Steps, check_raw

WIDTH = 4  # bytes of a number


class Float32Codec:
    """Observations as an array of shape (T, D), row-major."""

    media_type = "application/vnd.avf.float32"

    def steps(self, body: bytes, *, place: Place, size: int, most: int) -> Steps:
        """The rows of the array. Raises MalformedBodyError as `check_raw` does."""
        seq = check_raw(body, place=place, size=size, most=most, of="numbers", width=WIDTH)
        rows = np.frombuffer(body, dtype="<f4").reshape(-1, size)
        return Steps(seq=seq, epoch=place.epoch, observations=list(rows))


codec = Float32Codec()


def write_example(rows: NDArray[np.float32], *, seq: int) -> tuple[bytes, Place]:
    """The bytes of the array."""
    return rows.astype("<f4").tobytes(), Place(seq=seq, epoch=None)
