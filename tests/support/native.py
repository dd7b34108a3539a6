"""The native executor under test: built for this machine where there is a compiler."""

import functools

import pytest

from avf_core.native import build, library
from avf_core.native.library import Library


@functools.cache
def built() -> Library | None:
    """The library, built first where it is not."""
    build.build(build.here(), build.cache())
    library.load.cache_clear()
    return library.load()


def needed() -> Library:
    """The library; the test is skipped where there is none."""
    found = built()
    if found is None:
        pytest.skip(f"no native executor: {library.why_not()}")
    return found
