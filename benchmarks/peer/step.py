"""One filtering step as a function of bytes: what every peer calls, on torch.

The belief of a session is the file that this package makes of it, so that it can lie in Redis between two requests.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from avf_core import beliefs, checkpoints
from avf_core.native import running
from avf_core.trees import concatenate, take


class Stepper:
    """A checkpoint's filter that steps sessions, one or several at once, on one thread."""

    def __init__(self, model: str) -> None:
        torch.set_num_threads(1)
        running.choose("off")
        self.filter = checkpoints.load(model).filter.eval().requires_grad_(False)

    @torch.inference_mode()
    def step(self, kept: Sequence[bytes | None], xs: Sequence[Sequence[float]]) -> tuple[list[bytes], list[Any]]:
        """The beliefs after an observation of each session, and what is answered; None is kept of a new session."""
        before = [self._belief(data, seed) for seed, data in enumerate(kept)]
        belief, estimate = self.filter.step(concatenate(before), torch.tensor(xs))
        rows = range(len(xs))
        after = [beliefs.to_bytes(take(belief, slice(row, row + 1))) for row in rows]
        said = {
            "free_energy": estimate.free_energy,
            "reconstruction": estimate.reconstruction,
            "kl": estimate.kl,
            "iterations": estimate.iterations,
            "mean": estimate.posterior.mean,
            "log_variance": estimate.posterior.log_variance,
        }
        lists = {name: tensor.tolist() for name, tensor in said.items()}
        return after, [{name: values[row] for name, values in lists.items()} for row in rows]

    def _belief(self, data: bytes | None, seed: int) -> beliefs.Belief:
        return self.filter.initial(torch.tensor([seed])) if data is None else beliefs.from_bytes(data)


def options() -> argparse.Namespace:
    """What every peer is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--redis", required=True, help="the path of its socket")
    return parser.parse_args()
