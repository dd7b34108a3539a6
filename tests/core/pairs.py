"""Pairs of a model and an inference procedure, listed from their folders: a file there is tested unasked.

The law: each model meets each procedure that takes it, twice, by the examples that were met least so far. That every
example is met is for a test to say.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from avf_core import emissions, inference, models, noise
from avf_core.beliefs import Belief
from avf_core.configuration import build
from avf_core.drives import Drive
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.native import running
from avf_core.native.plan import Undescribed
from avf_core.plugins import Folder, kinds, plugin

Pair = dict[str, dict[str, Any]]

ROUNDS = 2

SRNN = {
    "kind": "srnn",
    "observation_size": 6,
    "latent_size": 4,
    "hidden_size": 8,
    "prior_widths": [8],
    "decoder_widths": [8],
}
VRNN = {
    "kind": "vrnn",
    "observation_size": 6,
    "latent_size": 4,
    "hidden_size": 8,
    "observation_widths": [8, 8],
    "latent_widths": [8],
    "prior_widths": [8],
    "decoder_widths": [8, 8],
    "bin": 1e-3,
    "scale": 0.5,
}
SVG = {
    "kind": "svg",
    "frame_size": 8,
    "latent_size": 4,
    "encoding_size": 8,
    "hidden_size": 6,
    "widths": [4],
    "bin": 0.25,
}
LGSSM = {"kind": "lgssm", "observation_size": 3, "latent_size": 2}
ITERATIVE = {"kind": "iterative", "units": 16}
ADAM = {"kind": "gradient", "iterations": 6}

CHOSEN: dict[str, Pair] = {
    "srnn-gated": {"model": SRNN, "inference": {**ITERATIVE, "rule": "gated"}},
    "srnn-learned_sgd": {
        "model": SRNN,
        "inference": {**ITERATIVE, "rule": "learned_sgd", "iterations": 5, "normalize_mean": True},
    },
    "srnn-appended": {
        "model": SRNN,
        "inference": {**ITERATIVE, "append_observation": True, "iterations": 2, "samples": 3},
    },
    "srnn-whitened": {
        "model": SRNN,
        "inference": {
            **ITERATIVE,
            "rule": "learned_sgd",
            "inputs": "whitened",
            "iterations": 3,
            "samples": 4,
            "antithetic": True,
        },
    },
    "srnn-gaussian": {
        "model": {**SRNN, "likelihood": "gaussian"},
        "inference": {**ITERATIVE, "rule": "learned_sgd", "iterations": 2},
    },
    "srnn-speech": {
        "model": {**SRNN, "likelihood": "discretized", "bin": 1e-3, "center": 0.25, "scale": 0.5},
        "inference": {**ITERATIVE, "append_observation": True},
    },
    "srnn-direct": {"model": SRNN, "inference": {"kind": "direct", "widths": [8]}},
    "vrnn-iterative": {
        "model": VRNN,
        "inference": {**ITERATIVE, "rule": "learned_sgd", "iterations": 2, "normalize_mean": True},
    },
    "vrnn-appended": {
        "model": {**VRNN, "likelihood": "discretized-authors", "bin": 0.25},
        "inference": {**ITERATIVE, "append_observation": True},
    },
    "vrnn-direct": {
        "model": VRNN,
        "inference": {"kind": "direct", "widths": [8, 8], "activation": "relu"},
    },
    "vrnn-recurrent": {
        "model": {**VRNN, "likelihood": "bernoulli"},
        "inference": {"kind": "direct", "widths": [8], "context": ["hidden", "decoder"], "recurrent": 5},
    },
    "svg-iterative": {"model": SVG, "inference": {**ITERATIVE, "rule": "gated"}},
    "svg-residual": {
        "model": {**SVG, "likelihood": "residual", "emission": {"frames": 2, "channels": 2}},
        "inference": ITERATIVE,
    },
    "svg-skips": {
        "model": {**SVG, "skips": True, "norm": "group", "likelihood": "gaussian"},
        "inference": {**ITERATIVE, "samples": 2, "append_observation": True},
    },
    "svg-dcgan": {
        "model": {**SVG, "encoder": "dcgan", "norm": "group"},
        "inference": {"kind": "direct", "widths": [8], "context": ["prior_hidden"]},
    },
    "svg-direct": {
        "model": {**SVG, "encoder": "dcgan", "skips": True},
        "inference": {"kind": "direct", "widths": [], "context": [], "recurrent": 6},
    },
    "lgssm-iterative": {"model": LGSSM, "inference": {**ITERATIVE, "rule": "learned_sgd", "iterations": 2}},
    "srnn-adam": {"model": SRNN, "inference": {**ADAM, "samples": 2, "antithetic": True, "decay": 0.1}},
    "srnn-sgd": {"model": SRNN, "inference": {**ADAM, "optimizer": "sgd", "whitened": False}},
    "srnn-keep_best": {
        "model": SRNN,
        "inference": {**ITERATIVE, "rule": "learned_sgd", "iterations": 4, "samples": 2, "keep_best": True},
    },
    "lgssm-adam": {"model": LGSSM, "inference": {**ADAM, "keep_best": True}},
    "lgssm-sgd": {"model": LGSSM, "inference": {**ADAM, "optimizer": "sgd", "samples": 2, "learning_rate": 0.05}},
    "lgssm-exact": {"model": LGSSM, "inference": {"kind": "exact"}},
    "lgssm-mean-field": {"model": LGSSM, "inference": {"kind": "exact", "covariance": "diagonal"}},
}
"""Pairs that single tests are about, by name."""


def examples(folder: Folder, kind: str) -> dict[str, dict[str, Any]]:
    """The settings of a plug-in's examples, by kind and name."""
    found = getattr(plugin(folder, kind), "EXAMPLES", {})
    return {f"{kind}.{name}": {"kind": kind, **dataclasses.asdict(config)} for name, config in found.items()}


