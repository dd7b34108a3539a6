"""The tables of results, as data: which runs there are, and in which order they depend on each other.

The law: `baseline` and `avf` of a group have the same model, and `avf` has no more updates than `baseline`, those of
its start included.
"""

import dataclasses
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial

from avf_core.errors import ConfigurationError
from avf_core.reproduction.arms import ARMS
from avf_core.reproduction.arms import GROUPS as ARMS_GROUPS
from avf_core.reproduction.entries import Entry, Group
from avf_core.reproduction.paper import GROUPS as PAPER_GROUPS
from avf_core.reproduction.paper import MUSIC_FLOORS, PAPER
from avf_core.reproduction.sensors import GROUPS as SENSOR_GROUPS
from avf_core.reproduction.sensors import SENSORS
from avf_core.reproduction.shipped import CROWD16K, WEIZMANN
from avf_core.reproduction.shipped import GROUPS as SHIPPED_GROUPS
from avf_core.reproduction.shipped import SPEECH as SHIPPED_SPEECH
from avf_core.reproduction.shipped import VIDEO as SHIPPED_VIDEO

GROUPS = {
    "jsb": Group(title="JSB chorales", paper=(6.92, 6.77), floors=MUSIC_FLOORS["jsb"]),
    "piano": Group(title="Piano-midi.de", paper=(8.19, 8.12), floors=MUSIC_FLOORS["piano"]),
    "muse": Group(title="MuseData", paper=(6.27, 5.99), floors=MUSIC_FLOORS["muse"]),
    "nottingham": Group(title="Nottingham", paper=(3.19, 3.13), floors=MUSIC_FLOORS["nottingham"]),
    "vrnn": Group(title="Speech: VRNN on crowd16k"),
    "srnn": Group(title="Speech: SRNN on crowd16k"),
    "svg": Group(title="Video: SVG on Weizmann actions"),
    **SHIPPED_GROUPS,
    **PAPER_GROUPS,
    **ARMS_GROUPS,
    **SENSOR_GROUPS,
}

CURVE = (1, 2, 4, 8)
"""Iterations in training, as in the paper's Figure 4a."""


def trio(
    like: Entry, *, epochs: int, avf_epochs: int, validate_every: tuple[int, int], suffix: str = ""
) -> tuple[Entry, ...]:
    """A direct start, AVF from it, and the baseline, which goes on from where the start is.

    `like` has all that they share, and AVF's preset. `epochs` are those of the baseline, of which AVF has its start's
    and `avf_epochs`; `validate_every` is for direct and iterative inference.
    """
    direct, iterative = (f"training.validate_every={every}" for every in validate_every)
    start = f"{like.group}-start{suffix}"
    entry = partial(dataclasses.replace, like)
    baseline = f"{like.preset}-direct"
    return (
        entry(
            name=start,
            role="start",
            preset=baseline,
            changes=(f"training.epochs={epochs - avf_epochs}", direct),
            particles=0,
        ),
        entry(
            name=f"{like.group}-avf{suffix}",
            role="avf",
            changes=(f"training.epochs={avf_epochs}", iterative),
            start=start,
        ),
        entry(
            name=f"{like.group}-baseline{suffix}",
            role="baseline",
            preset=baseline,
            changes=(f"training.epochs={epochs}", direct),
            goes_on=start,
            particles=0,
        ),
    )


def music(
    group: str,
    data: str,
    *,
    epochs: int,
    avf_epochs: int,
    validate_every: tuple[int, int],
    seeds: Sequence[int] = (1,),
    particles: int = 0,
) -> tuple[Entry, ...]:
    """A set of piano rolls: a trio for each seed; the particle bound is that of the first."""
    like = Entry(name="", group=group, role="avf", preset=f"srnn-{group}-best", data=data)
    make = partial(trio, epochs=epochs, avf_epochs=avf_epochs, validate_every=validate_every)
    return tuple(
        entry
        for seed in seeds
        for entry in make(
            dataclasses.replace(like, seed=seed, particles=particles if seed == seeds[0] else 0), suffix=f"-{seed}"
        )
    )


def curve(group: str, like: Entry, *, changes: tuple[str, ...], minutes: float) -> tuple[Entry, ...]:
    """The entry `like`, trained with 1, 2, 4 and 8 iterations."""
    return tuple(
        dataclasses.replace(
            like,
            name=f"{group}-curve-{n}",
            role="curve",
            changes=(*changes, f"inference.iterations={n}"),
            minutes=minutes,
            particles=0,
        )
        for n in CURVE
    )


