"""The queue of `avf reproduce`: entries of a table trained, evaluated and recorded, several side by side.

    for each entry whose start is trained:    avf train ... (a process of its own)  ->  its record (another)

The law: one entry that fails stops no other; a stop ends all at once, saves, and the same queue goes on later.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch

from avf_core.errors import AvfError
from avf_core.reproduction import planning, records, sensors
from avf_core.reproduction.entries import Entry
from avf_core.reproduction.planning import State, Step, Where

Stage = Literal["waiting", "training", "scoring", "done", "stopped", "failed"]
POLL = 0.1  # seconds between looks at the processes
LOG_END = 4096  # bytes of a log that are looked at for its last line


@dataclass(kw_only=True)
class Task:
    """An entry on its way through the queue; `error` says why it failed."""

    step: Step
    stage: Stage = "waiting"
    error: str = ""
    seconds: float = 0.0  # of training, by the wall clock, all parts of it
    resumed: float = field(default_factory=time.monotonic)
    process: subprocess.Popen[bytes] | BaseProcess | None = None

    @property
    def name(self) -> str:
        """The entry's."""
        return self.step.entry.name


@runtime_checkable
class Display(Protocol):
    """Who shows how the queue goes."""

    def began(self, task: Task, typed: str) -> None:
        """When `avf train` was started, with the command as a user would type it."""

    def changed(self, task: Task, log: Path) -> None:
        """After a task has come to another stage; its log says more."""

    def looked(self, tasks: Sequence[Task]) -> None:
        """After every look at the processes."""


