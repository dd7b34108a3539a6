"""Scores of MusicXML for tests, measure by measure, and what is heard of them."""

from pathlib import Path

import avf_sources as sources
import numpy as np
from avf_sources import Options

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
DIVISIONS = "<attributes><divisions>{}</divisions></attributes>"


def sound(
    step: str, octave: int = 4, duration: str = "1", *, before: str = "", after: str = "", alter: str = ""
) -> str:
    """A note; `before` stands before its pitch, `after` after its duration."""
    altered = f"<alter>{alter}</alter>" if alter else ""
    pitch = f"<pitch><step>{step}</step>{altered}<octave>{octave}</octave></pitch>"
    return f"<note>{before}{pitch}<duration>{duration}</duration>{after}</note>"


def measures(*contents: str, divisions: int = 1, attributes: str = "") -> str:
    """Measures with these contents; the first one has the divisions of a quarter note, and more attributes."""
    first = f"<attributes><divisions>{divisions}</divisions>{attributes}</attributes>"
    bodies = (first * (i == 0) + content for i, content in enumerate(contents))
    return "".join(f'<measure number="{i}">{body}</measure>' for i, body in enumerate(bodies, 1))


def score(*parts: str, listed: str = "", head: str = HEAD) -> str:
    """A partwise score of these parts."""
    names = listed or "".join(f'<score-part id="P{i}"><part-name>x</part-name></score-part>' for i in range(len(parts)))
    bodies = "".join(f'<part id="P{i}">{part}</part>' for i, part in enumerate(parts))
    return f"{head}<score-partwise version='4.0'><part-list>{names}</part-list>{bodies}</score-partwise>"


def read(folder: Path, written: str, frame: float = 1.0, encoding: str = "utf-8") -> sources.Recording:
    (folder / "x.musicxml").write_bytes(written.encode(encoding))
    return sources.read(str(folder / "x.musicxml"), Options(transpose="none", frame=frame))


def heard(folder: Path, written: str, frame: float = 1.0) -> list[list[int]]:
    """The keys of each frame."""
    return [[int(column) + 21 for column in np.flatnonzero(row)] for row in read(folder, written, frame).frames]
