"""Recurrent networks, whose state is passed in and handed back: a network holds no belief."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from avf_core.native import recurrences
from avf_core.nets.sloped_images import Backward


class LearnedStartLSTM(nn.Module):
    """An LSTM cell (Hochreiter & Schmidhuber 1997) whose initial hidden and cell state are parameters."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(input_size, hidden_size)
        self.initial_hidden = nn.Parameter(torch.zeros(hidden_size))
        self.initial_cell = nn.Parameter(torch.zeros(hidden_size))

    def initial(self, batch_size: int) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
        """The learned start for `batch_size` sequences: hidden and cell state."""
        return self.initial_hidden.repeat(batch_size, 1), self.initial_cell.repeat(batch_size, 1)

    def forward(
        self,
        x: Float[Tensor, "batch input"],
        hidden: Float[Tensor, "batch hidden"],
        cell: Float[Tensor, "batch hidden"],
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
        """One step: the next hidden and cell state."""
        following: tuple[Tensor, Tensor] = self.cell(x, (hidden, cell))
        return following

    def offset(
        self, x: Float[Tensor, "batch part"], hidden: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch gates"]:
        """What the gates hear of the hidden state and of the last inputs, `x`; the rest comes with `with_backward`."""
        heard = F.linear(hidden, self.cell.weight_hh, self.cell.bias_hh + self.cell.bias_ih)
        return heard if x.shape[-1] == 0 else torch.addmm(heard, x, self.cell.weight_ih[:, -x.shape[-1] :].t())

    @torch.no_grad()
    def with_backward(
        self,
        x: Float[Tensor, "*samples batch part"],
        offset: Float[Tensor, "batch gates"],
        cell: Float[Tensor, "batch hidden"],
    ) -> tuple[Float[Tensor, "*samples batch hidden"], Backward]:
        """The next hidden state, where `x` are the first inputs, and the way from its gradient to that of `x`."""
        weight = self.cell.weight_ih[:, : x.shape[-1]]
        gates = x @ weight.t() + offset
        size = cell.shape[-1]
        i, f, o = (torch.sigmoid(gates[..., k * size : (k + 1) * size]) for k in (0, 1, 3))
        g = torch.tanh(gates[..., 2 * size : 3 * size])
        bent = torch.tanh(f * cell + i * g)

        def backward(slope: Tensor) -> Tensor:
            by_cell = torch.ops.aten.tanh_backward(slope * o, bent)
            by_gates = ((by_cell * g, i), (by_cell * cell, f), (slope * bent, o))
            by_i, by_f, by_o = (torch.ops.aten.sigmoid_backward(by, gate) for by, gate in by_gates)
            by_g = torch.ops.aten.tanh_backward(by_cell * i, g)
            return torch.cat([by_i, by_f, by_g, by_o], dim=-1) @ weight

        return o * bent, backward

    def scan(
        self,
        xs: Float[Tensor, "time batch input"],
        hidden: Float[Tensor, "batch hidden"],
        cell: Float[Tensor, "batch hidden"],
    ) -> Float[Tensor, "time batch hidden"]:
        """The hidden states after each of `xs`: the same as `time` calls, with one product for all inputs."""
        return self._states(xs, hidden, cell)[0]

    def trajectory(
        self,
        xs: Float[Tensor, "time batch input"],
        hidden: Float[Tensor, "batch hidden"],
        cell: Float[Tensor, "batch hidden"],
    ) -> tuple[Float[Tensor, "time+1 batch hidden"], Float[Tensor, "time+1 batch hidden"]]:
        """The hidden and cell states before each of `xs`, and after the last of them."""
        hiddens, cells = self._states(xs, hidden, cell)
        return torch.cat([hidden[None], hiddens]), torch.cat([cell[None], cells])

    def _states(self, xs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        projected = F.linear(xs, self.cell.weight_ih, self.cell.bias_ih + self.cell.bias_hh)
        recurring: Callable[..., tuple[Tensor, Tensor]] = _Recurrence.apply
        return recurring(projected, self.cell.weight_hh, hidden, cell)


class _Recurrence(torch.autograd.Function):
    """States after each step, of what the gates hear of all inputs.

    Only the products with hidden states and with their slopes go step by step, natively where that can be; the
    gradient of the weight is one product for all steps.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        native = recurrences.possible(projected, weight, hidden, cell) and len(projected) > 0
        states = (recurrences.forward if native else _forward)(projected, weight, hidden, cell)
        hiddens, cells, gates = states
        ctx.native = native
        ctx.save_for_backward(weight, hidden, cell, hiddens, cells, gates)
        return hiddens, cells

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_hiddens: Tensor, by_cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        weight, hidden, cell, hiddens, cells, gates = ctx.saved_tensors
        back = recurrences.backward if ctx.native else _backward
        by_projected, by_hidden, by_cell = back(weight, cell, cells, gates, by_hiddens, by_cells)
        before = torch.cat([hidden[None], hiddens])[: len(hiddens)].flatten(0, 1)
        return by_projected, by_projected.flatten(0, 1).t() @ before, by_hidden, by_cell


def _forward(projected: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    hiddens, cells, bent = [], [], []
    for step in projected:
        i, f, g, o = torch.addmm(step, hidden, weight.t()).chunk(4, dim=-1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        cell = f * cell + i * g
        hidden = o * torch.tanh(cell)
        hiddens.append(hidden)
        cells.append(cell)
        bent.append(torch.cat([i, f, g, o], dim=-1))
    if not bent:
        return hidden.new_zeros(0, *hidden.shape), cell.new_zeros(0, *cell.shape), projected
    return torch.stack(hiddens), torch.stack(cells), torch.stack(bent)


def _backward(
    weight: Tensor, cell: Tensor, cells: Tensor, gates: Tensor, by_hiddens: Tensor, by_cells: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    by_hidden, by_cell = torch.zeros_like(cell), torch.zeros_like(cell)
    by_projected = torch.empty_like(gates)
    for t in reversed(range(len(gates))):
        i, f, g, o = gates[t].chunk(4, dim=-1)
        bent = torch.tanh(cells[t])
        by_hidden = by_hidden + by_hiddens[t]
        by_cell = by_cell + by_cells[t] + torch.ops.aten.tanh_backward(by_hidden * o, bent)
        before = cells[t - 1] if t else cell
        by_gates = ((by_cell * g, i), (by_cell * before, f), (by_hidden * bent, o))
        by_i, by_f, by_o = (torch.ops.aten.sigmoid_backward(by, gate) for by, gate in by_gates)
        by_projected[t] = torch.cat([by_i, by_f, torch.ops.aten.tanh_backward(by_cell * i, g), by_o], dim=-1)
        by_hidden, by_cell = by_projected[t] @ weight, by_cell * f
    return by_projected, by_hidden, by_cell
