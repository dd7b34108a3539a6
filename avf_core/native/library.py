"""The executor's library: found, loaded once, and tried."""

import ctypes
import functools
from pathlib import Path

from avf_core.native import build
from avf_core.native._layout import of_library


class Library:
    """A loaded library and the name of its instructions."""

    def __init__(self, path: Path, variant: str) -> None:
        self.functions = of_library(ctypes.CDLL(str(path)))
        self.variant = variant

    @property
    def mixes(self) -> bool:
        """Whether it multiplies in bfloat16."""
        return self.variant in ("amx", "avx512bf16")


@functools.cache
def load() -> Library | None:
    """The best library that is built and that this machine runs; None where there is none."""
    for variant in build.fitting():
        for folder in (build.PACKAGED, build.cache()):
            path = folder / build.library_name(variant)
            if path.is_file() and (found := Library(path, variant)).functions.avf_usable():
                return found
    return None


def why_not() -> str:
    """Why there is no library, and what to do."""
    if not build.fitting():
        return "there is none for this kind of machine"
    return "it is not built: with a C++ compiler, `python -m avf_core.native.build` builds it"
