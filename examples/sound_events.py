"""Strange sounds, voices and lost packets, by the zoo's `speech`: each beside plain energy.

    python examples/sound_events.py [--json] [--data crowd16k] [--count 8] [--level DECIBELS]

On speech of the reported split of --data, or on a voice that is made on the spot. *Anomalies*: an event in the middle
of an utterance; AUROC of its frames against all others, by the p-value that a server gives (of what a frame costs and
of what it is like, as it goes on), by the frame's energy and by that of its differences. *Voice*: which frames have
voice in noise, by a linear read-out of the posterior mean, fitted on other utterances, and by one of both energies.
*Lost packets*: every tenth frame is missing; how well the prediction made before it fills it, beside silence, the last
frame again, and one linear predictor of 32 samples for everything.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _scenes import ADDED, CHANGED, LEVEL, auroc, disturbed, levels, voice
from scipy import linalg

from avf_core import Filter, load
from avf_core.analysis.sign_reference import SignReference
from avf_core.data import Source

FRAME, FRAMES = 200, 280  # samples; frames of an utterance, 3.5 seconds
FIRST, LAST = 120, 184  # the frames of an event
DECIBELS = (0.0, -12.0)
LOUDNESS = (-12.0, 0.0, 6.0)  # of speech with nothing else, in decibels of its own
ORDER, EVERY = 32, 10


def speech(data: Path | None, count: int) -> list[np.ndarray]:
    """So many utterances of the same length."""
    if data is None:
        return [levels(voice(FRAME * FRAMES / 16_000, seed)) for seed in range(count)]
    source = Source(path=data)
    found = [np.asarray(u) for u in source.load(source.describe().reported) if len(u) >= FRAMES]
    return [u[:FRAMES].reshape(-1) for u in found[:count]]


def heard(filter: Filter, sounds: np.ndarray, observed: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Scores, posterior means and predictions of every frame; some frames may be missing."""
    belief = filter.initial(torch.arange(len(sounds)))
    found: dict[str, list[np.ndarray]] = {"score": [], "signs": [], "latent": [], "expected": []}
    for t, x in enumerate(torch.from_numpy(sounds).unflatten(-1, (-1, FRAME)).unbind(1)):
        mask = None if observed is None else torch.full(x.shape, bool(observed[t]))
        belief, e = filter.step(belief, x, observed=mask)
        found["score"].append(e.score.double().numpy())
        found["signs"].append(e.signs.double().numpy())
        found["latent"].append(e.posterior.mean.numpy())
        if mask is not None and not observed[t]:
            found["expected"].append(e.prediction.mean.numpy())
    return {name: np.stack(values, 1) for name, values in found.items() if values}


def energies(sounds: np.ndarray) -> dict[str, np.ndarray]:
    """Log energy of every frame, and of its differences."""
    frames = sounds.reshape(len(sounds), -1, FRAME)
    return {
        name: np.log((x**2).mean(-1) + LEVEL**2)
        for name, x in (("energy", frames), ("high-passed energy", np.diff(frames, axis=-1)))
    }


def anomalies(filter: Filter, reference: SignReference, sounds: list[np.ndarray]) -> list[dict[str, Any]]:
    """A row for every event and loudness: AUROC, averaged over utterances, and alarms at p < 0.01."""

    def judged(xs: np.ndarray) -> np.ndarray:
        told = heard(filter, xs)
        return reference.p_values(told["score"], told["signs"])

    rows = []
    for event in (*ADDED, *CHANGED):
        for decibels in DECIBELS if event in ADDED or event == "clicks" else (0.0,):
            made = [
                disturbed(s, event, first=FIRST * FRAME, last=LAST * FRAME, decibels=decibels, seed=i)
                for i, s in enumerate(sounds)
            ]
            xs = np.stack([sound for sound, _ in made])
            here = np.stack([where.reshape(-1, FRAME).any(-1) for _, where in made])
            p = judged(xs)
            scores = {"surprise": -np.log(p), **energies(xs)}
            found = {name: float(np.mean(list(map(auroc, score, here)))) for name, score in scores.items()}
            rows.append({"event": event, "dB": decibels, **found, "alarms": float((p < 0.01)[here].mean())})
    for decibels in LOUDNESS:
        p = judged(np.stack([levels(s * 10 ** (decibels / 20)) for s in sounds]))
        rows.append({"event": "nothing", "dB": decibels, "alarms": float((p < 0.01).mean())})
    return rows


