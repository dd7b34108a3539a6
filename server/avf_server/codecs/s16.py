"""Raw little-endian 16-bit integers: observations of sound, and no inputs. `seq` is in the address. k is k / 32768."""

import numpy as np
from avf_wire.binary import WIDTHS, to_numbers
from avf_wire.rows import Observed, RowForm
from numpy.typing import NDArray

from avf_server.codecs.base import Place, Steps, check_raw

WIDTH = WIDTHS["s16"]


class S16Codec:
    """Observations as an array of shape (T, D), row-major; none is missing."""

    media_type = "application/vnd.avf.s16"

    def steps(self, body: bytes, *, place: Place, form: RowForm, most: int) -> Steps:
        """The rows of the array. Raises MalformedBodyError as `check_raw` does."""
        of = f"{form.size} samples of {WIDTH} bytes"
        seq = check_raw(body, place=place, size=form.size, most=most, of=of, width=WIDTH)
        rows = to_numbers(body, encoding="s16").reshape(-1, form.size)
        return Steps(seq=seq, epoch=place.epoch, observations=[Observed(x=row) for row in rows])


codec = S16Codec()


def write_example(rows: NDArray[np.float32], *, seq: int) -> tuple[bytes, Place]:
    """The bytes of the array."""
    return np.rint(rows * 32768.0).astype("<i2").tobytes(), Place(seq=seq, epoch=None)
