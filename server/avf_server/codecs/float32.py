"""Raw little-endian float32, row after row: observations only. `seq` stands in the address. A missing number is NaN.

Inputs and the time of an observation follow it in its row: `avf_wire.rows`.
"""

import numpy as np
from avf_wire.rows import RowForm
from numpy.typing import NDArray

from avf_server.codecs.base import Place, Steps, check_raw

WIDTH = 4  # bytes of a number


class Float32Codec:
    """Observations as an array of shape (T, words), row-major."""

    media_type = "application/vnd.avf.float32"

    def steps(self, body: bytes, *, place: Place, form: RowForm, most: int) -> Steps:
        """The rows of the array. Raises MalformedBodyError as `check_raw` does."""
        seq = check_raw(body, place=place, size=form.words, most=most, of=_said(form), width=WIDTH)
        rows = np.frombuffer(body, dtype="<f4").reshape(-1, form.words)
        return Steps(seq=seq, epoch=place.epoch, observations=[form.observed(row) for row in rows])


def _said(form: RowForm) -> str:
    inputs = f", {form.input_size} inputs of 4 bytes" if form.input_size else ""
    return f"{form.size} numbers of {WIDTH} bytes{inputs}{', a time of 8 bytes' if form.timed else ''}"


codec = Float32Codec()


def write_example(rows: NDArray[np.float32], *, seq: int) -> tuple[bytes, Place]:
    """The bytes of the array."""
    return rows.astype("<f4").tobytes(), Place(seq=seq, epoch=None)
