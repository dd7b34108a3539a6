"""An intruder, or a scene that has stopped, by the zoo's `actions`: beside plain energies of the pictures.

    python examples/video_events.py [--json] [--data weizmann64.npz] [--count 4]

On clips of the reported split of --data, or on a scene that is made on the spot. A small thing crosses the picture, or
the last frame is shown again and again. Each filter's score is judged by what is normal for this camera: the scores of
all other clips, undisturbed, make the reference. AUROC of the event's frames against all others, by the p-value
(either side), by how much moved since the last frame, and by how far the picture is from the clip's mean.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _scenes import auroc, intruded, moving, stopped

from avf_core import Filter, load
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.data import Source

FRAMES, FIRST, LAST = 50, 25, 37
EVENTS = {"intruder": intruded, "stopped scene": stopped}
SETTLED = 3  # frames after which a filter knows the scene


def clips(data: Path | None, count: int) -> list[np.ndarray]:
    """So many clips of pictures, (time, height, width)."""
    if data is None:
        return [moving(FRAMES, seed) for seed in range(count)]
    source = Source(path=data)
    described = source.describe()
    found = [np.asarray(c) for c in source.load(described.reported) if len(c) >= FRAMES]
    return [c[:FRAMES].reshape(FRAMES, *(described.shape or (64, 64))) for c in found[:count]]


def scored(filter: Filter, pictures: list[np.ndarray]) -> np.ndarray:
    """The score of every frame, without those in which a filter gets to know the scene."""
    return np.stack(step_scores(filter, [c.reshape(len(c), -1) for c in pictures]))[:, SETTLED:]


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
    references = [ReferenceDistribution.fit(np.delete(normal, i, 0).ravel()) for i in range(len(normal))]
    here = np.zeros((len(usual), FRAMES), bool)
    here[:, FIRST:LAST] = True
    here = here[:, SETTLED:]
    rows = []
    for event, happen in EVENTS.items():
        pictures = [happen(clip, FIRST, LAST) for clip in usual]
        found = zip(references, scored(filter, pictures), strict=True)
        p = np.stack([reference.p_values(score) for reference, score in found])
        scores = {"surprise": -np.log(p), **energies(pictures)}
        figures = {name: float(np.mean(list(map(auroc, score, here)))) for name, score in scores.items()}
        rows.append({"event": event, **figures, "alarms": float((p < 0.01)[here].mean())})
    quiet = np.stack([r.p_values(s) for r, s in zip(references, normal, strict=True)])
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
    print("| event | AUROC of surprise | of motion | of distance from the background | frames with p < 0.01 |")
    print("|---|---|---|---|---|")
    for row in found:
        figures = [f"{row[name]:.2f}" if name in row else "" for name in ("surprise", "motion", "background")]
        print(f"| {row['event']} | {' | '.join(figures)} | {100 * row['alarms']:.1f} % |")


if __name__ == "__main__":
    main()
