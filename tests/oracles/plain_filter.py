"""A second implementation of the filter, in plain numpy: it reads a checkpoint's weights, and no code of the library.

Dense models only (SRNN and VRNN; Bernoulli and discretised Gaussian), one sequence, one sampled path, float64. The
equations: Fraccaro et al. 2016; Chung et al. 2015; Marino, Cvitkovic & Yue 2018, Algorithm 1; SplitMix64 for the noise.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from scipy.special import expit, log_ndtr

Array = np.ndarray[Any, np.dtype[Any]]
GAMMA, WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1


def mix(word: int) -> int:
    """SplitMix64's output function."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & WORD
    return word ^ word >> 31


def normal(seed: int, step: int, stream: int, *, size: int) -> Array:
    """Standard normal numbers of a stream, by Box and Muller: all cosines, then all sines."""
    row = mix((mix((seed + GAMMA) & WORD) + step * GAMMA) & WORD)
    key = mix(row ^ mix((stream + 1) * GAMMA & WORD))
    words = [mix((key + (j + 1) * GAMMA) & WORD) for j in range((size + 1) // 2)]
    radius = np.array([math.sqrt(-2.0 * math.log(((word >> 32) + 0.5) / 2**32)) for word in words])
    angle = np.array([2.0 * math.pi * (word & 0xFFFFFFFF) / 2**32 for word in words])
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]


def layer_norm(x: Array) -> Array:
    """Without weights, as PyTorch's."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def bent(x: Array, kind: str) -> tuple[Array, Array]:
    """ReLU, or the leaky one of slope 1/3 clipped to [-3, 3]; and its slope."""
    if kind == "vrnn":
        return np.maximum(x, 0.0), (x > 0.0) * 1.0
    leaky = np.where(x > 0.0, x, x / 3.0)
    return np.clip(leaky, -3.0, 3.0), np.where(x > 0.0, 1.0, 1.0 / 3.0) * (np.abs(leaky) < 3.0)


class PlainFilter:
    """The filter of a checkpoint's folder; `effort` are iterations and samples, where they are not the configured."""

    def __init__(self, folder: Path, **effort: Any) -> None:
        config = json.loads((folder / "config.json").read_text())
        self.model, self.inference = config["model"], {**config["inference"], **effort}
        self.kind = self.model["kind"]
        self.binary = self.kind == "srnn" and self.model.get("likelihood", "bernoulli") == "bernoulli"
        self.center, self.scale = np.array(self.model.get("center", 0.0)), np.array(self.model.get("scale", 1.0))
        self.weights = {name: w.astype(np.float64) for name, w in load_file(folder / "weights.safetensors").items()}
        self.size = len(self.weights["model.prior.mean.bias"])
        self.past: list[Array] = []  # frames before the present one, the newest last

    def free_energies(self, xs: Array, *, seed: int) -> Array:
        """F_t in nats of every step of a sequence."""
        hidden, cell = self.weights["model.lstm.initial_hidden"], self.weights["model.lstm.initial_cell"]
        z, found, self.past = np.zeros(self.size), [], []
        for step, x in enumerate(xs.astype(np.float64)):
            prior = self.gaussian("model.prior", np.concatenate([hidden, z]) if self.kind == "srnn" else hidden)
            seen = self.stack("model.observation_features", (x - self.center) / self.scale)[0]
            q = self.posterior(x, seen, hidden, prior, partial(normal, seed, step, size=self.size))
            z = q[0] + np.exp(0.5 * q[1]) * normal(seed, step, 0, size=self.size)
            kl = 0.5 * ((q[0] - prior[0]) ** 2 / np.exp(prior[1]) + np.exp(q[1] - prior[1]) - q[1] + prior[1] - 1.0)
            found.append(self.energy(x, hidden, z)[0] + kl.sum())
            heard = seen if self.kind == "srnn" else np.concatenate([seen, self.stack("model.latent_features", z)[0]])
            hidden, cell = self.lstm(heard, hidden, cell)
            self.past.append(x)
        return np.array(found)

    def posterior(
        self, x: Array, seen: Array, hidden: Array, prior: tuple[Array, Array], noise: Callable[[int], Array]
    ) -> tuple[Array, Array]:
        """By one network, or by updates from the prior on, each with the gradient of F."""
        config = self.inference
        if config["kind"] == "direct":
            return self.gaussian("inference.net", np.concatenate([seen, hidden]))
        told, both = config.get("samples", 1), config.get("antithetic", False)
        counts = [told] * config.get("iterations", 1) if isinstance(told, int) else told
        mean, log_variance = prior
        for i, count in enumerate(counts):
            eps = [noise(16 + sum(counts[:i]) + k) for k in range(count // 2 if both else count)]
            eps += [-e for e in eps] if both else []
            deviation = np.exp(0.5 * log_variance)
            slopes = [self.energy(x, hidden, mean + deviation * e)[1] for e in eps]
            by_mean = np.mean(slopes, 0) + (mean - prior[0]) / np.exp(prior[1])
            by_variance = 0.5 * (np.exp(log_variance - prior[1]) - 1.0)
            by_variance += 0.5 * deviation * np.mean([s * e for s, e in zip(slopes, eps, strict=True)], 0)
            mean, log_variance = self.updated(np.stack([mean, log_variance, by_mean, by_variance]), prior, seen)
        return mean, log_variance

    def updated(self, terms: Array, prior: tuple[Array, Array], seen: Array) -> tuple[Array, Array]:
        """One application of the update model."""
        config, w, deviation = self.inference, self.weights, np.exp(0.5 * prior[1])
        whitened = config.get("inputs", "layer_norm") == "whitened"
        if whitened:
            units = [(terms[0] - prior[0]) / deviation, terms[1] - prior[1], terms[2] * deviation, terms[3]]
            terms = np.stack(units)
        read = np.concatenate([terms[:2], np.arcsinh(10.0 * terms[2:])]) if whitened else layer_norm(terms)
        h = np.concatenate([read.ravel(), seen if config.get("append_observation", False) else seen[:0]])
        layer = 0
        while f"inference.trunk.{layer}.gate.weight" in w:
            name = f"inference.trunk.{layer}"
            raw, gate = self.linear(f"{name}.transform", h), expit(self.linear(f"{name}.gate", h))
            carried = self.linear(f"{name}.carry", h) if f"{name}.carry.weight" in w else h
            h = gate * np.where(raw > 0.0, raw, np.expm1(np.minimum(raw, 0.0))) + (1.0 - gate) * carried
            layer += 1
        proposal, gate = np.moveaxis(self.linear("inference.heads", h).reshape(2, 2, -1), 1, 0)
        gate = expit(gate)
        if config.get("rule", "gated") == "gated":
            mean, log_variance = gate * terms[:2] + (1.0 - gate) * proposal
        else:
            mean, log_variance = terms[:2] + proposal - gate * terms[2:]
        mean = layer_norm(mean) if config.get("normalize_mean", False) else mean
        if whitened:
            mean, log_variance = prior[0] + deviation * mean, prior[1] + log_variance
        return mean, np.clip(log_variance, -15.0, 5.0)

    def energy(self, x: Array, hidden: Array, z: Array) -> tuple[float, Array]:
        """-log p(x | z, past) in nats, and its gradient with respect to z."""
        w = self.weights
        features, way = self.stack("model.latent_features", z)
        first = self.linear("model.decoder_hidden", hidden) + w["model.decoder_latent.weight"] @ features
        bending, slope = bent(first, self.kind)
        trunk, back = self.stack("model.decoder.0" if self.binary else "model.decoder.trunk", bending)
        energy, by_trunk = self.bernoulli(x, trunk) if self.binary else self.discretized(x, trunk)
        return energy, way(w["model.decoder_latent.weight"].T @ (slope * back(by_trunk)))

    def said(self, hidden: Array, z: Array) -> Array:
        """The numbers that the decoder of an SRNN says, where these are one linear map's."""
        first = self.linear("model.decoder_hidden", hidden) + self.weights["model.decoder_latent.weight"] @ z
        return self.linear("model.decoder.1", self.stack("model.decoder.0", bent(first, self.kind)[0])[0])

    def bernoulli(self, x: Array, trunk: Array) -> tuple[float, Array]:
        """Independent keys, by logits."""
        logits = self.linear("model.decoder.1", trunk)
        energy = float((np.logaddexp(0.0, logits) - x * logits).sum())
        return energy, self.weights["model.decoder.1.weight"].T @ (expit(logits) - x)

    def discretized(self, x: Array, trunk: Array) -> tuple[float, Array]:
        """The probability of the level around x, of one 16-bit step; differences of the tail that is not near 1."""
        low, high = (-10.0, 20.0) if self.kind == "srnn" else (-20.0, 5.0)
        said = self.linear("model.decoder.log_variance", trunk)
        log_variance = np.clip(said, low, high)
        deviation = self.scale * np.exp(0.5 * log_variance)
        distance = x - self.center - self.scale * self.linear("model.decoder.mean", trunk)
        sign = np.where(distance > 0.0, -1.0, 1.0)  # by symmetry, on the lower side
        half = self.model.get("bin", 2.0**-15) / 2.0
        upper, lower = (sign * distance + half) / deviation, (sign * distance - half) / deviation
        above, below = log_ndtr(upper), log_ndtr(lower)
        log_p = above + np.log(-np.expm1(below - above))
        density = [np.exp(-0.5 * edge**2 - 0.5 * math.log(2.0 * math.pi) - log_p) for edge in (upper, lower)]
        by_mean = sign * (density[0] - density[1]) / deviation * self.scale
        by_variance = 0.5 * (density[0] * upper - density[1] * lower) * ((said >= low) & (said <= high))
        w = self.weights
        back = w["model.decoder.mean.weight"].T @ by_mean + w["model.decoder.log_variance.weight"].T @ by_variance
        return float(-log_p.sum()), back

    def gaussian(self, name: str, x: Array) -> tuple[Array, Array]:
        """Mean and clamped log-variance of a latent, by a trunk and two heads."""
        trunk = self.stack(f"{name}.trunk", x)[0]
        return self.linear(f"{name}.mean", trunk), np.clip(self.linear(f"{name}.log_variance", trunk), -15.0, 5.0)

    def stack(self, name: str, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Hidden layers, as many as there are, and the way from the gradient of their output to that of their input."""
        passed: list[tuple[Array, Array]] = []
        while (layer := f"{name}.layers.{len(passed)}") + ".weight" in self.weights:
            x, slope = bent(self.linear(layer, x), self.kind)
            passed.append((self.weights[f"{layer}.weight"], slope))

        def back(gradient: Array) -> Array:
            for weight, slope in reversed(passed):
                gradient = weight.T @ (slope * gradient)
            return gradient

        return x, back

    def linear(self, name: str, x: Array) -> Array:
        """W x + b."""
        product: Array = self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]
        return product

    def lstm(self, x: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
        """One step of the cell: gates in, forget, cell, out."""
        w = self.weights
        gates = w["model.lstm.cell.weight_ih"] @ x + w["model.lstm.cell.bias_ih"]
        gates = gates + w["model.lstm.cell.weight_hh"] @ hidden + w["model.lstm.cell.bias_hh"]
        into, forget, new, out = gates.reshape(4, -1)
        cell = expit(forget) * cell + expit(into) * np.tanh(new)
        return expit(out) * np.tanh(cell), cell
