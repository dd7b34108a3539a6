"""What benchmarks find: on the screen as it comes, in `benchmarks/results/` as JSON, and where it was found.

The law: a figure is nothing without its machine, so each file says processor, cores, torch, what else was running, and
what the processor does at best: products of large matrices in float32 and bfloat16, and copies of memory.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from avf_server.problems import StartError
from avf_server.stores import embedded
from rich.console import Console

from avf_core.native import library

FOLDER = Path(__file__).parent / "results"
SIZE = 1024  # of the square matrices
COPIED = 1 << 26  # bytes
screen = Console(stderr=True)


def options(description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark of `make bench`. When it is ended, it ends what it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a short form, whose figures are rough")
    return parser


def told(found: dict[str, Any], *, as_json: bool) -> None:
    """Print what was found: as JSON, or to read."""
    if as_json:
        print(json.dumps(found))
    else:
        Console().print_json(json.dumps(found))


def machine() -> dict[str, Any]:
    """Where figures are found."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "redis": _redis(),
        "executor": "none" if (found := library.load()) is None else found.variant,
        "gflops_float32": _gflops(torch.float32),
        "gflops_bfloat16": _gflops(torch.bfloat16),
        "copied_gb_per_second": _copied(),
    }


def _redis() -> str:
    """What keeps the beliefs of servers here: the program and its version; most benchmarks need none."""
    try:
        program = embedded.binary()
    except StartError:
        return "none"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join(re.findall(r"^\w+|v=[\d.]+", said)).replace("v=", "")


def median_seconds(work: Callable[[], object], rounds: int = 7) -> float:
    """Processor time of this thread, the median of some rounds after a first one."""
    times = []
    for _ in range(rounds + 1):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return statistics.median(times[1:])


def _gflops(dtype: torch.dtype) -> float:
    """Of one thread, in products of large square matrices."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.randn(2, SIZE, SIZE).to(dtype)
    seconds = median_seconds(lambda: a @ b)
    torch.set_num_threads(threads)
    return round(2e-9 * SIZE**3 / seconds, 1)


def _copied() -> float:
    """Gigabytes a second that are read and written by a copy of more than any cache holds."""
    source, target = torch.ones(2, COPIED, dtype=torch.uint8)
    return round(2e-9 * COPIED / median_seconds(lambda: target.copy_(source)), 1)


def _processor() -> str:
    """Its name, as Linux says it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


Row = list[str]
TableOf = tuple[str, Row, list[Row]]
"""A title, columns and rows."""


def tables(found: dict[str, Any]) -> list[TableOf]:
    """What was found, as tables to read: figures that are by the same names stand side by side in one."""
    together: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    made: list[TableOf] = []
    for key, value in found.items():
        if key == "machine" or not value:
            continue
        if isinstance(value, list) and all(isinstance(one, dict) for one in value):
            made.append((words(key), *_of_rows([flat(one) for one in value])))
        elif isinstance(value, dict) and all(isinstance(one, dict) for one in value.values()):
            made.append((words(key), *_of_rows([{"": name, **flat(one)} for name, one in value.items()])))
        elif isinstance(value, dict):
            together.setdefault(tuple(value), {})[key] = value
    for names, figures in together.items():
        rows = [[name, *(text(figures[key][name]) for key in figures)] for name in names]
        made.append(("", ["", *map(words, figures)], rows))
    return made


def flat(found: dict[str, Any]) -> dict[str, Any]:
    """Figures within figures, by the names of both."""
    whole: dict[str, Any] = {}
    for key, value in found.items():
        inner = flat(value) if isinstance(value, dict) else {}
        whole |= {f"{words(key)}: {name}": one for name, one in inner.items()} if inner else {key: value}
    return whole


def _of_rows(rows: list[dict[str, Any]]) -> tuple[Row, list[Row]]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return list(map(words, columns)), [[text(row.get(key, "")) for key in columns] for row in rows]


def words(key: str) -> str:
    """The name of a figure, to read."""
    return key.replace("_per_second", "/s").replace("_", " ")


def text(value: Any) -> str:
    """A figure, to read: of numbers, three digits or what is before the point."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def write(name: str, found: dict[str, Any], folder: Path) -> None:
    """Keep what a benchmark found."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def say(text: str) -> None:
    """One line of what is going on, to who watches."""
    screen.print(text) if sys.stderr.isatty() else print(text, file=sys.stderr, flush=True)
