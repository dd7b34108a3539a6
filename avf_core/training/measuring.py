"""Command lines of what is measured of a checkpoint of the zoo: `python -m MODULE NAME --data PATH`, on one thread."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from avf_core import checkpoints
from avf_core.data import Source
from avf_core.errors import AvfError


def parser(description: str) -> argparse.ArgumentParser:
    """With the name and the data."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("name", help="A checkpoint of the zoo.")
    made.add_argument("--data", type=Path, required=True)
    return made


def recording(description: str, *, folder: str, steps: int, split: str) -> argparse.ArgumentParser:
    """With the folder of records, and how many steps of a split are taken."""
    made = parser(description)
    made.add_argument("--out", type=Path, default=Path("docs/results") / folder)
    made.add_argument("--steps", type=int, default=steps, help=f"Of the {split}, at most.")
    return made


def source_of(name: str, data: Path) -> Source:
    """The data, read as those that the checkpoint was trained on."""
    return Source(path=data).like(checkpoints.load(name).card["data"])


def run(program: str, options: argparse.ArgumentParser, take: Callable[[argparse.Namespace], Path]) -> None:
    """Measure what the command line names, and print the path that was written."""
    found = options.parse_args()
    torch.set_num_threads(1)
    try:
        print(take(found))
    except (AvfError, OSError) as error:
        sys.exit(f"{program}: {error}")
