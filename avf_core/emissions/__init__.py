"""Emissions: how a decoder's output becomes a likelihood, one a file; the file's name is the emission's name."""

from avf_core.emissions._building import build, named, names
from avf_core.emissions.base import EIGHT_BITS, SIXTEEN_BITS, Emission, Units

__all__ = ["EIGHT_BITS", "SIXTEEN_BITS", "Emission", "Units", "build", "named", "names"]
