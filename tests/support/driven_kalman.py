"""The textbook's Kalman filter and smoother of one driven sequence in numpy: full covariances, inputs, uneven times.

Continuous time is discretised by scipy's matrix exponential and its solution of Lyapunov's equation, a filter's step is
by covariances and inverses, and a smoother's by conditioning all latents on all observations at once: nothing is shared
with the library.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from avf_core.models import lgssm

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class System:
    """A linear Gaussian system, in plain matrices; `timed` where a, b, q and v are those of continuous time."""

    a: Array
    b: Array
    c: Array
    d: Array
    drift: Array
    level: Array
    q: Array
    r: Array
    m: Array
    p: Array
    timed: bool

    @classmethod
    def random(cls, size: int, latent: int, inputs: int, *, timed: bool, seed: int) -> "System":
        """Stable, with full covariances."""
        draw = np.random.default_rng(seed)

        def covariance(n: int) -> Array:
            half = draw.normal(size=(n, n + 2))
            return half @ half.T / n + 0.05 * np.eye(n)

        a = draw.normal(size=(latent, latent))
        a = a - a.T - 0.3 * np.eye(latent) if timed else 0.9 * a / np.linalg.norm(a, 2)
        return cls(
            a=a,
            b=draw.normal(size=(latent, inputs)),
            c=draw.normal(size=(size, latent)),
            d=draw.normal(size=(size, inputs)),
            drift=draw.normal(size=latent),
            level=3.0 * draw.normal(size=size),
            q=covariance(latent),
            r=covariance(size),
            m=draw.normal(size=latent),
            p=covariance(latent),
            timed=timed,
        )

    def model(self, dtype: torch.dtype) -> lgssm.Model:
        """The library's."""

        def tensor(array: Array) -> Tensor:
            return torch.from_numpy(array)

        return lgssm.Model.from_matrices(
            dynamics=tensor(self.a),
            emission=tensor(self.c),
            initial_mean=tensor(self.m),
            initial_variance=tensor(self.p),
            process_variance=tensor(self.q),
            noise_variance=tensor(self.r),
            drift=tensor(self.drift),
            level=tensor(self.level),
            control=tensor(self.b),
            feedthrough=tensor(self.d),
            timed=self.timed,
        ).to(dtype)

    def step(self, u: Array, dt: float) -> tuple[Array, Array, Array]:
        """A, shift and Q of a step."""
        push = self.b @ u + self.drift
        if not self.timed:
            return self.a, push, self.q
        n = len(self.a)
        block = np.zeros((2 * n, 2 * n))
        block[:n, :n], block[:n, n:] = self.a, np.eye(n)
        found = scipy.linalg.expm(block * dt)
        moved, held = found[:n, :n], found[:n, n:]
        resting = scipy.linalg.solve_continuous_lyapunov(self.a, -self.q)
        return moved, held @ push, resting - moved @ resting @ moved.T


@dataclass(frozen=True)
class Filtered:
    """Moments of z_t before and after x_t, the marginals' of x_t before, and log p(x_t | x_<t) of what was seen."""

    prior: tuple[Array, Array]
    posterior: tuple[Array, Array]
    predicted: tuple[Array, Array]
    log_evidence: float


def filtered(system: System, xs: Array, us: Array, dts: Array, seen: NDArray[np.bool_]) -> list[Filtered]:
    """Every step of a sequence."""
    found = []
    mean, covariance = system.m, system.p
    for t, x in enumerate(xs):
        if t:
            a, shift, q = system.step(us[t], dts[t])
            mean, covariance = a @ mean + shift, a @ covariance @ a.T + q
        prior, level = (mean, covariance), system.level + system.d @ us[t]
        rows = np.flatnonzero(seen[t])
        c, r = system.c[rows], system.r[np.ix_(rows, rows)]
        innovation, error = c @ covariance @ c.T + r, x[rows] - c @ mean - level[rows]
        gain = covariance @ c.T @ np.linalg.inv(innovation)
        left = np.eye(len(mean)) - gain @ c
        mean, covariance = mean + gain @ error, left @ covariance @ left.T + gain @ r @ gain.T
        distance = error @ np.linalg.solve(innovation, error)
        evidence = -0.5 * float(distance + np.linalg.slogdet(2.0 * np.pi * innovation)[1])
        expected = system.c @ prior[0] + level
        variances = np.diag(system.c @ prior[1] @ system.c.T + system.r)
        found.append(Filtered(prior, (mean, covariance), (expected, variances), evidence))
    return found


def smoothed(
    system: System, xs: Array, us: Array, dts: Array, seen: NDArray[np.bool_], *, at: int, until: int
) -> tuple[Array, Array]:
    """Mean and covariance of z_at given x_1..until, by one joint Gaussian of all that is."""
    n, steps = len(system.m), until
    mean, joint = np.zeros(n * steps), np.zeros((n * steps, n * steps))
    mean[:n], joint[:n, :n] = system.m, system.p
    for t in range(1, steps):
        a, shift, q = system.step(us[t], dts[t])
        before, now, past = slice(n * (t - 1), n * t), slice(n * t, n * (t + 1)), slice(0, n * t)
        mean[now] = a @ mean[before] + shift
        joint[now, past] = a @ joint[before, past]
        joint[past, now] = joint[now, past].T
        joint[now, now] = a @ joint[before, before] @ a.T + q
    rows = np.flatnonzero(seen[:until].ravel())
    c = np.kron(np.eye(steps), system.c)[rows]
    r = np.kron(np.eye(steps), system.r)[np.ix_(rows, rows)]
    level = (system.level + us[:until] @ system.d.T).ravel()[rows]
    gain = joint @ c.T @ np.linalg.inv(c @ joint @ c.T + r)
    mean = mean + gain @ (xs[:until].ravel()[rows] - c @ mean - level)
    joint = joint - gain @ c @ joint
    one = slice(n * at, n * (at + 1))
    return mean[one], joint[one, one]
