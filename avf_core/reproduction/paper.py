"""The table `paper`: the presets of Appendix B as published, from random weights, each with its own baseline.

The law: nothing is changed but how often is validated. A run has its minutes, and its row says how far of its length it
came; with more of them (`--stretch`) it goes on from there.
"""

import dataclasses

from avf_core.reproduction.entries import Entry, Group

CROWD16K = "speech/crowd16k"
WEIZMANN = "video/weizmann64/weizmann64_gray_train_valid.npz"
MUSIC_FLOORS = {
    name: (
        ("independent notes with train's marginals", independent),
        ("persistence: a Markov chain a note", chain),
    )
    for name, independent, chain in (
        ("jsb", 11.06, 10.48),
        ("piano", 11.05, 8.26),
        ("muse", 11.51, 8.56),
        ("nottingham", 10.25, 5.17),
    )
}
"""Nats per step of the test split."""

GROUPS = {
    "paper-jsb": Group(title="As published: JSB chorales", paper=(6.92, 6.77), floors=MUSIC_FLOORS["jsb"]),
    "paper-nottingham": Group(title="As published: Nottingham", paper=(3.19, 3.13), floors=MUSIC_FLOORS["nottingham"]),
    "paper-piano": Group(title="As published: Piano-midi.de", paper=(8.19, 8.12), floors=MUSIC_FLOORS["piano"]),
    "paper-muse": Group(title="As published: MuseData", paper=(6.27, 5.99), floors=MUSIC_FLOORS["muse"]),
    "paper-srnn": Group(title="As published, on crowd16k: SRNN of speech"),
    "paper-vrnn": Group(title="As published, on crowd16k: VRNN of speech"),
    "paper-svg": Group(title="As published, on Weizmann actions: SVG"),
}
NOT_AT_HAND = (
    "TIMIT (VRNN 1,071 and SRNN 1,024 nats in the paper; crowd16k stands in): licensed",
    "KTH Actions (SVG, 11,714 nats in the paper; Weizmann actions stand in): no copy at hand",
)
"""What of the paper's Table 3 has no entry, and why."""


def pair(
    name: str, preset: str, data: str, *, minutes: tuple[float, float], seed: int = 1, every: tuple[int, int] = (5, 5)
) -> tuple[Entry, Entry]:
    """AVF and its baseline, each from random weights, with their minutes and the epochs between validations."""
    avf = Entry(
        name=f"{name}-avf-{seed}",
        group=f"paper-{name}",
        role="avf",
        preset=preset,
        data=data,
        changes=(f"training.validate_every={every[0]}",),
        seed=seed,
        minutes=minutes[0],
    )
    baseline = dataclasses.replace(
        avf,
        name=f"{name}-baseline-{seed}",
        role="baseline",
        preset=f"{preset}-direct",
        changes=(f"training.validate_every={every[1]}",),
        minutes=minutes[1],
    )
    return avf, baseline


JSB = "music/jsb_chorales.npz"
PAPER = (
    *pair("jsb", "paper-jsb", JSB, minutes=(240.0, 60.0), every=(10, 10)),
    *pair("jsb", "paper-jsb", JSB, minutes=(240.0, 60.0), every=(10, 10), seed=2),
    *pair("jsb", "paper-jsb", JSB, minutes=(240.0, 60.0), every=(10, 10), seed=3),
    *pair("nottingham", "paper-nottingham", "music/nottingham.npz", minutes=(90.0, 60.0), every=(10, 20)),
    *pair("piano", "paper-piano", "music/piano_midi.npz", minutes=(90.0, 60.0), every=(20, 20)),
    *pair("muse", "paper-muse", "music/musedata.npz", minutes=(90.0, 60.0), every=(10, 20)),
    *pair("srnn", "paper-srnn-speech", CROWD16K, minutes=(90.0, 60.0), every=(5, 5)),
    *pair("vrnn", "paper-vrnn-speech", CROWD16K, minutes=(90.0, 60.0), every=(5, 5)),
    *pair("svg", "paper-actions", WEIZMANN, minutes=(90.0, 60.0), every=(5, 5)),
)
