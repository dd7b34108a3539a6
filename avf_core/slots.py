"""Beliefs of many sessions on a device, in slots: a tick gathers some, steps them, and scatters them back.

    numbers and observations (pinned) -> device -> gather, step, scatter -> what was found -> pinned -> one wait

A slot is a cache, never the truth: `take` gives the belief that is to be kept, and `put` brings one. Ticks are padded
to a few sizes, with rows of a slot that belongs to nobody; on CUDA each size is captured once as a graph, so that a
tick is three copies and a launch, and the host waits once, for the numbers it answers with.

The law: a tick gives what `Filter.step` gives for the same beliefs. It looks at no number on the device on its way, as
a graph cannot; so observations are checked on the host, and all of them are whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from avf_core.beliefs import Belief
from avf_core.distributions import Gaussian
from avf_core.drives import FREE
from avf_core.errors import ConfigurationError, ObservationError
from avf_core.filtering import Filter
from avf_core.inference.base import CONFIGURED
from avf_core.trees import take, tree_map

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
WARM_UPS = 3  # steps before a graph is captured: libraries choose their ways, and constants come to the device


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a tick tells of its sequences, on the host; in nats where it is energy."""

    free_energy: Float[Tensor, " batch"]
    reconstruction: Float[Tensor, " batch"]
    kl: Float[Tensor, " batch"]
    prior: Gaussian
    posterior: Gaussian


class Slots:
    """Room for `capacity` beliefs of a filter, on the device where its parameters are."""

    def __init__(self, filter: Filter, capacity: int) -> None:
        if capacity < 1:
            raise ConfigurationError(f"capacity is {capacity}, expected a number of beliefs from 1 up")
        self.filter, self.capacity = filter, capacity
        self.device = next(filter.parameters()).device
        nobody = torch.arange(capacity + 1, device=self.device)  # the last slot pads
        self._kept = tree_map(torch.clone, filter.initial(nobody))
        self._runs: dict[int, _Run] = {}

    @torch.inference_mode()
    def put(self, slots: Sequence[int], belief: Belief) -> None:
        """Lay the rows of a belief into these slots."""
        self._scatter(self._numbers(slots), tree_map(lambda tensor: tensor.to(self.device), belief))

    @torch.inference_mode()
    def take(self, slots: Sequence[int]) -> Belief:
        """The beliefs in these slots, on the device."""
        return take(self._kept, self._numbers(slots))

    @torch.inference_mode()
    def tick(self, slots: Sequence[int], x: Float[Tensor, "batch observation"]) -> Found:
        """One step of the beliefs in these slots, each at most once; x is on the host.

        Raises ObservationError where x does not fit, ConfigurationError where a slot stands twice or is none.
        """
        if len(x) != len(slots):
            raise ObservationError(f"{len(x)} observations for {len(slots)} slots: expected one a slot")
        if len(set(slots)) != len(slots):
            raise ConfigurationError(f"slots {list(slots)}: expected each at most once, as its steps follow each other")
        self.filter.model.observation.check(x)
        size = next((size for size in SIZES if size >= len(slots)), len(slots))
        if size not in self._runs:
            self._runs[size] = _Run(self, size)
        return self._runs[size].made(self._numbers(slots, on=torch.device("cpu")), x)

    def step(self, numbers: Int64[Tensor, " rows"], x: Float[Tensor, "rows observation"]) -> Float[Tensor, "rows told"]:
        """Gather, step, scatter, all on the device: what is told of each row, side by side."""
        belief = take(self._kept, numbers)
        following, estimate = self.filter.step_rows(belief, x, observed=None, drive=FREE, effort=CONFIGURED)
        self._scatter(numbers, following)
        scalars = [estimate.free_energy, estimate.reconstruction, estimate.kl]
        moments = [estimate.prior.mean, estimate.prior.log_variance]
        moments += [estimate.posterior.mean, estimate.posterior.log_variance]
        return torch.cat([torch.stack(scalars, dim=-1), *moments], dim=-1)

    def told(self, rows: Float[Tensor, "batch told"]) -> Found:
        """By name, what `step` told."""
        moments = rows[:, 3:].reshape(len(rows), 4, self.filter.model.latent_size).unbind(1)
        prior, posterior = Gaussian(moments[0], moments[1]), Gaussian(moments[2], moments[3])
        free_energy, reconstruction, kl = rows[:, :3].unbind(-1)
        return Found(free_energy=free_energy, reconstruction=reconstruction, kl=kl, prior=prior, posterior=posterior)

    def _scatter(self, numbers: Tensor, belief: Belief) -> None:
        tree_map(lambda kept, rows: kept.index_copy_(0, numbers, rows), self._kept, belief)

    def _numbers(self, slots: Sequence[int], on: torch.device | None = None) -> Int64[Tensor, " rows"]:
        if not all(0 <= slot < self.capacity for slot in slots):
            raise ConfigurationError(f"slots {list(slots)}: expected numbers from 0 to {self.capacity - 1}")
        return torch.tensor(list(slots), dtype=torch.int64, device=on or self.device)


class _Run:
    """Ticks of one padded size: its buffers on both sides and, on CUDA, its graph."""

    def __init__(self, slots: Slots, size: int) -> None:
        self.slots, self.size = slots, size
        pinned = slots.device.type == "cuda"
        width = slots.filter.model.observation.size
        self.numbers = torch.full((size,), slots.capacity, dtype=torch.int64, pin_memory=pinned)
        self.x = torch.zeros(size, width, dtype=torch.float32, pin_memory=pinned)
        self.on_device = self.numbers.to(slots.device), self.x.to(slots.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.rows: Tensor = slots.step(*self.on_device)
        if slots.device.type == "cuda":
            self._capture()
        self.told = torch.empty(self.rows.shape, dtype=self.rows.dtype, pin_memory=pinned)

    def made(self, numbers: Tensor, x: Tensor) -> Found:
        """One tick; rows beyond those asked for pad it, with the last observation."""
        count = len(numbers)
        self.numbers[:count], self.numbers[count:] = numbers, self.slots.capacity
        self.x[:count], self.x[count:] = x, x[-1] if count else 0.0
        for there, here in zip(self.on_device, (self.numbers, self.x), strict=True):
            there.copy_(here, non_blocking=True)
        if self.graph is None:
            self.rows = self.slots.step(*self.on_device)
        else:
            self.graph.replay()
        self.told.copy_(self.rows, non_blocking=True)
        if self.slots.device.type == "cuda":
            torch.cuda.current_stream(self.slots.device).synchronize()
        return self.slots.told(self.told[:count].clone())

    def _capture(self) -> None:
        """The step as a graph, captured after a few on a stream of its own."""
        stream = torch.cuda.Stream(self.slots.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.slots.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.slots.step(*self.on_device)
        torch.cuda.current_stream(self.slots.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.rows = self.slots.step(*self.on_device)
