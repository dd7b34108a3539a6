"""What is freed is kept for what is allocated next.

The activations of pictures are megabytes that are allocated and freed at every step. An allocator that hands them back
to the system each time gets them again page by page, zeroed, which costs as much as the convolutions.
"""

import ctypes
import functools
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
KEPT = 256 << 20  # bytes, at most
LARGEST = 32 << 20  # bytes of one allocation that is kept: the most that glibc takes


@functools.cache
def keep_freed() -> None:
    """Have glibc keep freed memory in this process; other allocators are left as they are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, LARGEST)