def activity(filter: Filter, sounds: list[np.ndarray], decibels: float = 0.0) -> dict[str, float]:
    """Which frames have voice in noise that swells; half of the utterances are fitted on, the others asked."""
    clean, random = np.stack(sounds), np.random.default_rng(0)
    loud = energies(clean)["energy"]
    here = loud > np.quantile(loud, 0.95) - np.log(10.0) * 3.0
    noise = np.cumsum(random.standard_normal(clean.shape), -1)
    noise = noise - np.apply_along_axis(lambda n: np.convolve(n, np.ones(400) / 400, "same"), -1, noise)
    noise *= 10 ** (0.5 * np.sin(2.0 * np.pi * np.arange(clean.shape[-1]) / 8_000))  # 10 decibels up and down
    noise *= np.sqrt((clean**2).mean() / (noise**2).mean()) * 10 ** (-decibels / 20)
    xs = levels(clean + noise)
    told = {"posterior mean": heard(filter, xs)["latent"], "energies": np.stack(list(energies(xs).values()), -1)}
    half = len(sounds) // 2
    found = {}
    for name, features in told.items():
        design = np.concatenate([features, np.ones((*features.shape[:2], 1))], -1)
        before = np.concatenate([design[:half].reshape(-1, design.shape[-1])])
        ridge = 1e-2 * len(before) * np.eye(design.shape[-1])
        weights = np.linalg.solve(before.T @ before + ridge, before.T @ here[:half].ravel())
        found[name] = auroc((design[half:] @ weights).ravel(), here[half:].ravel())
    return found


def concealment(filter: Filter, sounds: list[np.ndarray]) -> dict[str, float]:
    """Signal to noise of the missing frames, in decibels, by what fills them."""
    xs = np.stack(sounds)
    frames = xs.reshape(len(xs), -1, FRAME)
    observed = np.arange(frames.shape[1]) % EVERY != EVERY - 1
    missing = np.flatnonzero(~observed)
    truth, signals = frames[:, missing].astype(np.float64), xs.astype(np.float64)
    lags = sum(np.array([s[: len(s) - k] @ s[k:] for k in range(ORDER + 1)]) for s in signals)
    weights = linalg.solve_toeplitz(lags[:ORDER] + 1e-9 * lags[0] * (np.arange(ORDER) == 0), lags[1:])
    linear = np.concatenate([frames[:, missing - 1, -ORDER:], np.zeros((*truth.shape[:2], FRAME))], -1).astype(
        np.float64
    )
    for t in range(FRAME):
        linear[..., ORDER + t] = linear[..., t : ORDER + t] @ weights[::-1]
    filled = {
        "the prediction": heard(filter, xs, observed)["expected"],
        "one linear predictor": linear[..., ORDER:],
        "the last frame": frames[:, missing - 1],
        "silence": np.zeros_like(truth),
    }
    power = (truth**2).sum()
    return {name: float(10.0 * np.log10(power / ((truth - x) ** 2).sum())) for name, x in filled.items()}


def report(options: argparse.Namespace) -> dict[str, Any]:
    """All three."""
    checkpoint = load("speech")
    sounds = [levels(s * 10 ** (options.level / 20)) for s in speech(options.data, options.count)]
    reference = SignReference.from_dict(checkpoint.card["reference"])
    with torch.no_grad():
        return {
            "anomalies": anomalies(checkpoint.filter, reference, sounds),
            "voice": activity(checkpoint.filter, sounds),
            "lost packets": concealment(checkpoint.filter, sounds),
        }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of speech; a voice is made on the spot without")
    parser.add_argument("--count", type=int, default=8, help="utterances")
    parser.add_argument("--level", type=float, default=0.0, help="decibels that the speech is moved by")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = report(options)
    if options.json:
        print(json.dumps(found))
        return
    print("| event | dB | AUROC of surprise | of energy | of high-passed energy | frames with p < 0.01 |")
    print("|---|---|---|---|---|---|")
    for row in found["anomalies"]:
        figures = [f"{row[name]:.2f}" if name in row else "" for name in ("surprise", "energy", "high-passed energy")]
        print(f"| {row['event']} | {row['dB']:g} | {' | '.join(figures)} | {100 * row['alarms']:.1f} % |")
    print("\nVoice in noise, AUROC:", ", ".join(f"{name} {value:.2f}" for name, value in found["voice"].items()))
    print("Lost frames, dB:", ", ".join(f"{name} {value:.1f}" for name, value in found["lost packets"].items()))


if __name__ == "__main__":
    main()
