"""What a run came to: `result.json`, with its learning curve as a picture beside it.

The law: it names the checkpoint whose figures it has, by its digest, and is read beside that one only: a run that was
killed after it had found a better checkpoint has none until the same command has gone on to its end.
"""

import json
from pathlib import Path
from typing import Any

import avf_sources

from avf_core import checkpoints
from avf_core.checkpoints import Checkpoint
from avf_core.errors import TrainingError
from avf_core.training import state

RESULT, CURVE = FILES = ("result.json", "curve.png")
ANY = "any"  # what results of earlier releases, which name no checkpoint, are of


def write(folder: Path, result: dict[str, Any], best: Checkpoint | None, *, curve: bytes | None) -> None:
    """Write the result of a run whose best checkpoint this is, where there is one."""
    document = {**result, "checkpoint": best.digest if best else None}
    files: dict[str, bytes | str] = {RESULT: json.dumps(document, indent=1) + "\n"}
    avf_sources.replace_set(folder, files | ({CURVE: curve} if curve is not None else {}))


def best(run: str | Path) -> Checkpoint:
    """The best checkpoint of a run, in its folder, or one of the zoo.

    Raises TrainingError for a run that stopped before its first validation: it has none.
    """
    folder = Path(run)
    begun = avf_sources.holds(folder, RESULT) or avf_sources.holds(folder, state.RUN)
    if begun and not avf_sources.holds(folder, checkpoints.CONFIG):
        raise TrainingError(
            f"{run} has no checkpoint: it stopped before its first validation; give its command again, with more "
            "minutes, or validate more often (training.validate_every)"
        )
    return checkpoints.load(run)


def read(folder: Path, checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    """The result of a run. Raises TrainingError where there is none, or it is not of this checkpoint."""
    path = folder / RESULT
    try:
        found: dict[str, Any] = json.loads(avf_sources.read_set(folder, [RESULT])[RESULT])
        named = found.get("checkpoint", ANY)
    except KeyError:
        raise TrainingError(f"{path} is missing: the run did not end; give its command again") from None
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged ({error}): give the command of the run again") from error
    if checkpoint is not None and named not in (ANY, checkpoint.digest):
        of = "a run that stopped before its first validation" if named is None else "another checkpoint than it holds"
        raise TrainingError(f"{path} is of {of}: give the command of the run again")
    return found
