"""How long does the SDK take to import, and does torch come with it?

    python -m benchmarks.imports [--json]

Each module is imported ROUNDS times, in an interpreter of its own, in turns with one that imports nothing: the
medians' difference is what the import costs. Seconds are the processor's, so that a busy machine counts less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

ROUNDS = 7
STATEMENTS = {
    "nothing": "pass",
    "import avf_client": "import avf_client",
    "from avf_client import Client": "from avf_client import Client",
    "from avf_client import AsyncClient": "from avf_client import AsyncClient",
    "a client that streams": "from avf_client import Client; import avf_client.blocking.streaming",
    "avf --help": "from avf_client.commands.cli import main; main(['--help'])",
}


def measure(statement: str) -> tuple[float, bool]:
    """Processor seconds of an interpreter that runs this, and whether torch was imported in it."""
    code = f"import atexit, sys\natexit.register(lambda: print('torch' in sys.modules))\n{statement}"
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, done.stdout.splitlines()[-1] == "True"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    torch: dict[str, bool] = {}
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            seconds, torch[name] = measure(statement)
            times[name].append(seconds)
    empty = statistics.median(times["nothing"])
    rows = [
        {"statement": name, "seconds": round(statistics.median(each) - empty, 3), "torch": torch[name]}
        for name, each in times.items()
    ]
    if options.json:
        print(json.dumps({"rounds": ROUNDS, "interpreter_seconds": round(empty, 3), "rows": rows}))
        return
    print(f"| statement | seconds beyond the interpreter's {empty:.3f} | torch |\n|---|---|---|")
    for row in rows:
        print(f"| `{row['statement']}` | {row['seconds']} | {'yes' if row['torch'] else 'no'} |")


if __name__ == "__main__":
    main()
