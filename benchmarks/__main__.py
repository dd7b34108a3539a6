"""All benchmarks of speed, one after the other: what `make bench` runs.

    python -m benchmarks [--full] [--only NAME ...]

In their short forms they end within ten minutes, and their figures, which are rough, lie in
`benchmarks/results/quick/`. With `--full` they take about a quarter of an hour on two cores that do nothing else; of
what they find, `benchmarks/results/`, `python -m benchmarks.page` makes docs/performance.md. Each is shown as it comes,
and written as JSON with plots beside it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks import plots, results

TEN_MINUTES = 600.0  # seconds, for all short forms together
FULL = 3600.0  # seconds, for each


class Form(NamedTuple):
    """How a benchmark is run: the arguments of its short form and of its whole one."""

    quick: tuple[str, ...] = ("--quick",)
    full: tuple[str, ...] = ()


SUITE = {
    "step": Form(),
    "roofline": Form(),
    "serve": Form(quick=("--seconds", "1.5"), full=("--seconds", "6")),
    "peers": Form(),
    "training": Form(quick=("--rounds", "1", "--presets", "paper-jsb"), full=("--rounds", "4")),
    "realtime": Form(),
}


def run(name: str, *, full: bool, within: float) -> dict[str, Any] | str:
    """What a benchmark finds, or why it found nothing. What it says on the way is shown as it is said."""
    form = SUITE[name]
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *(form.full if full else form.quick)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    timer = threading.Timer(within, process.terminate)
    timer.start()
    out: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: out.append(process.stdout.read() if process.stdout else ""))
    reader.start()
    last = ""
    for line in process.stderr:
        last = line.rstrip() or last
        results.screen.print(f"  {line.rstrip()}", style="dim", highlight=False, markup=False)
    reader.join()
    timer.cancel()
    if process.wait():
        ended = process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
        return f"it did not end within {within:.0f} s" if ended else last
    found: dict[str, Any] = json.loads(out[0])
    return found


def shown(found: dict[str, Any]) -> None:
    """The tables of what was found, on the screen."""
    for title, columns, rows in results.tables(found):
        table = Table(title=title, title_justify="left", box=None, header_style="bold")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*row)
        results.screen.print(table)


def main() -> None:
    """Run, show, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(SUITE), default=list(SUITE))
    told = parser.parse_args()
    folder = results.FOLDER if told.full else results.FOLDER / "quick"
    end, failed = time.monotonic() + TEN_MINUTES, []
    for name in told.only:
        left = FULL if told.full else end - time.monotonic()
        if left <= 0:
            failed.append(f"{name}: the ten minutes were over")
            continue
        results.screen.rule(f"[bold]{name}[/bold]", align="left")
        began = time.monotonic()
        found = run(name, full=told.full, within=left)
        if isinstance(found, str):
            failed.append(f"{name}: {found}")
            results.screen.print(failed[-1], style="red", markup=False)
            continue
        whole = found | {"quick": not told.full, "wall_s": round(time.monotonic() - began, 1)}
        whole |= {} if isinstance(found.get("machine"), dict) else {"machine": results.machine()}
        results.write(name, whole, folder)
        plots.draw(name, whole, folder)
        shown(whole)
    results.screen.print(f"figures and plots: {folder}", highlight=False)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
