"""What `avf evaluate` prints of each of its parts, as tables for a terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from avf_core.analysis import student
from avf_core.analysis.bounds import Bound
from avf_core.analysis.calibration import Calibration
from avf_core.analysis.evaluation import Evaluation
from avf_core.analysis.monitoring import Monitoring
from avf_core.analysis.operating import Curve
from avf_core.analysis.predictive import Predictive
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.commands.verdicts import beside


def _table(title: str, rows: Sequence[tuple[str, str]], *, heading: str = "nats per step") -> Table:
    table = Table(title=title)
    table.add_column(heading)
    table.add_column("", justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def figures(name: str, split: str, result: Evaluation) -> Table:
    """Of the free energy itself."""
    return _table(f"{name}, {split} split: {result.sequences} sequences, {result.steps} steps", rows_of(result))


def rows_of(result: Evaluation) -> list[tuple[str, str]]:
    """What is printed of an evaluation: figures with as many digits as noise allows, errors over sequences beside."""
    by = result.noise_error if result.noise_error is not None else result.standard_error
    several = result.standard_error is not None
    rows = [
        ("free energy, pooled over steps", student.told(result.free_energy_pooled, result.standard_error, by=by)),
        (
            "free energy, mean over sequences",
            student.told(result.free_energy_sequence_mean, result.sequence_mean_error, by=by),
        ),
        ("free energy, without first frames", student.told(result.free_energy_without_first_frame, None, by=by)),
        ("  of it reconstruction", student.told(result.reconstruction, None, by=by)),
        ("  of it KL", student.told(result.kl, None, by=by)),
    ]
    energies = enumerate(result.free_energy_by_iteration)
    rows += [(f"after {i} iterations", student.told(energy, None, by=by)) for i, energy in energies]
    if result.noise_error is not None:
        rows.append((f"error over noise, {result.passes} passes", f"{result.noise_error:.2g}"))
    return [*rows, ("± is over sequences", "")] if several else rows


def _predictions(found: Predictive) -> Table:
    rows = []
    if found.coverage is not None:
        pairs = zip(found.levels, found.coverage, strict=True)
        rows += [(f"within the {level:.0%} band", f"{covered:.1%}") for level, covered in pairs]
        rows.append(("within mean +- 1.645 deviations", f"{found.band_90:.1%}"))
    if found.calibration_error is not None:
        rows.append(("expected calibration error", f"{found.calibration_error:.4f}"))
    if found.likely_error is not None:
        rows.append(("  of probabilities above 0.1", f"{found.likely_error:.4f}"))
    return _table(f"predictions as they are served, {found.samples} samples", rows, heading="one step ahead")


def _bound(found: Bound) -> Table:
    rows = [
        ("-log p at most, pooled over steps", _with_error(found.pooled, found.standard_error)),
        ("-log p at most, mean over sequences", _with_error(found.sequence_mean, found.sequence_mean_error)),
        ("effective sample size, mean", f"{found.effective:.1f}"),
        ("steps after which was resampled", f"{found.resampled:.1%}"),
    ]
    if found.monte_carlo_error is not None:
        rows.insert(1, (f"  error over {found.repeats} repeats", f"{found.monte_carlo_error:.4f}"))
    return _table(f"{found.kind} bound, {found.particles} particles; error over sequences", rows)


def _monitor(seen: Monitoring) -> Table:
    largest = sorted(seen.kl_by_dimension, reverse=True)[:5]
    rows = [
        ("latent dimensions", str(seen.units)),
        ("  with KL above 0.01", str(seen.informed_units)),
        ("  active (variance of the mean above 0.01)", str(seen.active_units)),
        ("largest KL of a dimension", ", ".join(f"{kl:.3f}" for kl in largest)),
    ]
    rows += [
        (f"gain over the prior, {i + 1} iterations", f"{gain:.4f}") for i, gain in enumerate(seen.gain_by_iteration)
    ]
    if seen.gap is not None:
        rows.append((f"amortisation gap, {seen.gap_steps} steps", _with_error(seen.gap, seen.gap_error)))
    return _table("latents and inference", rows)


def _calibration(ranks: Calibration) -> Table:
    rows = [
        (f"within the {level:.0%} interval", f"{covered:.1%}")
        for level, covered in zip(ranks.levels, ranks.coverage, strict=True)
    ]
    rows += [
        ("ranks in tenths, per cent", " ".join(f"{100 * n / ranks.values:.1f}" for n in ranks.rank_histogram)),
        ("p-value of uniform ranks", f"{ranks.uniformity:.3g}"),
        ("CRPS, mean over values", f"{ranks.crps:.5g}"),
    ]
    return _table(f"predictions by {ranks.particles} particles", rows, heading="one step ahead")


def _reference(reference: ReferenceDistribution) -> Table:
    wanted = (0.05, 0.25, 0.5, 0.75, 0.95)
    values = np.interp(wanted, reference.levels, reference.values)
    rows = [(f"{level:.0%} of steps below", f"{value:.3f}") for level, value in zip(wanted, values, strict=True)]
    return _table(f"free energy of {reference.count} steps", rows, heading="nats")


def _curve(found: Curve) -> Table:
    rows = [(str(w.point), f"{w.free_energy:.4f}  {w.ms_1:8.3f} ms  {w.ms_64:8.4f} ms") for w in found.points]
    return _table("What the time of a step is worth", rows, heading="point: nats per step, ms of a row alone, of 64")


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4f}" if error is None else f"{value:.4f} +- {error:.4f}"


OF: Mapping[str, Callable[[Any], Table]] = {
    "predictions": _predictions,
    "bound": _bound,
    "monitor": _monitor,
    "calibration": _calibration,
    "reference": _reference,
    "baselines": beside,
    "curve": _curve,
}
"""The table of each part, by its name."""
