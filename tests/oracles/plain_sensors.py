"""The second implementation's sensors that go on as they did, in plain numpy loops: SRNN with direct inference.

    W (y_t - c - sum_k A_k y_{t-k}) / S + E[u] = u ~ independent mixtures of Gaussians      y standardised, E[u] said

After Box & Jenkins 1970, chapter 9, for the lags and Bishop 1994 for the mixtures; nothing here is the library's.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm

from tests.oracles.plain_filter import Array, PlainFilter


class PlainSensors(PlainFilter):
    """The filter of a checkpoint's folder, whose decoder says what noise about an autoregression is like."""

    def __init__(self, folder: Path, **effort: Any) -> None:
        super().__init__(folder, **effort)
        emission = {name.rpartition(".")[2]: w for name, w in self.weights.items() if ".emission." in name}
        self.coefficients, self.offset = emission["coefficients"], emission["offset"]
        self.mixing = np.tril(emission["mixing"], -1) + np.eye(len(self.offset))
        self.spread = np.exp(emission["log_scale"])
        order, period = self.model["emission"]["order"], self.model["emission"]["period"]
        season = range(period, period + order + 1) if period else ()
        self.lags = [*range(1, order + 1), *season]

    def expected(self) -> Array:
        """What the autoregression expects, standardised; before the first observation lie means."""
        y, size = self.offset, len(self.offset)
        for place, lag in enumerate(self.lags):
            if lag <= len(self.past):
                heard = (self.past[-lag] - self.center) / self.scale
                y = y + self.coefficients[:, place * size : (place + 1) * size] @ heard
        return y

    def posterior(
        self, x: Array, seen: Array, hidden: Array, prior: tuple[Array, Array], noise: Callable[[int], Array]
    ) -> tuple[Array, Array]:
        """By one network, which reads what is expected, too."""
        assert self.inference["kind"] == "direct"
        assert self.inference["context"] == ["hidden", "emission_expected"]
        return self.gaussian("inference.net", np.concatenate([seen, hidden, self.expected()]))

    def energy(self, x: Array, hidden: Array, z: Array) -> tuple[float, Array]:
        """-log p(x | z, past) in nats; no gradient, which direct inference does not ask for."""
        assert self.model["emission"]["noise"] == "mixture"
        assert self.model["emission"]["held"]
        logits, means, log_variances = self.said(hidden, z).reshape(3, -1, len(x))
        log_weights, deviations = log_softmax(logits, axis=0), np.exp(0.5 * np.clip(log_variances, -8.0, 8.0))
        error = (x - self.center) / self.scale - self.expected()
        u = self.mixing @ error / self.spread + (np.exp(log_weights) * means).sum(0)
        log_p = logsumexp(log_weights + norm.logpdf(u, means, deviations), axis=0)
        return float(-(log_p - np.log(self.spread) - np.log(self.scale)).sum()), np.empty(0)

    def drawn(self, steps: int, *, seed: int) -> Array:
        """A sequence in the model's range: the autoregression's own, with standard normal noise."""
        rng, self.past = np.random.default_rng(seed), []
        for _ in range(steps):
            error = np.linalg.solve(self.mixing, self.spread * rng.standard_normal(len(self.offset)))
            self.past.append(self.center + self.scale * (self.expected() + error))
        return np.array(self.past, dtype=np.float32)
