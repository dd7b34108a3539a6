"""LGSSM: the linear Gaussian state-space model, the yardstick of correctness, as all about it is known exactly.

    z_1 ~ N(m_0, P_0)      z_t ~ N(A z_{t-1} + B u_t + b, Q)      x_t ~ N(C z_t + D u_t + d, R)

The first observation is observed under z_1's prior, whatever u_1 and dt_1: nothing went before it. The offsets b and d,
and the inputs' B and D, are 0 where a model is configured without. P_0, Q and R are diagonal, or full where configured.

A model that is `timed` moves in continuous time, in units of its usual dt, and is discretised exactly (`_continuous`):

    dz = (A z + B u_t + b) dt + Q^1/2 dW

Where covariances are full or the model is timed, a procedure that takes priors for diagonal does not fit: the model is
`closed_form_only`. Observations may have units: x is then center + scale (C z + D u + d + noise), by dimension.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from avf_core import drives
from avf_core.beliefs import State
from avf_core.distributions import FullGaussian, Gaussian, Likelihood
from avf_core.drives import FREE, Drive
from avf_core.errors import ConfigurationError
from avf_core.factors import joined, parted
from avf_core.models import base
from avf_core.models._continuous import discretised


@dataclass(frozen=True, kw_only=True)
class Config(drives.Config):
    """Sizes of an LGSSM; its matrices are parameters, set by `Model.from_matrices` or trained.

    offsets: whether it has b and d, for observations that are not centred. It has B where it takes inputs, and D where
    these are decoded, too. covariance: of P_0, Q and R. center and scale: the units of observations, one number for all
    or one a dimension. start: what parameters are before they are trained: each observation the `levels` of a latent of
    its own, or also, where there are more latents, `trends`, the slopes of those before them (a local linear trend).
    """

    observation_size: int = 2
    latent_size: int = 2
    offsets: bool = False
    covariance: Literal["diagonal", "full"] = "diagonal"
    center: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    start: Literal["levels", "trends"] = "levels"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("center", "scale"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.observation_size:
                raise ConfigurationError(f"{name} has {len(value)} numbers, expected 1 or {self.observation_size}")
        if not all(scale > 0.0 for scale in (self.scale if isinstance(self.scale, tuple) else (self.scale,))):
            raise ConfigurationError(f"scale is {self.scale}, expected numbers above 0")


EXAMPLES: Mapping[str, Config] = {
    "wide": Config(observation_size=3, latent_size=2),
    "offsets": Config(observation_size=3, latent_size=2, offsets=True),
    "driven": Config(observation_size=3, latent_size=2, input_size=2, decode_inputs=True),
    "timed": Config(observation_size=3, latent_size=2, covariance="full", input_size=1, timed=True, usual_dt=0.5),
}


SMALL = -4.0  # the logarithm of noises' variances, where trends are to explain what is seen


class Motion(NamedTuple):
    """How the latent moves in a step: z_t ~ N(dynamics z_{t-1} + shift, scale scale'), for all rows or one a row."""

    dynamics: Float64[Tensor, "*batch latent latent"]
    shift: Float64[Tensor, "*batch latent"]
    scale: Float64[Tensor, "*batch latent latent"]


class Model(base.Model):
    """Linear Gaussian state-space model."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        size, latent, inputs = config.observation_size, config.latent_size, config.input_size
        self.observation = base.ObservationSpec(size=size)
        self.latent_size = latent
        self.closed_form_only = config.timed or config.covariance == "full"
        self.dynamics = nn.Parameter(_dynamics(config))  # A
        self.emission = nn.Parameter(torch.eye(size, latent))  # C
        self.initial_mean = nn.Parameter(torch.zeros(latent))  # m_0
        self.initial_log_variance = nn.Parameter(torch.zeros(latent))  # log of P_0's diagonal, or of D in its L D L'
        small = SMALL if config.start == "trends" else 0.0
        self.process_log_variance = nn.Parameter(torch.full((latent,), small))  # of Q
        self.noise_log_variance = nn.Parameter(torch.full((size,), small))  # of R
        full = config.covariance == "full"
        self.initial_unit = nn.Parameter(torch.zeros(latent, latent)) if full else None  # L of P_0, below its diagonal
        self.process_unit = nn.Parameter(torch.zeros(latent, latent)) if full else None
        self.noise_unit = nn.Parameter(torch.zeros(size, size)) if full else None
        self.drift = nn.Parameter(torch.zeros(latent)) if config.offsets else None  # b
        self.level = nn.Parameter(torch.zeros(size)) if config.offsets else None  # d
        self.control = nn.Parameter(torch.zeros(latent, inputs)) if inputs else None  # B
        self.feedthrough = nn.Parameter(torch.zeros(size, inputs)) if config.decode_inputs else None  # D
        natural = (config.center, config.scale) == (0.0, 1.0)
        units = [torch.tensor(value).expand(size).clone() for value in (config.center, config.scale)]
        self.register_buffer("center", None if natural else units[0], persistent=False)
        self.register_buffer("scale", None if natural else units[1], persistent=False)

    @classmethod
    def from_matrices(
        cls,
        *,
        dynamics: Float[Tensor, "latent latent"],
        emission: Float[Tensor, "observation latent"],
        initial_mean: Float[Tensor, " latent"],
        initial_variance: Float[Tensor, "*initial latent"],
        process_variance: Float[Tensor, "*process latent"],
        noise_variance: Float[Tensor, "*noise observation"],
        drift: Float[Tensor, " latent"] | None = None,
        level: Float[Tensor, " observation"] | None = None,
        control: Float[Tensor, "latent inputs"] | None = None,
        feedthrough: Float[Tensor, "observation inputs"] | None = None,
        timed: bool = False,
    ) -> "Model":
        """The model with these matrices, in their precision; variances are the diagonals of P_0, Q and R, or all three.

        It has offsets, `drift` (b) and `level` (d), where either is given; the other is then 0. It takes inputs where
        `control` (B) is given, and decodes them where `feedthrough` (D) is. Where it is `timed`, `dynamics`, `control`,
        `drift` and `process_variance` are those of continuous time. Raises ConfigurationError for a covariance that is
        not positive definite.
        """
        size, latent = emission.shape
        variances = {"initial": initial_variance, "process": process_variance, "noise": noise_variance}
        config = Config(
            observation_size=size,
            latent_size=latent,
            offsets=drift is not None or level is not None,
            covariance="full" if any(given.ndim == 2 for given in variances.values()) else "diagonal",
            input_size=0 if control is None else control.shape[1],
            decode_inputs=feedthrough is not None,
            timed=timed,
        )
        model = cls(config).to(dynamics.dtype)
        given = {"dynamics": dynamics, "emission": emission, "initial_mean": initial_mean, "drift": drift}
        given |= {"level": level, "control": control, "feedthrough": feedthrough}
        for name, variance in variances.items():
            given |= _covariance(name, variance)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if given.get(name) is not None:
                    parameter.copy_(given[name])  # type: ignore[arg-type]
        return model

    def initial(self, batch_size: int) -> State:
        """The moments of z_1's prior, its mean alone where they are had from z; and whether a step has been made."""
        mean = self.initial_mean.repeat(batch_size, 1)
        state = {"mean": mean}
        if not self.closed_form_only:
            state["log_variance"] = self.initial_log_variance.repeat(batch_size, 1)
        return state | self._begun(mean, 0.0)

    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, Gaussian | FullGaussian]:
        """The prior p(z_t | z_{t-1}, u_t, dt_t); the context is D u_t, where inputs are decoded, and A over dt."""
        if self.closed_form_only:
            return self._predict_whole(state, drive)
        mean = state["mean"]
        if self.control is not None and drive.inputs is not None:
            mean = mean + state["begun"] * (self.reader.standardised(drive.inputs) @ self.control.t())
        return self.fed(drive), Gaussian(mean, state["log_variance"])

    def decode(self, context: State, z: Float[Tensor, "*samples batch latent"]) -> Likelihood:
        """N(C z + D u + d, R)."""
        mean = self.sensed(z, context)
        if self.noise_unit is not None:
            return FullGaussian(mean, self.noise_factor().to(mean.dtype).expand(*mean.shape, -1))
        return Gaussian(mean, self.noise_log_variances.expand_as(mean))

    def marginal(self, context: State, prior: Gaussian | FullGaussian) -> Likelihood:
        """The marginals of N(C m + D u + d, C P C' + R) of a prior N(m, P); in float64, as noise may be small."""
        scale = prior.scale if isinstance(prior, FullGaussian) else torch.diag_embed(prior.deviation)
        spread = (self.sensing() @ scale.double()).pow(2).sum(-1)
        variance = spread + self.noise_factor().pow(2).sum(-1)
        mean = self.sensed(prior.mean.double(), context)
        return Gaussian(mean.to(prior.mean.dtype), variance.log().to(prior.mean.dtype))

    def decode_samples(self, context: State, z: Float[Tensor, "samples batch latent"]) -> Likelihood:
        """Samples of a row share its context, by broadcasting."""
        return self.decode(context, z)

    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """The moments of p(z_{t+1} | z_t), but for the inputs of the next step; z_t where its dt is needed for them."""
        if self.closed_form_only:
            return {"mean": z, **self._begun(z, 1.0)}
        mean = self.moved(z)
        log_variance = self.process_log_variance.repeat(mean.shape[0], 1)
        return {"mean": mean, "log_variance": log_variance, **self._begun(mean, 1.0)}

    def moved(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
        """A z + b, in the precision of z."""
        mean = z @ self.dynamics.to(z.dtype).t()
        return mean if self.drift is None else mean + self.drift.to(z.dtype)

    def sensed(
        self, z: Float[Tensor, "*batch latent"], context: State | None = None
    ) -> Float[Tensor, "*batch observation"]:
        """C z + D u + d in natural units and in the precision of z; a `context` has D u."""
        mean = z @ self.emission.to(z.dtype).t()
        mean = mean if self.level is None else mean + self.level.to(z.dtype)
        mean = mean + context["fed"].to(z.dtype) if context and "fed" in context else mean
        if not isinstance(self.center, Tensor) or not isinstance(self.scale, Tensor):
            return mean
        return self.center.to(z.dtype) + self.scale.to(z.dtype) * mean

    def sensing(self) -> Float64[Tensor, "observation latent"]:
        """C in natural units."""
        emission = self.emission.double()
        return emission * self.scale.double()[:, None] if isinstance(self.scale, Tensor) else emission

    def initial_factor(self) -> Float64[Tensor, "latent latent"]:
        """The factor of P_0."""
        return joined(self.initial_log_variance, self.initial_unit)

    def noise_factor(self) -> Float64[Tensor, "observation observation"]:
        """The factor of R, in natural units."""
        factor = joined(self.noise_log_variance, self.noise_unit)
        return factor * self.scale.double()[:, None] if isinstance(self.scale, Tensor) else factor

    @property
    def noise_log_variances(self) -> Float[Tensor, " observation"]:
        """The logarithm of R's diagonal, in natural units, where R is diagonal."""
        if isinstance(self.scale, Tensor):
            return self.noise_log_variance + 2.0 * self.scale.log()
        return self.noise_log_variance

    def motion(self, drive: Drive = FREE) -> Motion:
        """How the latent moves in a step after the first, in float64."""
        dynamics, scale = self.dynamics.double(), joined(self.process_log_variance, self.process_unit)
        shift = torch.zeros_like(dynamics[0]) if self.drift is None else self.drift.double()
        if self.control is not None and drive.inputs is not None:
            shift = shift + self.reader.standardised(drive.inputs).double() @ self.control.double().t()
        if drive.dt is None:
            return Motion(dynamics, shift, scale)
        phi, psi, scale = discretised(dynamics, scale, drive.dt.double() / self.reader.usual_dt)
        return Motion(phi, (psi @ shift.expand(len(psi), -1)[..., None])[..., 0], scale)

    def _predict_whole(self, state: State, drive: Drive) -> tuple[State, FullGaussian]:
        """The prior with its whole covariance, from z_{t-1} itself."""
        z, begun = state["mean"].double(), state["begun"] > 0.0
        motion = self.motion(drive)
        dynamics = motion.dynamics.expand(len(z), -1, -1)
        moved = (dynamics @ z[..., None])[..., 0] + motion.shift
        mean = torch.where(begun, moved, z)
        scale = torch.where(begun[..., None], motion.scale, self.initial_factor())
        dtype = state["mean"].dtype
        return {"dynamics": dynamics, **self.fed(drive)}, FullGaussian(mean.to(dtype), scale.to(dtype))

    def fed(self, drive: Drive) -> State:
        """D u_t, where inputs are decoded."""
        if self.feedthrough is None or drive.inputs is None:
            return {}
        return {"fed": self.reader.standardised(drive.inputs) @ self.feedthrough.t()}

    def _begun(self, like: Float[Tensor, "batch latent"], begun: float) -> State:
        """Whether a step has been made, where the next one needs to know it."""
        if self.control is None and not self.closed_form_only:
            return {}
        return {"begun": torch.full_like(like[:, :1], begun)}


def _dynamics(config: Config) -> Tensor:
    """A before training: latents that decay, or levels that go on by their slopes, one step or one unit of time."""
    size, latent = config.observation_size, config.latent_size
    if config.start == "levels":
        return (-0.1 if config.timed else 0.9) * torch.eye(latent)
    slopes = torch.diag(torch.ones(max(0, latent - size)), size) if latent > size else torch.zeros(latent, latent)
    return slopes if config.timed else slopes + torch.eye(latent)


def _covariance(name: str, variance: Tensor) -> dict[str, Tensor | None]:
    """The parameters of a covariance, or of its diagonal."""
    if variance.ndim == 1:
        return {f"{name}_log_variance": variance.log()}
    try:
        log_variance, unit = parted(variance)
    except RuntimeError as error:
        raise ConfigurationError(f"{name}_variance is no covariance: expected a positive definite matrix") from error
    return {f"{name}_log_variance": log_variance, f"{name}_unit": unit}
