"""Files that a newer version wrote: told from damaged ones by fields that this version does not know.

The law: what took hours to make is never called damaged for that, and nobody is told to delete it.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avf_core.errors import TrainingError


def check(kind: type[Any], said: Mapping[str, Any], path: Path) -> None:
    """Raise TrainingError where a file says more of a dataclass than this version knows."""
    more = sorted(set(said) - {field.name for field in dataclasses.fields(kind)})
    if more:
        raise TrainingError(
            f"{path} says {', '.join(more)}, which this version of avf does not know: a newer one wrote it; go on with "
            "that version, or give another --out, and keep this folder"
        )
