"""A filtering step as the authors' public code makes it: the reference that speed is compared with.

It stands for https://github.com/joelouismarino/amortized-variational-filtering (`eval_model` in util/eval.py, `run` in
util/train_val.py, `generate` and `infer` in lib/models/srnn.py), which is written for Python 2 and a GPU. This is eager
PyTorch in float32 in their manner, with this package's parameters:

- the model runs from h and z_{t-1} to the likelihood for every iterate of the posterior, the prior and h's part of the
  decoder included, in a graph of its own;
- KL is estimated at the samples, by two log-densities;
- each highway layer of the update model evaluates its gate once for each of the two terms that it weighs;
- F of every iterate, the last included, is differentiated by a backward pass through the model and through the update
  model that proposed it. All parameters collect gradients, in evaluation too, where nobody reads them;
- then the model runs once more for the latent that goes on, and the recurrence; the next step begins with the prior,
  from which its posterior starts;
- F, its two terms and the gradients' magnitudes of each iterate become numbers for statistics.

Where this differs, it is the faster: the heads of the update model are one product here and four there, layer norm one
operation here and five there. `benchmarks.training` trains by the same passes, without the statistics.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from avf_core.beliefs import State
from avf_core.distributions import Gaussian
from avf_core.filtering import Filter
from avf_core.inference import iterative
from avf_core.nets import Highway
from avf_core.objectives import Gradient
from avf_core.trees import tree_map


@dataclass(frozen=True, kw_only=True)
class Iterate:
    """A posterior with F at it, in nats, and what their statistics hold of it."""

    free_energy: Tensor
    reconstruction: Tensor
    kl: Tensor
    gradient: Gradient


class Reference:
    """Inference and steps of a filter whose update model is the iterative one, written straight down."""

    def __init__(self, filter: Filter) -> None:
        inference = filter.inference
        if not isinstance(inference, iterative.Inference):
            raise TypeError(f"{type(inference).__module__} has no update model: the authors' step is iterative")
        self.filter, self.model, self.inference = filter, filter.model, inference

    def step(self, state: State, x: Tensor) -> tuple[State, list[list[float]]]:
        """The state after x, of every row; and their statistics, a row for each iterate from the prior on."""
        posterior, iterates = self.infer(state, x)
        _, z, context = self.terms(state, posterior, x)
        following = tree_map(Tensor.detach, self.model.transition(context, x, z))
        return following, [_statistics(iterate) for iterate in iterates]

    def infer(self, state: State, x: Tensor) -> tuple[Gaussian, list[Iterate]]:
        """The posterior of a step; each backward pass leaves gradients on the posterior and on all parameters."""
        state = {name: tensor.detach() for name, tensor in state.items()}
        _, prior = self.model.predict(state)
        start = Gaussian(prior.mean.detach(), prior.log_variance.detach())
        mean, log_variance = start.mean.clone().requires_grad_(), start.log_variance.clone().requires_grad_()
        iterates: list[Iterate] = []
        for iteration in range(self.inference.config.iterations + 1):
            iterates.append(self._differentiated(state, Gaussian(mean, log_variance), x))
            if iteration < self.inference.config.iterations:
                position = Gaussian(mean.detach(), log_variance.detach())
                updated = self.updated(position, iterates[-1].gradient, start, x)
                mean, log_variance = updated.mean, updated.log_variance
        return Gaussian(mean.detach(), log_variance.detach()), iterates

    def updated(self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, x: Tensor) -> Gaussian:
        """One application of the update model."""
        seen = self.model.features(x) if self.inference.config.append_observation else x[:, :0]
        terms = self.inference.terms(posterior, gradient, prior)
        hidden = self.inference.features(terms, seen)
        for layer in self.inference.trunk:
            assert isinstance(layer, Highway)
            hidden = _highway(layer, hidden)
        return self.inference.settle(terms, self.inference.heads(hidden), prior)

    def _differentiated(self, state: State, posterior: Gaussian, x: Tensor) -> Iterate:
        """One pass forward and one backward, from each row's own F."""
        posterior.mean.retain_grad()
        posterior.log_variance.retain_grad()
        (reconstruction, kl), *_ = self.terms(state, posterior, x, samples=self.inference.config.samples)
        free_energy = reconstruction + kl
        free_energy.backward(torch.ones_like(free_energy), retain_graph=True)
        assert posterior.mean.grad is not None
        assert posterior.log_variance.grad is not None
        gradient = Gradient(posterior.mean.grad.clone(), posterior.log_variance.grad.clone(), free_energy.detach())
        return Iterate(free_energy=free_energy, reconstruction=reconstruction, kl=kl, gradient=gradient)

    def terms(
        self, state: State, posterior: Gaussian, x: Tensor, *, samples: int = 1
    ) -> tuple[tuple[Tensor, Tensor], Tensor, State]:
        """The two terms of F of every row, a sample that they were taken at, and the context."""
        context, prior = self.model.predict(state)
        z = posterior.transform(torch.randn(samples, *posterior.mean.shape))
        log_prob = self.model.decode_samples(context, z).log_prob(x).sum(-1).mean(0)
        kl = (posterior.log_prob(z) - prior.log_prob(z)).sum(-1).mean(0)
        return (-log_prob, kl), z[0], context


def _highway(layer: Highway, x: Tensor) -> Tensor:
    """Each term is weighed by a gate that is evaluated for it."""
    kept = (1.0 - torch.sigmoid(layer.gate(x))) * layer.carry(x)
    weighed: Tensor = torch.sigmoid(layer.gate(x)) * functional.elu(layer.transform(x)) + kept
    return weighed


def _statistics(iterate: Iterate) -> list[float]:
    """Means over the rows."""
    gradient = iterate.gradient
    kept = (iterate.free_energy, iterate.reconstruction, iterate.kl, gradient.mean.abs(), gradient.log_variance.abs())
    return [float(tensor.detach().numpy().mean()) for tensor in kept]
