"""Recurrent networks, whose state is passed in and handed back: a network holds no belief."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

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
        return torch.stack([hidden for hidden, _ in self._steps(xs, hidden, cell)])

    def trajectory(
        self,
        xs: Float[Tensor, "time batch input"],
        hidden: Float[Tensor, "batch hidden"],
        cell: Float[Tensor, "batch hidden"],
    ) -> tuple[Float[Tensor, "time+1 batch hidden"], Float[Tensor, "time+1 batch hidden"]]:
        """The hidden and cell states before each of `xs`, and after the last of them."""
        states = [(hidden, cell), *self._steps(xs, hidden, cell)]
        return torch.stack([hidden for hidden, _ in states]), torch.stack([cell for _, cell in states])

    def _steps(self, xs: Tensor, hidden: Tensor, cell: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        projected = F.linear(xs, self.cell.weight_ih, self.cell.bias_ih + self.cell.bias_hh)
        weight = self.cell.weight_hh.t()
        for step in projected:
            i, f, g, o = torch.addmm(step, hidden, weight).chunk(4, dim=-1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            yield hidden, cell
