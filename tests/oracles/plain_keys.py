"""The second implementation's keys that hear each other, in plain numpy loops: SRNN with direct inference.

    logit_k = bias_k + told . relu(second relu(place_k + shift + past * frames around k + lower * keys below k))

After Larochelle & Murray 2011, Boulanger-Lewandowski et al. 2012 and Johnson 2017; nothing here is the library's.
"""

import numpy as np

from tests.oracles.plain_filter import Array, PlainFilter


class PlainKeys(PlainFilter):
    """The filter of a checkpoint's folder, whose decoder says the keys' biases and a shift of their units."""

    def energy(self, x: Array, hidden: Array, z: Array) -> tuple[float, Array]:
        """-log p(x | z, past) in nats; no gradient, which direct inference does not ask for."""
        assert self.inference["kind"] == "direct"
        said = self.said(hidden, z)
        logits = said[: len(x)] + np.array([self.told(x, k, said[len(x) :]) for k in range(len(x))])
        return float((np.logaddexp(0.0, logits) - x * logits).sum()), np.empty(0)

    def told(self, x: Array, key: int, shift: Array) -> float:
        """What a key is told by the keys around it in the last frames, and those below it in this one."""
        keyboard = {name.rpartition("keyboard.")[2]: w for name, w in self.weights.items() if "keyboard." in name}
        past, lower = keyboard["past.weight"], keyboard["lower.weight"][:, 0]
        frames, reach = past.shape[1], past.shape[2] // 2
        units = keyboard["place"][key] + shift
        for age in range(1, min(frames, len(self.past)) + 1):  # before the first frame there is silence
            for other in range(max(0, key - reach), min(len(x), key + reach + 1)):
                units = units + past[:, frames - age, other - key + reach] * self.past[-age][other]
        below = lower.shape[1]
        for other in range(max(0, key - below), key):
            units = units + lower[:, below - (key - other)] * x[other]
        deeper = keyboard["second.weight"] @ np.maximum(units, 0.0) + keyboard["second.bias"]
        return float(keyboard["told.weight"][0] @ np.maximum(deeper, 0.0))
