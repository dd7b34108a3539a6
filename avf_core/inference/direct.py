"""Direct amortised inference: the baselines. One network maps what was observed to the posterior.

    SRNN    q(z_t | x_t, h_t), filtering form          Fraccaro, Sønderby, Paquet & Winther 2016
    VRNN    q(z_t | phi(x_t), h_{t-1})                 Chung et al. 2015
    SVG     q(z_t | LSTM(g(x_1..t)))                   Denton & Fergus 2018

A model says what of an observation is read (`Model.features`); which tensors of its context are read beside it, and
whether through a recurrence of its own, is the procedure's configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import LATENT_LOG_VARIANCE, Gaussian
from avf_core.errors import ConfigurationError
from avf_core.inference import base
from avf_core.models.base import Model, PastDriven
from avf_core.native.plan import InferencePlan, ModelPlan, Program, Register, Registers
from avf_core.nets import ACTIVATIONS, MLP, ActivationName, GaussianNet, LearnedStartLSTM, described
from avf_core.objectives import StepObjective
from avf_core.trees import where


@dataclass(frozen=True, kw_only=True)
class Config:
    """The recognition network.

    widths: its hidden layers, none for heads alone. context: the names of the context's tensors that it sees beside
    the features of x_t. recurrent: units of an LSTM of its own, behind a linear embedding and before the hidden
    layers; 0 for none. Its state is kept in the belief. relative: the network says how far the posterior lies from the
    prior, in the prior's deviations, and how much narrower it is.
    """

    widths: tuple[int, ...] = (500,)
    context: tuple[str, ...] = ("hidden",)
    activation: ActivationName = "clipped_leaky_relu"
    recurrent: int = 0
    relative: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.recurrent < 0:
            raise ConfigurationError(f"recurrent is {self.recurrent}, expected a number of units, or 0 for none")


EXAMPLES: Mapping[str, Config] = {
    "features": Config(widths=(8,), context=()),
    "recurrent": Config(widths=(8,), context=(), recurrent=5),
    "context": Config(widths=(8, 8), activation="relu"),
    "relative": Config(widths=(8,), context=(), relative=True),
}


class Inference(base.Inference):
    """q(z_t | x_t, context), or with a recurrence q(z_t | x_1..t, context), by one network."""

    learns = "with theta"

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        self.config = config
        sizes = model.context_sizes()
        unknown = set(config.context) - set(sizes)
        if unknown:
            raise ConfigurationError(f"the context has no {', '.join(sorted(unknown))}; it has {', '.join(sizes)}")
        input_size = model.feature_size + sum(sizes[name] for name in config.context)
        if config.recurrent:
            self.embed = nn.Linear(input_size, config.recurrent)
            self.lstm = LearnedStartLSTM(config.recurrent, config.recurrent)
        trunk = MLP(
            config.recurrent or input_size, config.widths, ACTIVATIONS[config.activation], dropout=config.dropout
        )
        self.net = GaussianNet(trunk, model.latent_size, log_variance_range=LATENT_LOG_VARIANCE)
        self.one_pass = not config.recurrent and (not config.relative or isinstance(model, PastDriven))

    def initial(self, batch_size: int) -> State:
        """The learned start of the recurrence, where there is one."""
        if not self.config.recurrent:
            return {}
        hidden, cell = self.lstm.initial(batch_size)
        return {"hidden": hidden, "cell": cell}

    def infer(self, objective: StepObjective, state: State, *, effort: base.Effort = base.CONFIGURED) -> base.Inferred:
        """One pass of the network; there is nothing to iterate."""
        features = self.read(objective.model, objective.context, objective.x)
        if self.config.recurrent:
            state = self._hear(objective, features, state)
            features = state["hidden"]
        return base.Inferred(
            posterior=self._placed(self.net(features), objective.factorised),
            state=state,
            free_energies=features.new_zeros(features.shape[0], 0),
            iterations=torch.zeros_like(objective.step),
        )

    def in_one_pass(self) -> base.OnePass | None:
        """Without a recurrence a posterior hears its own step only, and its prior, where that does too."""
        return self._posteriors if self.one_pass else None

    def _posteriors(self, model: Model, context: State, xs: Float[Tensor, "time batch observation"]) -> Gaussian:
        posteriors: Gaussian = self.net(self.read(model, context, xs))
        return self._placed(posteriors, model.prior_in(context)) if isinstance(model, PastDriven) else posteriors

    def _placed(self, said: Gaussian, prior: Gaussian) -> Gaussian:
        """The posterior, of what the network said of it."""
        return unwhitened(said, prior) if self.config.relative else said

    def read(self, model: Model, context: State, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... features"]:
        """What the network reads: the observation's features, and the chosen tensors of the context."""
        return torch.cat([model.features_in(context, x), *(context[name] for name in self.config.context)], dim=-1)

    def _hear(self, objective: StepObjective, features: Float[Tensor, "batch features"], state: State) -> State:
        """The recurrence one step on. It stands still in rows where nothing was observed: there is nothing to hear."""
        hidden, cell = self.lstm(self.embed(features), state["hidden"], state["cell"])
        heard = {"hidden": hidden, "cell": cell}
        return heard if objective.observed is None else where(objective.observed.any(-1), heard, state)

    def plan(self, registers: Registers, model: ModelPlan) -> InferencePlan:
        """The network as a program, behind its recurrence where it has one."""
        infer = Program(registers)
        read = infer.joined([model.seen, *(model.context[name] for name in self.config.context)])
        memory: dict[str, Register] = {}
        remembered: dict[str, Register] = {}
        if self.config.recurrent:
            memory = {name: registers.new(self.config.recurrent) for name in ("hidden", "cell")}
            (embedded,) = described(infer, self.embed, read)
            read, cell = infer.lstm(embedded, memory["hidden"], memory["cell"], self.lstm.cell)
            remembered = {"hidden": read, "cell": cell}
        return InferencePlan(
            infer=infer,
            said=described(infer, self.net, read),
            memory=memory,
            remembered=remembered,
            relative=self.config.relative,
            latent_log_variance=LATENT_LOG_VARIANCE,
        )


def unwhitened(position: Gaussian, prior: Gaussian) -> Gaussian:
    """The posterior at a position in coordinates where the prior is standard normal; gradients reach the prior."""
    log_variance = (prior.log_variance + position.log_variance).clamp(*LATENT_LOG_VARIANCE)
    return Gaussian(prior.mean + prior.deviation * position.mean, log_variance)
