"""An intruder, or a scene that has stopped, by the zoo's `actions`: beside plain energies of the pictures.

    python examples/video_events.py [--json] [--data weizmann64.npz] [--count 4]

On clips of the reported split of --data, or on a scene that is made on the spot. A small thing crosses the picture, or
the last frame is shown again and again. A frame is judged by its patches of 8 x 8 pixels: by the one that costs most
beside what it has cost in this clip so far, as a thing that enters is small and is where nothing was; and by what half
of them cost less than, as what has stopped is too calm everywhere. All other clips, undisturbed, tell what is normal
for this camera. AUROC of the event's frames against all others, by the p-value of patches, by that of the whole frame's
score (either side), by how much moved since the last frame, and by how far the picture is from the clip's mean.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _scenes import auroc, intruded, moving, stopped

from avf_core import Filter, load
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.analysis.walking import walk
from avf_core.data import Source

FRAMES, FIRST, LAST = 50, 25, 37
EVENTS = {"intruder": intruded, "stopped scene": stopped}
SETTLED = 3  # frames after which a filter knows the scene
PATCH = 8  # pixels


def clips(data: Path | None, count: int) -> list[np.ndarray]:
    """So many clips of pictures, (time, height, width)."""
    if data is None:
        return [moving(FRAMES, seed) for seed in range(count)]
    source = Source(path=data)
    described = source.describe()
    found = [np.asarray(c) for c in source.load(described.reported) if len(c) >= FRAMES]
    return [c[:FRAMES].reshape(FRAMES, *(described.shape or (64, 64))) for c in found[:count]]


def scored(filter: Filter, pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The score of every frame, the patch that is dear for its place, and the middle one; not of the first frames.

    All clips are of one length, so that the rows of a step are theirs.
    """
    found = {name: np.zeros((len(pictures), len(pictures[0]))) for name in ("score", "dearest", "middle")}
    spent = np.zeros(0)
    for step in walk(filter, [clip.reshape(len(clip), -1) for clip in pictures]):
        costs = patches(-step.estimate.likelihood.log_prob(step.x).double().numpy())
        found["score"][step.rows, step.t] = step.estimate.score
        found["middle"][step.rows, step.t] = np.median(costs, -1)
        if step.t >= SETTLED:
            found["dearest"][step.rows, step.t] = (costs - spent / (step.t + 1 - SETTLED)).max(-1)
        spent = spent + costs if step.t >= SETTLED - 1 else np.zeros_like(costs)
    return {name: values[:, SETTLED:] for name, values in found.items()}


def patches(costs: np.ndarray) -> np.ndarray:
    """Means of patches of flattened square pictures."""
    side = round(costs.shape[-1] ** 0.5)
    squares = costs.reshape(len(costs), side // PATCH, PATCH, side // PATCH, PATCH)
    return np.asarray(squares.mean((2, 4)).reshape(len(costs), -1))


def judged(normal: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """p-values of every frame, of each clip by the others: of its patches, and of its score alone."""
    whole, local = [], []
    for i in range(len(normal["score"])):
        others = {name: np.delete(values, i, 0).ravel() for name, values in normal.items()}
        whole.append(ReferenceDistribution.fit(others["score"]).p_values(found["score"][i]))
        dear = ReferenceDistribution.fit(others["dearest"]).above(found["dearest"][i])
        calm = ReferenceDistribution.fit(-others["middle"]).above(-found["middle"][i])
        local.append(np.minimum(1.0, 2.0 * np.minimum(dear, calm)))
    return {"patches": np.stack(local), "surprise": np.stack(whole)}


def energies(pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """How much moved since the last frame, and how far the picture is from the mean of all so far, of every frame."""
    found: dict[str, list[np.ndarray]] = {"motion": [], "background": []}
    for clip in pictures:
        before = np.cumsum(clip, 0)[:-1] / np.arange(1, len(clip))[:, None, None]
        found["motion"].append((np.diff(clip, axis=0) ** 2).mean((1, 2)))
        found["background"].append(((clip[1:] - before) ** 2).mean((1, 2)))
    return {name: np.stack(values)[:, SETTLED - 1 :] for name, values in found.items()}


def report(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for every event, and one for nothing."""
    filter, usual = load("actions").filter, clips(options.data, options.count)
    normal = scored(filter, usual)
    here = np.zeros((len(usual), FRAMES), bool)
    here[:, FIRST:LAST] = True
    here = here[:, SETTLED:]
    rows = []
    for event, happen in EVENTS.items():
        pictures = [happen(clip, FIRST, LAST) for clip in usual]
        p = judged(normal, scored(filter, pictures))
        scores = {**{name: -np.log(values) for name, values in p.items()}, **energies(pictures)}
        figures = {name: float(np.mean(list(map(auroc, score, here)))) for name, score in scores.items()}
        rows.append({"event": event, **figures, "alarms": float((p["patches"] < 0.01)[here].mean())})
    quiet = judged(normal, normal)["patches"]
    return [*rows, {"event": "nothing", "alarms": float((quiet < 0.01).mean())}]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="clips; a scene is made on the spot without")
    parser.add_argument("--count", type=int, default=4, help="clips, 4 or more: 100 scores make a reference")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with torch.no_grad():
        found = report(options)
    if options.json:
        print(json.dumps({"events": found}))
        return
    names = ("patches", "surprise", "motion", "background")
    print("| event | AUROC of patches | of the whole score | of motion | of distance from the background | p < 0.01 |")
    print("|---|---|---|---|---|---|")
    for row in found:
        figures = [f"{row[name]:.2f}" if name in row else "" for name in names]
        print(f"| {row['event']} | {' | '.join(figures)} | {100 * row['alarms']:.1f} % |")


if __name__ == "__main__":
    main()
