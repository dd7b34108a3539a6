"""The exceptions of the library, one tree: catch `AvfError` for all of them.

Each message says what was wrong, what was expected and what to do.
"""


class AvfError(Exception):
    """The root of every error that avf_core raises on purpose."""


class ObservationError(AvfError, ValueError):
    """An observation does not fit the model: its shape, its range, or values that are not finite."""


class InputError(ObservationError):
    """Inputs do not fit the model: missing, of another size, not finite, or given to a model that takes none."""


class TimeStepError(ObservationError):
    """A dt that is no time since the observation before: zero, negative or not finite; or of a model without."""


class BeliefFormatError(AvfError, ValueError):
    """Bytes that should hold a belief do not: truncated, of another model, or of another version."""


class ConfigurationError(AvfError, ValueError):
    """A preset, a model or an option that does not exist, or a value out of its range."""


class PluginError(ConfigurationError):
    """A plug-in of another package that is missing, is none, or is named by a file that may not have it imported."""


class CheckpointError(AvfError, ValueError):
    """A checkpoint that cannot be read: missing files, a truncated file, or weights of another shape."""


class DataError(AvfError, ValueError):
    """A data file that cannot be read as what it claims to be."""


class TrainingError(AvfError, RuntimeError):
    """Training cannot go on, for example because every gradient is non-finite."""
