"""A verdict as a table: the filter in its place among the baselines, and what it loses in."""

from rich.table import Table

from avf_core.analysis.verdict import Verdict
from avf_core.training import report


def beside(found: Verdict) -> Table:
    """The filter among the baselines, for a terminal."""
    caption = f"The filter is {found.sentence}. {report.notes(found)}"
    table = Table(title=f"beside textbook predictors, {found.comparison.steps} steps", caption=caption)
    table.add_column("")
    table.add_column("nats per step", justify="right")
    for horizon in found.errors:
        table.add_column(f"error, {horizon} ahead", justify="right")
    for name, nats, errors in report.rows(found):
        cells = [f"{nats:.4f}", *(f"{error:.3f}" for error in errors.values())]
        table.add_row(name, *cells, style="bold" if name == report.THE_FILTER else None)
    return table
