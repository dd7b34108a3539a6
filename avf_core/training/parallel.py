"""Data-parallel training: the same run on several processes, one process being the case of one.

Under `torchrun` each process takes its rows of every clip batch, and gradients are summed over all. The law: loss and
gradients are those of the whole batch, divided by its frames, whatever the number of processes; and every decision
(to skip an update, to stop, which checkpoint is best) is the same everywhere.
"""

import importlib
import os
import struct
from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from avf_core import devices
from avf_core.training.em import Clip
from avf_core.trees import tree_map


class Group:
    """The processes of a run. Without `torchrun` there is one, and nothing is sent.

    `device` is that of this process: the named one, else its own accelerator where there is one.
    """

    def __init__(self, device: str | None = None) -> None:
        found = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
        self.device = devices.device(device or found)
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1 and not dist.is_initialized():
            # An optimiser imports this. Imported after the group is made, it would keep the group, and its threads,
            # beyond `close`, and a thread that outlives the interpreter aborts the process.
            importlib.import_module("torch._dynamo")
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def rows(self, clip: Clip) -> Clip:
        """This process's rows of a clip batch; with fewer rows than processes, one that counts for nothing."""
        if self.size == 1:
            return clip
        mine = torch.arange(len(clip.seeds))[self.rank :: self.size]
        real = clip.real
        if not len(mine):
            mine, real = torch.tensor([0]), torch.zeros_like(real)
        return Clip(
            xs=clip.xs[:, mine],
            real=real[:, mine],
            seeds=clip.seeds[mine],
            frames=clip.frames,
            sequences=clip.sequences,
            drive=tree_map(lambda tensor: tensor[:, mine], clip.drive),
            observed=None if clip.observed is None else clip.observed[:, mine],
        )

    def add_gradients(self, module: nn.Module) -> None:
        """Replace each gradient by its sum over the processes, in one message."""
        if self.size == 1:
            return
        parameters = [p for p in module.parameters() if p.grad is not None]
        if not parameters:
            return
        flat = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
        dist.all_reduce(flat)
        parts = torch.split(flat, [p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def sums(self, values: Iterable[Tensor]) -> list[float]:
        """Each value's sum over the processes."""
        joined = torch.stack([value.detach().double() for value in values])
        if self.size > 1:
            dist.all_reduce(joined)
        return [float(value) for value in joined]

    def any(self, flag: bool) -> bool:
        """Whether the flag is up anywhere."""
        if self.size == 1:
            return flag
        raised = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return bool(raised)

    def of_leader(self, value: bytes | None) -> bytes | None:
        """The leader's bytes, everywhere; None where it has none."""
        if self.size == 1:
            return value
        length = torch.tensor(-1 if value is None else len(value), device=self.device)
        dist.broadcast(length, src=0)
        if length < 0:
            return None
        mine = value if self.leads else None  # whatever the others hold makes no difference
        data = np.zeros(int(length), np.uint8) if mine is None else np.frombuffer(mine, np.uint8).copy()
        sent = torch.from_numpy(data).to(self.device)
        dist.broadcast(sent, src=0)
        return sent.cpu().numpy().tobytes()

    def figure_of_leader(self, value: float) -> float:
        """The leader's figure, everywhere: machines round differently, and decisions must not."""
        packed = self.of_leader(struct.pack("<d", value))
        assert packed is not None
        return float(struct.unpack("<d", packed)[0])

    def agree(self, module: nn.Module) -> None:
        """Give every process the leader's weights."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)

    def close(self) -> None:
        """Leave the group; its threads end."""
        if dist.is_initialized():
            dist.destroy_process_group()
