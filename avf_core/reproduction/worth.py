"""What a latent is worth: F with and without it, at equal sizes and updates, and what it tells of the frame.

What it tells is read out linearly: of sound the log energies of five bands, of pictures how blocks of pixels differ
from the frame before, of notes which keys sound. One ridge regression hears the posterior's mean, one the prior's,
which is all that the past says; what the first has more is what the latent took from the frame. Of models without a
latent the two are the same.

The law: read-outs are fitted to training data and judged on the reported split, by the part of the variance that they
explain, over all numbers together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from avf_core.analysis.operating import first
from avf_core.analysis.walking import walk
from avf_core.filtering import Filter

WHO = ("prior", "posterior")
ROLES = ("ships", "no-latent")
MOST_STEPS = 4000  # of each split
RIDGE = 1e-3  # of the variance of what is heard
BANDS = (0.0, 0.03125, 0.0625, 0.125, 0.25, 0.5)  # cycles a sample: at 16 kHz up to 0.5, 1, 2, 4 and 8 kHz
QUIET = 1e-10  # power of a band
BLOCK = 8  # pixels a side
TARGETS = {
    "audio": "log energies of five bands",
    "video": "blocks of the difference from the last frame",
    "music": "keys that sound",
}


def measured(filter: Filter, train: Sequence[ndarray], reported: Sequence[ndarray], modality: str) -> dict[str, Any]:
    """What posterior and prior tell of a frame: parts of the variance, up to 1."""
    fitted, judged = (_heard(filter, first(split, most=MOST_STEPS), modality) for split in (train, reported))
    told = {name: _explained(fitted[name], fitted["target"], judged[name], judged["target"]) for name in WHO}
    return {"of": TARGETS[modality], **told}


def table(group: Sequence[Mapping[str, Any]]) -> str:
    """What is said of runs that were measured so, where one of them has no latent; else nothing."""
    found = [run for run in group if run.get("told")]
    if not any(run["entry"]["role"] == "no-latent" for run in found):
        return ""
    lines = [
        "What the latent is worth. Told of a frame, by a linear read-out of means: the part of the variance of its "
        f"{found[0]['told']['of']} that the prior's explains, and the posterior's; below 0 is worse than its mean.\n",
        "| | F | KL | updates | told by the prior | by the posterior |",
        "|---|---|---|---|---|---|",
    ]
    for run in sorted(found, key=lambda run: float(run["test"]["free_energy_pooled"])):
        test, told = run["test"], run["told"]
        figures = [f"{test['free_energy_pooled']:.3f}", f"{test['kl']:.3f}", str(run["updates_in_all"])]
        lines.append(
            f"| `{run['entry']['name']}` | {' | '.join(figures)} | {told['prior']:.3f} | {told['posterior']:.3f} |"
        )
    return "\n".join([*lines, ""])


def _heard(filter: Filter, sequences: Sequence[ndarray], modality: str) -> dict[str, ndarray]:
    """Means of prior and posterior, and the target, of all steps that have one before them."""
    size = filter.model.latent_size
    means = {name: [np.zeros((len(sequence), size)) for sequence in sequences] for name in WHO}
    for step in walk(filter, sequences):
        step.put(means["prior"], step.estimate.prior.mean)
        step.put(means["posterior"], step.estimate.posterior.mean)
    heard = {name: np.concatenate([rows[1:] for rows in found]) for name, found in means.items()}
    return {**heard, "target": np.concatenate([_target(np.asarray(s, dtype=np.float64), modality) for s in sequences])}


def _target(sequence: ndarray, modality: str) -> ndarray:
    """What is to be told of the frames from the second on."""
    if modality == "audio":
        return _bands(sequence[1:])
    if modality == "video":
        return _blocks(np.diff(sequence, axis=0))
    return sequence[1:]


def _bands(frames: ndarray) -> ndarray:
    """Log energies by band."""
    taper = np.hanning(frames.shape[-1] + 2)[1:-1]
    power = np.abs(np.fft.rfft(frames * taper)) ** 2
    places = np.digitize(np.fft.rfftfreq(frames.shape[-1]), BANDS[1:-1])
    energies = [power[:, places == band].sum(-1) for band in range(len(BANDS) - 1)]
    return np.log(np.stack(energies, axis=-1) + QUIET)


def _blocks(pictures: ndarray) -> ndarray:
    """Means of square blocks of flattened square pictures."""
    side = round(pictures.shape[-1] ** 0.5)
    count = side // BLOCK
    cut = pictures.reshape(len(pictures), side, side)[:, : count * BLOCK, : count * BLOCK]
    means: ndarray = cut.reshape(len(pictures), count, BLOCK, count, BLOCK).mean(axis=(2, 4))
    return means.reshape(len(pictures), -1)


def _explained(heard: ndarray, target: ndarray, judged: ndarray, came: ndarray) -> float:
    """The part of the variance of `came` that a ridge regression of `target` on `heard` tells by `judged`."""
    center, scale, middle = heard.mean(axis=0), heard.std(axis=0) + 1e-9, target.mean(axis=0)
    x = (heard - center) / scale
    weights = np.linalg.solve(x.T @ x / len(x) + RIDGE * np.eye(x.shape[1]), x.T @ (target - middle) / len(x))
    said = middle + (judged - center) / scale @ weights
    return round(float(1.0 - ((came - said) ** 2).sum() / ((came - came.mean(axis=0)) ** 2).sum()), 4)
