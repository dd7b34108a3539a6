"""Files that are almost right, at every reader of users' files: `python -m tests.fuzz.readers KIND --count 10000`.

The law: whatever a file holds, its reader gives an answer or one SourceError, within CPU_SECONDS of processor time (so
that a busy machine is no fault) and MEMORY bytes beyond what it held before. Readers run in a process of their own,
which dies where one of them does not come back; what came of each file is known by its line, and the same seed and
number give the same file.
"""

import importlib
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

import click
from avf_sources import SourceError

ROOT = Path(__file__).parents[2]
READERS = (
    "tests.fuzz.music_files:KIND",
    *(f"tests.fuzz.numeric_files:{name}" for name in ("ARRAYS", "SOUNDS", "VIDEOS")),
    "tests.fuzz.table_files:TABLES",
)
"""The kinds of files, each `module:attribute`: a Kind."""

CPU_SECONDS = 2.0
MEMORY = 500 << 20
_SPACE = 4 << 30  # of addresses: beyond it memory is refused before the machine runs out of it


@dataclass(frozen=True)
class Kind:
    """A kind of files: valid ones by their names, what becomes of one, and who reads it."""

    name: str
    valid: Callable[[], dict[str, bytes]]
    spoil: Callable[[Random, str, bytes], bytes]
    read: Callable[[str, Random], object]


@dataclass
class Report:
    """What came of the files of a kind: how many were read and refused, and each fault with its number."""

    kind: str
    files: int = 0
    read: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    most_cpu_s: float = 0.0
    most_memory: int = 0


@dataclass(frozen=True)
class Line:
    """What came of one file."""

    number: int
    name: str
    outcome: str  # "read", "refused", or what was wrong
    cpu_s: float
    memory: int


def run(place: str, *, count: int, seed: int = 0, seconds: float = float("inf")) -> Report:
    """Files 0 to count - 1 of the kind at `module:attribute`; fewer where that takes longer than allowed."""
    report, began = Report(kind=kind(place).name), time.monotonic()
    while report.files < count and time.monotonic() - began < seconds:
        before = report.files
        with _worker(place, seed=seed, first=before, count=min(count - before, 1000)) as worker:
            assert worker.stdout is not None
            for text in worker.stdout:
                _add(report, Line(**json.loads(text)))
        if worker.returncode > 0 and report.files == before:
            raise AssertionError(f"the readers' process ended with {worker.returncode} before its first file")
        if worker.returncode:
            died = (
                f"died of signal {-worker.returncode}" if worker.returncode < 0 else f"ended with {worker.returncode}"
            )
            report.faults.append(f"{report.files}: its reader {died}")
            report.files += 1
    return report


def spoilt(kind: Kind, seed: int, number: int) -> tuple[str, bytes, Random]:
    """The name and the bytes of a file of a kind, by its number, and the generator that made it."""
    random = Random(f"{kind.name} {seed} {number}")
    name, valid = random.choice(sorted(kind.valid().items()))
    return name, kind.spoil(random, name, valid), random


def judged(read: Callable[[str, Random], object], path: str, random: Random) -> str:
    """What a reader makes of a file: "read", "refused", or what is wrong with its answer."""
    try:
        read(path, random)
    except SourceError as error:
        return "refused" if str(error).strip() else "refused without a word"
    except Exception as error:
        return f"raised {type(error).__name__}: {str(error)[:300]}"
    return "read"


def _add(report: Report, line: Line) -> None:
    report.files += 1
    report.most_cpu_s = max(report.most_cpu_s, line.cpu_s)
    report.most_memory = max(report.most_memory, line.memory)
    outcome = line.outcome if line.memory <= MEMORY else f"took {line.memory >> 20} MiB"
    match outcome:
        case "read":
            report.read += 1
        case "refused":
            report.refused += 1
        case _:
            report.faults.append(f"{line.number}: {line.name} {outcome}")


def _worker(place: str, *, seed: int, first: int, count: int) -> subprocess.Popen[str]:
    numbers = ("--seed", str(seed), "--first", str(first), "--count", str(count))
    command = [sys.executable, "-m", "tests.fuzz.readers", place, "--lines", *numbers]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _lines(kind: Kind, *, seed: int, first: int, count: int) -> Iterator[Line]:
    """Read files one by one; this process dies of SIGPROF or of its limits where a reader does not keep them."""
    with tempfile.TemporaryDirectory() as folder:
        for name, valid in kind.valid().items():  # so that what is imported on the way counts for no file
            (Path(folder) / name).write_bytes(valid)
            if (outcome := judged(kind.read, str(Path(folder) / name), Random(0))) != "read":
                raise AssertionError(f"the valid file {name} {outcome}")
        resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + _SPACE, resource.RLIM_INFINITY))
        for number in range(first, first + count):
            name, data, random = spoilt(kind, seed, number)
            (Path(folder) / name).write_bytes(data)
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before, began = _memory("VmRSS"), time.process_time()
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            outcome = judged(kind.read, str(Path(folder) / name), random)
            signal.setitimer(signal.ITIMER_PROF, 0)
            yield Line(number, name, outcome, time.process_time() - began, max(_memory("VmHWM") - before, 0))


def _memory(what: str) -> int:
    """Bytes of this process, by the name that Linux has for it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"/proc/self/status has no {what}")


def kind(place: str) -> Kind:
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, Kind)
    return found


@click.command()
@click.argument("place")
@click.option("--count", default=10_000, show_default=True, help="Files to make.")
@click.option("--first", default=0, show_default=True, help="The number of the first one.")
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--lines", is_flag=True, help="Read them in this process, and write a line for each.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the first file into this folder, and read none.")
def main(place: str, count: int, first: int, seed: int, lines: bool, keep: Path | None) -> None:
    """Read COUNT files of the kind at PLACE, `module:attribute`, and report what came of them."""
    if keep is not None:
        name, data, _ = spoilt(kind(place), seed, first)
        (keep / name).write_bytes(data)
        return
    if lines:
        for line in _lines(kind(place), seed=seed, first=first, count=count):
            print(json.dumps(asdict(line)), flush=True)
        return
    report = run(place, count=count, seed=seed)
    print(json.dumps(asdict(report)))
    raise SystemExit(bool(report.faults))


if __name__ == "__main__":
    importlib.import_module("tests.fuzz.readers").main()  # the module that the kinds know, not this copy of it
