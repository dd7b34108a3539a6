"""Devices that are not there are one error, whatever torch makes of each."""

import pytest
import torch

from avf_core import checkpoints, devices
from avf_core.errors import ConfigurationError

ABSENT = ["abacus", "", "cuda:x", "meta", *([] if torch.cuda.is_available() else ["cuda", "cuda:7"])]


@pytest.mark.parametrize("name", [*ABSENT, *([] if torch.xpu.is_available() else ["xpu"])])
def test_a_device_that_is_not_there_is_one_line(name: str) -> None:
    """It names the device, says why, and which there are."""
    with pytest.raises(ConfigurationError) as caught:
        devices.device(name)
    text = str(caught.value)
    assert text.startswith(f"the device {name!r} is not there (")
    assert "there are cpu" in text
    assert "\n" not in text


def test_the_devices_that_there_are_can_be_used() -> None:
    """Each name that the error gives is one."""
    for name in devices.available():
        assert devices.device(name) == torch.device(name)


def test_checkpoints_are_put_on_no_device_that_is_not_there() -> None:
    """By the same error."""
    with pytest.raises(ConfigurationError, match="the device 'abacus' is not there"):
        checkpoints.load("srnn-jsb", device="abacus")