class Queue:
    """The tasks of a plan. `run` returns when all are done or failed, or when it was told to stop."""

    def __init__(self, steps: Sequence[Step], table: Sequence[Entry], where: Where, display: Display) -> None:
        self.table, self.where, self.display = table, where, display
        self.tasks = [Task(step=step, stage="done" if step.to == "nothing" else "waiting") for step in steps]
        self.interrupted = False

    def run(self, *, jobs: int, stop: Callable[[], int]) -> list[Task]:
        """Work until nothing is left; `stop` says how often it was asked to: once to save, twice to kill.

        Gives the tasks that failed. After a stop, those that were not done are `stopped` or `waiting`.
        """
        try:
            while self._work(jobs, asked := stop()) and asked < 2:
                time.sleep(POLL)
        finally:
            for task in self._busy():
                self._kill(task)
        return [task for task in self.tasks if task.stage == "failed"]

    def _work(self, jobs: int, asked: int) -> bool:
        """Look at all processes once and begin what may begin; False where nothing is left."""
        if asked and not self.interrupted:
            self._interrupt()
        for task in self._busy():
            self._look(task)
        self._give_up()
        while not self.interrupted and self._ready() and len(self._busy()) < jobs:
            self._begin(self._ready()[0])
        self.display.looked(self.tasks)
        return bool(self._busy()) or (not self.interrupted and bool(self._ready()))

    def _busy(self) -> list[Task]:
        return [task for task in self.tasks if task.stage in ("training", "scoring")]

    def _ready(self) -> list[Task]:
        """Tasks that wait for nothing but a place."""
        waited_for = {task.name for task in self.tasks if task.stage != "done"}
        waiting = [task for task in self.tasks if task.stage == "waiting"]
        return [task for task in waiting if waited_for.isdisjoint(task.step.entry.waits_for)]

    def _give_up(self) -> None:
        """Tasks whose start has failed fail too; starts stand before what starts from them."""
        for task in self.tasks:
            failed = {other.name for other in self.tasks if other.stage == "failed"}
            lost = failed.intersection(task.step.entry.waits_for)
            if task.stage == "waiting" and lost:
                self._to(task, "failed", error=f"its start {', '.join(sorted(lost))} failed")

    def _begin(self, task: Task) -> None:
        entry = task.step.entry
        task.resumed = time.monotonic()
        try:
            state = planning.begin(entry, self.where)
            task.seconds = state.seconds
            if task.step.to == "score":
                self._score(task)
            else:
                self._train(task)
        except (OSError, AvfError) as error:
            self._to(task, "failed", error=str(error))

    def _train(self, task: Task) -> None:
        """Start `avf train` in a session of its own, so that the terminal's Ctrl-C reaches it only through us."""
        entry = task.step.entry
        left = entry.minutes * self.where.stretch - task.seconds / 60.0
        arguments = planning.command(entry, self.where, minutes=left)
        typed = planning.as_typed(arguments)
        self.display.began(task, typed)
        with self._log(task).open("ab") as file:
            file.write(f"$ {typed}\n".encode())
            file.flush()
            task.process = subprocess.Popen(
                [sys.executable, "-m", "avf_client", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "160", "OMP_NUM_THREADS": str(self.where.threads)},
                start_new_session=True,
            )
        self._to(task, "training")

    def _score(self, task: Task) -> None:
        run = planning.trained(task.step.entry, self.table, self.where, seconds=task.seconds)
        path = self.where.results / self.where.table / f"{task.name}.json"
        process = _context().Process(target=write_record, args=(run, path, self._log(task), self.where.threads))
        process.start()
        task.process = process
        self._to(task, "scoring")

    def _look(self, task: Task) -> None:
        """Go on with a task whose process has ended."""
        code = task.process.poll() if isinstance(task.process, subprocess.Popen) else _exit_code(task.process)
        if code is None:
            return
        if task.stage == "training":
            self._trained(task, code)
        elif code == 0:
            self._to(task, "done")
        elif self.interrupted:
            self._to(task, "stopped")
        else:
            self._to(task, "failed", error=last_line(self._log(task)) or f"exit code {code}")

    def _trained(self, task: Task, code: int) -> None:
        task.seconds += time.monotonic() - task.resumed
        complete = code == 0 and not self.interrupted
        State(entry=task.step.entry, seconds=task.seconds, trained=complete).save(self.where.folder(task.name))
        if complete:
            self._score(task)
        elif self.interrupted:
            self._to(task, "stopped")
        else:
            self._to(task, "failed", error=last_line(self._log(task)) or f"exit code {code}")

    def _interrupt(self) -> None:
        """Trainings save on SIGINT; evaluations are repeated."""
        self.interrupted = True
        for task in self._busy():
            if isinstance(task.process, subprocess.Popen):
                task.process.send_signal(signal.SIGINT)
            elif task.process is not None:
                task.process.terminate()

    def _kill(self, task: Task) -> None:
        if isinstance(task.process, subprocess.Popen):
            task.process.kill()
            task.process.wait()
        elif task.process is not None:
            task.process.kill()
            task.process.join()

    def _to(self, task: Task, stage: Stage, *, error: str = "") -> None:
        task.stage, task.error = stage, error
        self.display.changed(task, self._log(task))

    def _log(self, task: Task) -> Path:
        return self.where.folder(task.name) / "log.txt"


def write_record(run: records.Trained, path: Path, log: Path, threads: int) -> None:
    """What the recording process does: evaluate, tell the log, write the record."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it will end it
    torch.set_num_threads(threads)
    with log.open("a") as file:

        def say(line: str) -> None:
            file.write(f"{line}\n")
            file.flush()

        try:
            made = sensors.record if run.entry.command == "fit" else records.record
            records.write(path, made(run, say))
        except Exception as error:
            say(f"avf: {error}" if isinstance(error, AvfError) else traceback.format_exc())
            sys.exit(1)


def last_line(log: Path) -> str:
    """The last line of a log that has anything in it."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_END))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _context() -> SpawnContext | ForkServerContext:
    """Processes that are forked from one that has imported torch and done nothing else, where there is such a thing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _exit_code(process: BaseProcess | None) -> int | None:
    return process.exitcode if process is not None else -1
