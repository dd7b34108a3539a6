"""The rows that compare_inference.py makes, and their table."""

from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One procedure. F in nats per step; `above` is what F is above the reference's, on the same noise.

    Errors are standard errors over sequences. Milliseconds are medians of a step: of one sequence, and of all together.
    """

    procedure: str
    iterations: int | None
    free_energy: float
    error: float
    above: float
    above_error: float
    milliseconds: float
    milliseconds_together: float


@dataclass(frozen=True, kw_only=True)
class Section:
    """One model: its rows, the first of which is the reference, and exact figures in nats per step where known."""

    title: str
    caption: str
    sequences: int
    steps: int
    exact: dict[str, float]
    rows: list[Row]


def table(section: Section) -> Table:
    """The rows of a section, under its exact figures."""
    shown = Table(title=section.title, caption=section.caption, title_justify="left", caption_justify="left")
    shown.add_column("inference")
    headings = ["iterations", "nats/step", "above the first", "ms/step, one", f"ms/step, {section.sequences} together"]
    for heading in headings:
        shown.add_column(heading, justify="right")
    for name, value in section.exact.items():
        shown.add_row(f"[dim]{name}[/]", "", f"[dim]{value:.3f}[/]", "", "", "")
    for row in section.rows:
        shown.add_row(
            row.procedure,
            "" if row.iterations is None else str(row.iterations),
            f"{row.free_energy:.3f} ± {row.error:.3f}",
            f"{row.above:+.3f} ± {row.above_error:.3f}",
            f"{row.milliseconds:.2f}",
            f"{row.milliseconds_together:.2f}",
        )
    return shown
