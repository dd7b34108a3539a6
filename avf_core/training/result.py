"""What a run came to: `result.json`, with its learning curve as a picture beside it.

The law: it names the checkpoint whose figures it has, by its digest, and is read beside that one only: a run that was
killed after it had found a better checkpoint has none until the same command has gone on to its end.
"""

import json
from pathlib import Path
from typing import Any

import avf_sources

from avf_core.checkpoints import Checkpoint
from avf_core.errors import TrainingError

RESULT, CURVE = FILES = ("result.json", "curve.png")


def write(folder: Path, result: dict[str, Any], best: Checkpoint | None, *, curve: bytes | None) -> None:
    """Write the result of a run whose best checkpoint this is, where there is one."""
    document = {**result, "checkpoint": best.digest if best else None}
    files: dict[str, bytes | str] = {RESULT: json.dumps(document, indent=1) + "\n"}
    avf_sources.replace_set(folder, files | ({CURVE: curve} if curve is not None else {}))


def read(folder: Path, checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    """The result of a run. Raises TrainingError where there is none, or it is not of this checkpoint."""
    path = folder / RESULT
    try:
        found: dict[str, Any] = json.loads(avf_sources.read_set(folder, [RESULT])[RESULT])
        named = found.get("checkpoint")  # runs of earlier releases name none
    except KeyError:
        raise TrainingError(f"{path} is missing: the run did not end; give its command again") from None
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged ({error}): give the command of the run again") from error
    if checkpoint is not None and named not in (None, checkpoint.digest):
        raise TrainingError(f"{path} is of another checkpoint than {folder} holds: give the command of the run again")
    return found
