"""A cut-down table: the same entries on a few short sequences with small nets, to see that all of it works.

The law: a quick run goes the way of a full one, through the same commands; only its data and its sizes are small. Its
figures mean nothing.
"""

import dataclasses
from pathlib import Path

import avf_sources
import numpy as np

from avf_core.data import Source
from avf_core.reproduction.entries import Entry
from avf_core.training import presets

SEQUENCES = 6  # of each split
STEPS = 12  # of each sequence
PARTICLES = 4

SCHEDULE = (
    "training.epochs=2",
    "training.validate_every=1",
    "training.clip_length=8",
    "training.batch_size=3",
    "training.kl_anneal_epochs=0",
)
SIZES = {
    "srnn": ("hidden_size=16", "latent_size=8", "prior_widths=[16]", "decoder_widths=[16]"),
    "vrnn": (
        "hidden_size=16",
        "latent_size=8",
        "observation_widths=[16]",
        "latent_widths=[16]",
        "prior_widths=[16]",
        "decoder_widths=[16]",
    ),
    "codec": ("hidden_size=16", "prior_widths=[16]", "decoder_widths=[16]"),
    "svg": ("latent_size=8", "encoding_size=8", "hidden_size=8", "widths=[2, 4, 4, 4]"),
}
INFERENCE = {"iterative": ("units=16",), "direct": ("widths=[16]",)}


def shorten(entry: Entry) -> Entry:
    """The entry with a schedule of two epochs and small nets, on the data that `cut` writes; or fitted for seconds."""
    if entry.command == "fit":
        return dataclasses.replace(entry, minutes=min(entry.minutes, 0.2))
    preset = presets.get(entry.preset)
    sizes = [f"model.{change}" for change in SIZES.get(preset.model["kind"], ())]
    sizes += [f"inference.{change}" for change in INFERENCE.get(preset.inference["kind"], ())]
    sizes += ["inference.recurrent=16"] if preset.inference.get("recurrent") else []
    return dataclasses.replace(
        entry,
        data=cut_name(entry.data),
        changes=_overridden(entry.changes, (*SCHEDULE, *sizes)),
        minutes=min(entry.minutes, 2.0),
        particles=min(entry.particles, PARTICLES),
    )


def cut(data: str, *, root: Path, folder: Path) -> Path:
    """Write the beginnings of the first sequences of a data set below `root` to `folder`, as arrays; gives the file.

    Its splits are train, valid (the one to select on) and test (the one to report). Raises DataError as reading does.
    """
    source = Source(path=root / data)
    description = source.describe()
    arrays: dict[str, np.ndarray] = {}
    wanted = {"train": "train", "valid": description.selection, "test": description.reported}
    for name, split in wanted.items():
        sequences = [sequence[:STEPS] for sequence in source.load(split)[:SEQUENCES]]
        arrays[name] = np.concatenate(sequences)
        arrays[f"{name}_offsets"] = np.cumsum([0, *map(len, sequences)])
    path = folder / cut_name(data)
    avf_sources.make_folder(path.parent)
    avf_sources.replace_file(path, avf_sources.archive_file(arrays))
    return path


def cut_name(data: str) -> str:
    """Where below its folder `cut` writes a data set."""
    return f"{data.removesuffix('.npz')}.npz"


def _overridden(changes: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """The changes without those of which `others` say something else, and the others."""
    keys = {other.partition("=")[0] for other in others}
    return (*(change for change in changes if change.partition("=")[0] not in keys), *others)