JSB = music(
    "jsb",
    "music/jsb_chorales.npz",
    epochs=340,
    avf_epochs=40,
    validate_every=(10, 5),
    seeds=(1, 2, 3),
    particles=128,
)
JSB_AVF = JSB[1]
JSB_BOUND = dataclasses.replace(
    JSB_AVF,
    name="jsb-bound-1",
    role="bound",
    changes=("training.samples=8", "training.epochs=20", "training.validate_every=5"),
)
SPEECH = Entry(name="", group="srnn", role="avf", preset="srnn-speech-small", data=CROWD16K)
SRNN_START, SRNN_AVF, SRNN_BASELINE = trio(SPEECH, epochs=190, avf_epochs=60, validate_every=(10, 4))
SRNN_FIRST = ("training.epochs=28", "training.validate_every=4")
SRNN_SPEECH = (
    SRNN_START,
    dataclasses.replace(SRNN_AVF, name="srnn-first", role="start", changes=SRNN_FIRST),
    dataclasses.replace(
        SRNN_AVF,
        start="srnn-first",
        changes=(
            "inference.iterations=4",
            "training.theta_waits=0",
            "training.theta_rate=1e-4",
            "training.phi_rate=1e-4",
            "training.learning_rate_decay=0.9",
            "training.epochs=8",
            "training.validate_every=2",
        ),
    ),
    SRNN_BASELINE,
)
"""AVF learns with two iterations first, then with four; together it has no more updates than the baseline."""
SRNN_CURVE = (
    "training.epochs=20",
    "training.validate_every=4",
    "training.theta_waits=8",
    "training.theta_rate=1e-4",
    "training.learning_rate_decay=0.9",
)
KEYED = tuple(
    Entry(name=preset, group=group, role="ships", preset=preset, data=f"music/{data}.npz")
    for preset, group, data in (
        ("chorales", "jsb", "jsb_chorales"),
        ("piano", "piano", "piano_midi"),
        ("muse", "muse", "musedata"),
        ("nottingham", "nottingham", "nottingham"),
    )
)
"""Piano rolls whose keys hear each other: presets of the zoo's names, whole."""
CHORALES_NO_LATENT = dataclasses.replace(
    KEYED[0], name="chorales-no-latent", role="no-latent", preset="chorales-no-latent"
)
VIDEO = Entry(name="", group="svg", role="avf", preset="svg-actions-small", data=WEIZMANN)
TABLES: dict[str, tuple[Entry, ...]] = {
    "music": (
        *JSB,
        JSB_BOUND,
        *music("nottingham", "music/nottingham.npz", epochs=190, avf_epochs=20, validate_every=(10, 5)),
        *music("piano", "music/piano_midi.npz", epochs=500, avf_epochs=100, validate_every=(25, 20)),
        *music("muse", "music/musedata.npz", epochs=190, avf_epochs=20, validate_every=(10, 5)),
        *curve("jsb", JSB_AVF, changes=("training.epochs=10", "training.validate_every=5"), minutes=20.0),
        *KEYED,
        CHORALES_NO_LATENT,
    ),
    "speech": (
        *SRNN_SPEECH,
        *trio(
            dataclasses.replace(SPEECH, group="vrnn", preset="vrnn-speech-small"),
            epochs=80,
            avf_epochs=20,
            validate_every=(10, 4),
        ),
        *curve("srnn", SRNN_AVF, changes=SRNN_CURVE, minutes=40.0),
        *SHIPPED_SPEECH,
    ),
    "video": (*trio(VIDEO, epochs=230, avf_epochs=80, validate_every=(30, 20)), *SHIPPED_VIDEO),
    "paper": PAPER,
    "arms": ARMS,
    "sensors": SENSORS,
}


def get(name: str) -> tuple[Entry, ...]:
    """The table of this name. Raises ConfigurationError with those there are."""
    if name not in TABLES:
        raise ConfigurationError(f"no table {name!r}; there are {', '.join(TABLES)}")
    return TABLES[name]


def choose(entries: Sequence[Entry], globs: Sequence[str]) -> list[Entry]:
    """The entries whose names match any of `globs`, all where there are none; ConfigurationError where none match."""
    chosen = [entry for entry in entries if not globs or any(fnmatchcase(entry.name, glob) for glob in globs)]
    if not chosen:
        raise ConfigurationError(f"no entry matches {', '.join(globs)}; there are {', '.join(e.name for e in entries)}")
    return chosen


def ancestry(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """The runs behind an entry, the oldest first, whose updates come before its own.

    An entry that goes on with another one counts the updates of that one as its own.
    """
    older = requirements(entry, entries)
    following = (*older[1:], entry)
    return [one for one, after in zip(older, following, strict=False) if after.start == one.name]


def requirements(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """What must be trained before an entry, the oldest first.

    Raises ConfigurationError where one is not in the table, or where they require each other.
    """
    by_name = {one.name: one for one in entries}
    chain: list[Entry] = []
    while entry.origin is not None:
        if entry.origin not in by_name or by_name[entry.origin] in chain:
            raise ConfigurationError(
                f"{entry.name} starts from {entry.origin}, which is no entry before it in its table"
            )
        entry = by_name[entry.origin]
        chain.insert(0, entry)
    return chain


def needed(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """All that an entry waits for, before itself: its starts, and the one whose time it has, with those of its own."""
    by_name = {one.name: one for one in entries}
    timed = [by_name[entry.time_of]] if entry.time_of is not None else []
    found = [*requirements(entry, entries), *(one for other in timed for one in needed(other, entries)), entry]
    return list(dict.fromkeys(found))
