"""The table `arms`: AVF and direct inference, each given the same, from one start.

    start ->  AVF  |  direct, AVF's schedule  |  direct, AVF's seconds of the processor, at each rate and dropout

The law: all arms of a seed begin at the same checkpoint. The third is searched: each of its candidates has as much time
as AVF had, and of these and the start itself the one that is best on the split of selection stands for it, so that
direct inference is never given less. Paired tests are over sequences, as those of `avf compare`.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

from avf_core.reproduction.entries import Entry, Group
from avf_core.training import presets

JSB, NOTTINGHAM = "music/jsb_chorales.npz", "music/nottingham.npz"
CROWD16K, WEIZMANN = "speech/crowd16k", "video/weizmann64/weizmann64_gray_train_valid.npz"
GROUPS = {
    "arms-jsb": Group(title="Fair arms: JSB chorales"),
    "arms-nottingham": Group(title="Fair arms: Nottingham"),
    "arms-piano": Group(title="Fair arms: Piano-midi.de"),
    "arms-muse": Group(title="Fair arms: MuseData"),
    "arms-srnn": Group(title="Fair arms: SRNN of speech on crowd16k"),
    "arms-vrnn": Group(title="Fair arms: VRNN of speech on crowd16k"),
    "arms-svg": Group(title="Fair arms: SVG on Weizmann actions"),
}
OWN = ("epochs", "validate_every", "phi_steps", "theta_waits", "seed")
"""What of AVF's schedule direct inference does not take: lengths are told, and it has no update model."""
FACTORS = (1.0, 0.3)  # of the baseline's rates
ENDLESS = 100_000  # epochs of a run that its time ends


def arms(
    name: str, preset: str, data: str, *, epochs: tuple[int, int], every: tuple[int, int], dropouts: Sequence[float]
) -> tuple[Entry, ...]:
    """The entries of one seed: `epochs` and epochs between validations are of the start and of AVF."""
    like = Entry(name="", group=f"arms-{name}", role="avf", preset=preset, data=data)
    direct, start = f"{preset}-direct", f"{name}-start"
    lengths = [(f"training.epochs={n}", f"training.validate_every={v}") for n, v in zip(epochs, every, strict=True)]
    entry = partial(dataclasses.replace, like)
    same = (*_schedule(preset), *lengths[1])
    found = [
        entry(name=start, role="start", preset=direct, changes=lengths[0]),
        entry(name=f"{name}-avf", changes=lengths[1], start=start),
        entry(name=f"{name}-same", role="same", preset=direct, changes=same, start=start),
    ]
    for number, changes in enumerate(_candidates(preset, dropouts)):
        candidate = (*changes, "training.kl_anneal_epochs=0", f"training.epochs={ENDLESS}", lengths[1][1])
        found.append(
            entry(
                name=f"{name}-time-{number}",
                role="time",
                preset=direct,
                changes=candidate,
                start=start,
                time_of=f"{name}-avf",
            )
        )
    return tuple(found)


def seeded(entries: Sequence[Entry], seeds: Sequence[int]) -> tuple[Entry, ...]:
    """The entries for each of these seeds, their names ending in it."""
    return tuple(
        dataclasses.replace(
            one,
            name=f"{one.name}-s{seed}",
            seed=seed,
            start=one.start and f"{one.start}-s{seed}",
            time_of=one.time_of and f"{one.time_of}-s{seed}",
        )
        for seed in seeds
        for one in entries
    )


def _schedule(preset: str) -> tuple[str, ...]:
    """Where AVF's schedule is another than its baseline's, as changes of the baseline."""
    own, baseline = (vars(presets.get(name).training) for name in (preset, f"{preset}-direct"))
    return tuple(f"training.{key}={value}" for key, value in own.items() if key not in OWN and value != baseline[key])


def _candidates(preset: str, dropouts: Sequence[float]) -> list[tuple[str, ...]]:
    """The search of direct inference: rates, and dropout where the model has some."""
    baseline = presets.get(f"{preset}-direct").training
    rates = [
        (f"training.theta_rate={baseline.theta_rate * factor:g}", f"training.phi_rate={baseline.phi_rate * factor:g}")
        for factor in FACTORS
    ]
    kept: list[tuple[str, ...]] = [(f"model.dropout={dropout:g}",) for dropout in dropouts] or [()]
    return [(*rate, *dropout) for rate in rates for dropout in kept]


FIVE, THREE, ONE = (1, 2, 3, 4, 5), (1, 2, 3), (1,)
NOTES, FEWER_NOTES = (0.4, 0.5), (0.2, 0.4)
PIANO, MUSE = "music/piano_midi.npz", "music/musedata.npz"
ARMS = (
    *seeded(arms("jsb", "srnn-jsb-best", JSB, epochs=(300, 40), every=(10, 5), dropouts=NOTES), FIVE),
    *seeded(
        arms("nottingham", "srnn-nottingham-best", NOTTINGHAM, epochs=(170, 20), every=(10, 5), dropouts=NOTES), THREE
    ),
    *seeded(arms("srnn", "srnn-speech-small", CROWD16K, epochs=(130, 20), every=(10, 4), dropouts=(0.0, 0.2)), THREE),
    *seeded(arms("vrnn", "vrnn-speech-small", CROWD16K, epochs=(60, 20), every=(10, 4), dropouts=()), ONE),
    *seeded(arms("piano", "srnn-piano-best", PIANO, epochs=(400, 100), every=(25, 20), dropouts=NOTES), ONE),
    *seeded(arms("muse", "srnn-muse-best", MUSE, epochs=(180, 20), every=(10, 5), dropouts=FEWER_NOTES), ONE),
    *seeded(arms("svg", "svg-actions-small", WEIZMANN, epochs=(150, 80), every=(30, 20), dropouts=()), ONE),
)
