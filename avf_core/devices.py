"""Devices by name, tried before anything is put there.

The law: a device that is not there, of whatever kind, is one error that names those there are. torch has
another one for each.
"""

import torch

from avf_core.errors import ConfigurationError


def device(name: str) -> torch.device:
    """The device of this name, such as `cpu` or `cuda:0`, tried by a computation. Raises ConfigurationError."""
    try:
        found = torch.device(name)
        torch.ones(1, device=found).add(1).item()
    except Exception as error:  # RuntimeError, AssertionError or NotImplementedError, by what is missing
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigurationError(
            f"the device {name!r} is not there ({why}); there are {', '.join(available())}"
        ) from None
    return found


def available() -> list[str]:
    """The names of the devices of this machine that this build of torch can use."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if accelerator is not None else 0
    return ["cpu", *(f"{accelerator.type}:{i}" for i in range(count) if accelerator is not None)]
