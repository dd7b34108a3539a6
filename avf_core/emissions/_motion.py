"""A small convolutional network that hears the last frames and says, place by place, what comes next.

It hears the last frame, differences of successive ones and how much moved nearby, at three resolutions.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FASTER = 10.0  # what differences are multiplied by, to be on the scale of one
STILL = 1e-3  # added to movement, of which the logarithm is heard
SMALL = 0.1  # of the last layer's weights at first


class Motion(nn.Module):
    """Frames, the newest first, to `numbers` maps; sides are multiples of four."""

    def __init__(self, frames: int, channels: int, numbers: int) -> None:
        super().__init__()
        c = channels
        self.fine = nn.Conv2d(frames + (1 if frames > 1 else 0), c, 5, padding=2)
        self.halve = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1)
        self.near = nn.Conv2d(2 * c, 2 * c, 3, padding=1)
        self.far = nn.Conv2d(2 * c, 2 * c, 3, padding=2, dilation=2)
        self.quarter = nn.Conv2d(2 * c, 3 * c, 3, stride=2, padding=1)
        self.whole = nn.Conv2d(3 * c, 3 * c, 3, padding=2, dilation=2)
        self.doubled = nn.ConvTranspose2d(3 * c, 2 * c, 4, stride=2, padding=1)
        self.wider = nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1)
        self.said = nn.Conv2d(2 * c, numbers, 3, padding=1)
        with torch.no_grad():
            self.said.weight.mul_(SMALL)
            nn.init.zeros_(self.said.bias)  # type: ignore[arg-type]

    def forward(
        self, frames: Float[Tensor, "batch frames height width"]
    ) -> Float[Tensor, "batch numbers height width"]:
        """Pixels lie on the scale of one."""
        fine = F.elu(self.fine(self._heard(frames)))
        half = F.elu(self.halve(fine))
        half = half + F.elu(self.near(half))
        half = half + F.elu(self.far(half))
        quarter = F.elu(self.quarter(half))
        quarter = quarter + F.elu(self.whole(quarter))
        half = half + F.elu(self.doubled(quarter))
        said: Tensor = self.said(torch.cat([fine, F.elu(self.wider(half))], dim=1))
        return said

    def _heard(self, frames: Tensor) -> Tensor:
        """Maps of the last frame, of differences, and of movement."""
        newest = frames[:, :1] - 0.5
        if frames.shape[1] == 1:
            return newest
        differences = frames[:, :-1] - frames[:, 1:]
        moved = F.avg_pool2d(differences[:, :1].abs(), 3, 1, 1)
        return torch.cat([newest, FASTER * differences, torch.log(moved + STILL) + 4.0], dim=1)
