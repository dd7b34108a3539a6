"""How far the entries of a table are: what was run, for how long, how much of its length, and what is missing.

Read from the runs at hand and from the records; where both are there, from the one that is further.
"""

from dataclasses import dataclass

from avf_core.reproduction import records
from avf_core.reproduction.entries import Entry, epochs_in
from avf_core.reproduction.planning import Where
from avf_core.training import presets
from avf_core.training import state as run_state


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Of an entry: `epochs` trained of those there are, minutes of one core, and the recorded F in nats per step.

    `of` is None for one that is trained for another's time, or fitted. `free_energy` is of the reported split,
    None where there is no record.
    """

    epochs: int
    of: int | None
    minutes: float
    free_energy: float | None

    @property
    def share(self) -> float | None:
        """How much of its length was trained."""
        return None if self.of is None else self.epochs / self.of


def standing(entry: Entry, where: Where) -> Standing:
    """How far an entry is. Raises TrainingError where its record is damaged, CheckpointError where its run is."""
    recorded, figure = _record(entry, where)
    epochs, seconds = max(_run(entry, where), recorded)
    for_a_while = entry.time_of is not None or entry.command == "fit"
    of = None if for_a_while else _length(entry)
    return Standing(epochs=epochs, of=of, minutes=seconds / 60.0, free_energy=figure)


def told(found: Standing) -> str:
    """In words, for people."""
    if not found.epochs:
        return "nothing yet"
    figure = "no record yet" if found.free_energy is None else f"F {found.free_energy:.3f}"
    by_time, whole = f"{found.epochs} epochs by time", f"{found.epochs} of {found.of} epochs"
    length = by_time if found.share is None else f"{whole} ({found.share:.0%})"
    return f"{length}, {found.minutes:.0f} min; {figure}"


def _length(entry: Entry) -> int:
    """The epochs of an entry."""
    return epochs_in(entry.changes) or presets.get(entry.preset).training.epochs


def _run(entry: Entry, where: Where) -> tuple[int, float]:
    """The epochs and seconds of the run at hand, as it was last saved."""
    found = run_state.reached(where.folder(entry.name))
    return (0, 0.0) if found is None else (found.epoch, found.seconds)


def _record(entry: Entry, where: Where) -> tuple[tuple[int, float], float | None]:
    """The epochs and seconds of the record, and its figure."""
    if not records.is_there(where.results, where.table, entry):
        return (0, 0.0), None
    found = records.read(where.results, where.table, entry.name)
    return (int(found["epochs"]), float(found["seconds"])), float(found["test"]["free_energy_pooled"])
