"""Data sets, one a file: `load(path, split)` gives sequences in natural units, `describe(path)` says what they are.

`base` says what a plug-in is; docs/data.md lists the kinds.
"""

from avf_core.data._driven import Driven, input_statistics, knows_time, usual_dt
from avf_core.data._loading import Description, Source, describe, load, recognise
from avf_core.data._numbers import numbers
from avf_core.data._statistics import channel_statistics, statistics
from avf_core.data.base import Sequences

__all__ = [
    "Description",
    "Driven",
    "Sequences",
    "Source",
    "channel_statistics",
    "describe",
    "input_statistics",
    "knows_time",
    "load",
    "numbers",
    "recognise",
    "statistics",
    "usual_dt",
]
