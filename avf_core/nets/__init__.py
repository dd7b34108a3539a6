"""Networks that the models and inference procedures share."""

from avf_core.nets.dense import (
    ACTIVATIONS,
    MLP,
    Activation,
    ActivationName,
    GaussianNet,
    Highway,
    clipped_leaky_relu,
)
from avf_core.nets.described import activation_name, described
from avf_core.nets.recorded import Record, RecordedHighways
from avf_core.nets.recurrent import LearnedStartLSTM
from avf_core.nets.sloped import activate, with_backward

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Activation",
    "ActivationName",
    "GaussianNet",
    "Highway",
    "LearnedStartLSTM",
    "Record",
    "RecordedHighways",
    "activate",
    "activation_name",
    "clipped_leaky_relu",
    "described",
    "with_backward",
]