def fits(pair: Pair) -> bool:
    """Whether the procedure takes the model; what goes wrong otherwise is for the tests to tell."""
    try:
        build(pair)
    except ConfigurationError:
        return False
    except Exception:
        return True
    return True


def listed() -> Iterator[tuple[str, Pair]]:
    """The pairs of all plug-ins, named model.example+procedure.example."""
    met: Counter[str] = Counter()
    for _, model, procedure in itertools.product(range(ROUNDS), kinds(models), kinds(inference)):
        ours, theirs = examples(models, model), examples(inference, procedure)
        both = itertools.product(ours.items(), theirs.items())
        for (one, modelled), (other, inferred) in sorted(both, key=lambda pair: met[pair[0][0]] + met[pair[1][0]]):
            found = {"model": modelled, "inference": inferred}
            if fits(found):
                met.update((one, other))
                yield f"{one}+{other}", found
                break


def emitted() -> Iterator[tuple[str, Pair]]:
    """A pair for each example of an emission, named model+emission.example: models that take it take turns.

    The models are those of the first example; so do their procedures.
    """
    procedures = itertools.cycle([ITERATIVE, {"kind": "direct", "widths": (8,), "context": ()}])
    taking: Counter[str] = Counter(dict.fromkeys(kinds(models), 0))
    for emission in kinds(emissions):
        for name, options in getattr(plugin(emissions, emission), "EXAMPLES", {}).items():
            emitting = {"likelihood": emission.replace("_", "-"), "emission": dataclasses.asdict(options)}
            for model in sorted(taking, key=lambda model: taking[model]):
                modelled = next(iter(examples(models, model).values()))
                found: Pair = {"model": {**modelled, **emitting}, "inference": next(procedures)}
                if "likelihood" in modelled and fits(found):
                    taking.update([model])
                    yield f"{model}+{emission}.{name}", found
                    break


LISTED: dict[str, Pair] = {**dict(listed()), **dict(emitted())}
PAIRS: dict[str, Pair] = {**LISTED, **CHOSEN}


def one_of_each_model() -> list[str]:
    """A pair for every example of every model."""
    return sorted({str(pair["model"]): name for name, pair in sorted(LISTED.items())}.values())


class Told(Filter):
    """A filter whose sequences are told the same inputs and dt at every step, by their seeds, where none are given."""

    def drive(
        self,
        belief: Belief,
        *,
        inputs: Tensor | None = None,
        dt: Tensor | None = None,
        time: tuple[int, ...] = (),
    ) -> Drive:
        """What the model takes."""
        model, shape = self.model, (*time, belief.batch_size)
        if inputs is None and model.input_size:
            drawn = noise.standard_normal(belief.seed, 0 * belief.step, streams=[0], size=model.input_size)[0]
            inputs = drawn.expand(*shape, -1)
        if dt is None and model.timed:
            dt = 0.1 + noise.uniform(belief.seed, 0 * belief.step, streams=[1], size=1)[0, :, 0].expand(shape)
        return super().drive(belief, inputs=inputs, dt=dt, time=time)

    def skip(
        self, belief: Belief, count: int | Tensor, *, inputs: Tensor | None = None, dt: Tensor | None = None
    ) -> Belief:
        """Skipped steps are told the same."""
        drive = self.drive(belief, inputs=inputs, dt=dt)
        return super().skip(belief, count, inputs=drive.inputs, dt=drive.dt)


def make(name: str, dtype: torch.dtype = torch.float32) -> Filter:
    """The filter of a pair, with the same parameters each time."""
    torch.manual_seed(7)
    return told(build(PAIRS[name])).to(dtype).eval().requires_grad_(False)


def told(filter: Filter) -> Told:
    """The same filter, whose sequences are told something where they are to be told."""
    return Told(filter.model, filter.inference)


def describes_itself(name: str) -> bool:
    """Whether a pair has a plan, and so is computed natively where that is asked for."""
    try:
        running.plans(make(name))
    except Undescribed:
        return False
    return True


DESCRIBED = sorted(filter(describes_itself, PAIRS))


def observations(filter: Filter, time: int, batch: int, seed: int = 3) -> torch.Tensor:
    """Random observations that fit the filter's model, of shape (time, batch, observation)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(time, batch, filter.model.observation.size, generator=generator)
    dtype = next(filter.parameters()).dtype
    if filter.model.observation.shape is not None:
        return x.to(dtype)  # pixels
    return ((x > 0.7) if filter.model.observation.high == 1.0 else 3.0 * x - 1.5).to(dtype)
