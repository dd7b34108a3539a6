"""`make chaos MINUTES=10`: the long form. One JSON object on standard output, progress and violations on stderr.

Exit code 1 where anything was lost, doubled, wrong, reordered or out of nowhere, where a server had a fault of its own,
or where one that was told to stop took too long.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .experiment import Outcome, Plan, experiment
from .faults import Faults
from .history import History, Reply, now
from .needs import NEEDS, Impossible
from .report import passed

SHOWN = 20  # violations
ROUNDS = 5  # of each need
BETWEEN_LINES = 30.0  # seconds
console = Console(stderr=True)


def main() -> None:
    """Read the options, carry out the plan, print what came of it."""
    options = _options()
    plan = Plan(
        seed=secrets.randbelow(10**6) if options.seed is None else options.seed,
        seconds=60.0 * options.minutes,
        servers=options.servers,
        sessions=options.sessions,
        every=options.every,
        durabilities=("group", "behind", "wait"),
        replica=True,
    )
    with tempfile.TemporaryDirectory(prefix="avf-chaos-") as name:
        outcome = asyncio.run(_watched(plan, Path(name)))
        if not passed(outcome.counts):
            _tell(outcome, Path(name))
        needs = {need: asyncio.run(_in_need(need, Path(name) / need)) for need in NEEDS}
    sys.stdout.write(json.dumps({**outcome.counts, "needs": needs}) + "\n")
    sys.exit(0 if passed(outcome.counts) and not any(each.get("violations") for each in needs.values()) else 1)


async def _in_need(name: str, folder: Path) -> dict[str, Any]:
    """What became of a Redis that came to this, a few times."""
    folder.mkdir()
    try:
        found = await NEEDS[name](folder, ROUNDS)
    except Impossible as reason:
        return {"skipped": str(reason)}
    for line in found.violations[:SHOWN]:
        console.print(f"[red]{name}[/red] {line}", soft_wrap=True)
    return {"acknowledged": found.acknowledged, "violations": len(found.violations)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Servers and their Redis under fire.")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long [default: 2]")
    parser.add_argument("--seed", type=int, help="of the plan; drawn where absent")
    parser.add_argument("--servers", type=int, default=4, help="[default: 4]")
    parser.add_argument("--sessions", type=int, default=24, help="[default: 24]")
    parser.add_argument("--every", type=float, default=1.3, help="mean seconds between two faults [default: 1.3]")
    return parser.parse_args()


async def _watched(plan: Plan, folder: Path) -> Outcome:
    """The experiment, with its progress on standard error: a table in a terminal, else a line now and then."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=2) as live:
            return await experiment(
                plan, folder, progress=lambda faults, history: live.update(_table(plan, _so_far(faults, history)))
            )
    said = now()

    def say(faults: Faults, history: History) -> None:
        nonlocal said
        if now() > said + BETWEEN_LINES:
            said = now()
            counts = ", ".join(f"{name} {count}" for name, count in _so_far(faults, history).items())
            console.print(f"seed {plan.seed}: {counts}", soft_wrap=True)

    return await experiment(plan, folder, progress=say)


def _so_far(faults: Faults, history: History) -> dict[str, int]:
    """What has been done, and how often."""
    kinds = Counter(fault.kind.replace("_", " ") for fault in faults.log)
    replies = sum(isinstance(event, Reply) for event in history.events)
    return {**kinds, "reset": faults.cluster.proxy.resets, "client crash": history.crashes, "reply": replies}


def _table(plan: Plan, counts: dict[str, int]) -> Table:
    """The same for people who watch."""
    table = Table(title=f"seed {plan.seed}, {plan.seconds / 60:g} minutes")
    table.add_column("done")
    table.add_column("times", justify="right")
    for name, count in counts.items():
        table.add_row(name, str(count))
    return table


def _tell(outcome: Outcome, folder: Path) -> None:
    """What went wrong, for people."""
    for durability, found in outcome.findings.items():
        for line in found.violations[:SHOWN]:
            console.print(f"[red]{durability}[/red] {line}", soft_wrap=True)
    for name, count in outcome.history.faults.items():
        console.print(f"[red]{count} answers were {name}[/red]")
    for log in sorted(folder.glob("server*.log")):
        traces = [line for line in log.read_text().splitlines() if "Error" in line or "ERROR" in line]
        for line in traces[-SHOWN:]:
            console.print(f"{log.name}: {line}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
