"""Networks as operations of a plan (`avf_core.native.plan`): what each computes in evaluation.

The law: a net of another class, also a derived one, has no description: Undescribed names it, and torch computes it.
"""

import torch.nn.functional as F
from torch import nn

from avf_core.native.plan import ActivationName, Program, Register, Undescribed
from avf_core.nets.dense import MLP, Activation, GaussianNet, Highway, clipped_leaky_relu

_NAMES: dict[Activation, ActivationName] = {F.relu: "relu", F.elu: "elu", clipped_leaky_relu: "clipped_leaky_relu"}


def activation_name(activation: Activation) -> ActivationName:
    """The name of an activation in plans."""
    if activation not in _NAMES:
        raise Undescribed(f"the activation {activation} has no description")
    return _NAMES[activation]


def described(program: Program, net: nn.Module, read: Register) -> tuple[Register, ...]:
    """What a net makes of a register: one register, or for a Gaussian its mean and its log-variance."""
    if type(net) is nn.Linear:
        return (program.linear(read, net),)
    if type(net) is MLP:
        for layer in net.layers:
            read = program.linear(read, _linear(layer), activation=activation_name(net.activation))
        return (read,)
    if type(net) is GaussianNet:
        (features,) = described(program, net.trunk, read)
        log_variance = program.linear(features, net.log_variance, activation="clamp", limits=net.range)
        return program.linear(features, net.mean), log_variance
    if type(net) is Highway:
        return (program.highway(read, net.linears()),)
    if type(net) is nn.Sequential:
        found: tuple[Register, ...] = (read,)
        for part in net:
            found = described(program, part, *found)
        return found
    raise Undescribed(f"{type(net).__name__} has no description")


def _linear(layer: nn.Module) -> nn.Linear:
    if type(layer) is not nn.Linear:
        raise Undescribed(f"{type(layer).__name__} has no description")
    return layer
