"""Repeats of scores: the order in which measures are played, from their signs.

The truth: each order is what a player plays, written out by hand; music21's expander plays the simple ones too.
"""

from dataclasses import dataclass
from pathlib import Path

import avf_sources as sources
import numpy as np
import pytest
from avf_sources import Options, SourceError
from music21 import bar, converter, note, spanner, stream

BEGIN = '<barline location="left"><repeat direction="forward"/></barline>'
AGAIN = '<barline location="right"><repeat direction="backward"/></barline>'


def again(**more: object) -> str:
    written = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<barline location="right"><repeat direction="backward"{written}/></barline>'


def opens(numbers: str, more: str = "") -> str:
    return f'<barline location="left"><ending number="{numbers}" type="start"/>{more}</barline>'


def closes(numbers: str, how: str = "stop", repeat: bool = False) -> str:
    more = '<repeat direction="backward"/>' * repeat
    return f'<barline location="right"><ending number="{numbers}" type="{how}"/>{more}</barline>'


def does(**signs: str) -> str:
    """A sound element within a direction, as programs write them."""
    written = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in signs.items())
    return f"<direction><direction-type><words>x</words></direction-type><sound{written}/></direction>"


@dataclass(frozen=True)
class M:
    """A measure: what stands before its note, and after."""

    left: str = ""
    right: str = ""


def shown(sign: str) -> str:
    return f"<direction><direction-type><{sign}/></direction-type></direction>"


PLAYED: dict[str, tuple[list[M], str]] = {
    "nothing": ([M(), M(), M()], "ABC"),
    "from the beginning": ([M(), M(right=AGAIN), M()], "ABABC"),
    "a section": ([M(), M(BEGIN), M(right=AGAIN), M()], "ABCBCD"),
    "two sections": ([M(BEGIN), M(right=AGAIN), M(BEGIN), M(right=AGAIN)], "ABABCDCD"),
    "two sections, the second without a sign": ([M(BEGIN), M(right=AGAIN), M(), M(right=AGAIN), M()], "ABABCDCDE"),
    "one measure": ([M(), M(BEGIN, AGAIN), M()], "ABBC"),
    "four times": ([M(BEGIN), M(right=again(times=4)), M()], "ABABABABC"),
    "once": ([M(BEGIN), M(right=again(times=1)), M()], "ABC"),
    "a sign at the left of the measure after": (
        [M(), M('<barline location="left"><repeat direction="backward"/></barline>'), M()],
        "AABC",
    ),
    "a repeat that is implied": ([M(), M('<sound forward-repeat="yes"/>'), M(right=AGAIN)], "ABCBC"),
    "two endings": (
        [M(BEGIN), M(opens("1"), closes("1", repeat=True)), M(opens("2"), closes("2", "discontinue")), M()],
        "ABACD",
    ),
    "endings of two measures": (
        [M(), M(opens("1")), M(right=closes("1", repeat=True)), M(opens("2")), M(right=closes("2")), M()],
        "ABCADEF",
    ),
    "one ending, and what follows": ([M(BEGIN), M(opens("1"), closes("1", repeat=True)), M(), M()], "ABACD"),
    "three endings": (
        [
            M(BEGIN),
            M(opens("1"), closes("1", repeat=True)),
            M(opens("2"), closes("2", repeat=True)),
            M(opens("3"), closes("3")),
            M(),
        ],
        "ABACADE",
    ),
    "an ending for two times": (
        [M(BEGIN), M(opens("1, 2"), closes("1, 2", repeat=True)), M(opens("3"), closes("3"))],
        "ABABAC",
    ),
    "a last ending with a sign of its own": (
        [M(BEGIN), M(opens("1"), closes("1", repeat=True)), M(opens("2"), closes("2", repeat=True)), M()],
        "ABACD",
    ),
    "an ending that is never closed": (
        [M(BEGIN), M(opens("1"), closes("1", repeat=True)), M(opens("2")), M(), M(BEGIN), M(right=AGAIN)],
        "ABACDEFEF",
    ),
    "endings twice": (
        [
            *(M(BEGIN), M(opens("1"), closes("1", repeat=True)), M(opens("2"), closes("2"))),
            *(M(BEGIN), M(opens("1"), closes("1", repeat=True)), M(opens("2"), closes("2"))),
        ],
        "ABACDEDF",
    ),
    "da capo": ([M(), M(), M(right=does(dacapo="yes"))], "ABCABC"),
    "da capo al fine": ([M(), M(right=does(fine="yes")), M(right=does(dacapo="yes"))], "ABCAB"),
    "dal segno al fine": (
        [M(), M(does(segno="s")), M(right=does(fine="yes")), M(right=does(dalsegno="s"))],
        "ABCDBC",
    ),
    "da capo al coda": (
        [M(), M(right=does(tocoda="c")), M(right=does(dacapo="yes")), M(does(coda="c")), M()],
        "ABCABDE",
    ),
    "dal segno al coda": (
        [M(), M(does(segno="s")), M(right=does(tocoda="c")), M(right=does(dalsegno="s")), M(does(coda="c"))],
        "ABCDBCE",
    ),
    "a sound without a direction": ([M(), M(), M(right='<sound dacapo="yes"/>')], "ABCABC"),
    "signs by name": (
        [M(does(segno="a")), M(does(segno="b")), M(right=does(dalsegno="b")), M(right=does(dalsegno="a"))],
        "ABCBCDABCD",
    ),
    "signs that are only shown": (
        [M(), M(shown("segno")), M(right=does(tocoda="c")), M(right=does(dalsegno="s")), M(shown("coda"))],
        "ABCDBCE",
    ),
    "signs of bar lines": (
        [
            M(),
            M('<barline location="left" segno="s"><segno/></barline>'),
            M(right=does(tocoda="c")),
            M(right=does(dalsegno="s")),
            M('<barline location="left" coda="c"><coda/></barline>'),
        ],
        "ABCDBCE",
    ),
    "sections once after a jump": (
        [M(BEGIN), M(right=AGAIN), M(right=does(fine="yes")), M(right=does(dacapo="yes"))],
        "ABABCDABC",
    ),
    "sections twice after a jump where they ask for it": (
        [M(BEGIN), M(right=again(after_jump="yes")), M(right=does(fine="yes")), M(right=does(dacapo="yes"))],
        "ABABCDABABC",
    ),
    "the last ending after a jump": (
        [
            M(BEGIN),
            M(opens("1"), closes("1", repeat=True)),
            M(opens("2"), closes("2")),
            M(right=does(dacapo="yes")),
        ],
        "ABACDACD",
    ),
    "a repeat before a jump of the same measure": ([M(), M(BEGIN), M(right=AGAIN + does(dacapo="yes"))], "ABCBCABC"),
    "the coda's own repeat": (
        [M(right=does(tocoda="c")), M(right=does(dacapo="yes")), M(does(coda="c") + BEGIN), M(right=AGAIN)],
        "ABACDCD",
    ),
    "to coda at the second time, where nothing returns": (
        [M(BEGIN), M(right=does(tocoda="c")), M(right=AGAIN), M(does(coda="c"))],
        "ABCABD",
    ),
    "a jump at times of its own": (
        [M(BEGIN), M(right=does(tocoda="c", time_only="3")), M(right=again(times=3)), M(does(coda="c"))],
        "ABCABCABD",
    ),
    "minuet and trio": (
        [
            *(M(BEGIN), M(right=AGAIN), M(BEGIN), M(right=AGAIN + does(fine="yes"))),
            *(M(BEGIN), M(right=AGAIN), M(BEGIN), M(right=AGAIN + does(dacapo="yes"))),
        ],
        "ABABCDCDEFEFGHGHABCD",
    ),
}


def score(played: list[M], *, note_more: dict[int, str] | None = None) -> str:
    """Measures of a quarter note each, a key higher one by one."""
    bodies = []
    for i, measure in enumerate(played):
        step, octave = "CDEFGAB"[i % 7], 4 + i // 7
        divisions = "<attributes><divisions>1</divisions></attributes>" * (i == 0)
        only = (note_more or {}).get(i, "")
        sound = f"<note{only}><pitch><step>{step}</step><octave>{octave}</octave></pitch><duration>1</duration></note>"
        bodies.append(f'<measure number="{i + 1}">{divisions}{measure.left}{sound}{measure.right}</measure>')
    return f'<score-partwise><part id="P1">{"".join(bodies)}</part></score-partwise>'


def order(folder: Path, written: str) -> str:
    """The measures as they are played, by letters."""
    (folder / "x.musicxml").write_text(written)
    frames = sources.read(str(folder / "x.musicxml"), Options(transpose="none")).frames
    keys = [60, 62, 64, 65, 67, 69, 71, 72, 74, 76]
    return "".join(
        "ABCDEFGHIJ"[keys.index(int(column[0]) + 21)] if len(column) else "-" for column in map(np.flatnonzero, frames)
    )


@pytest.mark.parametrize("name", PLAYED)
def test_measures_are_played_in_the_order_that_their_signs_say(tmp_path: Path, name: str) -> None:
    """By hand."""
    measures, expected = PLAYED[name]
    assert order(tmp_path, score(measures)) == expected
    remarks = sources.read(str(tmp_path / "x.musicxml"), Options(transpose="none")).remarks
    said = (f"Repeats are played: {len(measures)} measures as {len(expected)}.",)
    assert remarks == (() if len(expected) == len(measures) else said)


def test_a_note_for_one_time_sounds_at_that_time(tmp_path: Path) -> None:
    """`time-only` of a note: the first measure has it at its second time."""
    assert order(tmp_path, score([M(BEGIN), M(right=AGAIN)], note_more={0: ' time-only="2"'})) == "-BAB"


def test_signs_of_any_part_count(tmp_path: Path) -> None:
    """Programs write them in the first part only, or in all."""
    plain, signed = score([M(), M(), M()]), score([M(), M(BEGIN), M(right=AGAIN)])
    part = signed[signed.index("<part") : signed.index("</score")].replace("P1", "P2")
    both = plain.replace("</score-partwise>", part + "</score-partwise>")
    assert order(tmp_path, both) == order(tmp_path, signed) == "ABCBC"


def test_music21_plays_what_it_wrote_in_the_same_order(tmp_path: Path) -> None:
    """Two endings, and a section for three times: its expander and the frames of its file."""
    part = stream.Part()
    for i, step in enumerate(("C4", "D4", "E4", "F4", "G4", "A4")):
        measure = stream.Measure(number=i + 1)
        measure.append(note.Note(step, quarterLength=4.0))
        part.append(measure)
    first, second = (spanner.RepeatBracket(part[i], number=i) for i in (1, 2))
    part.insert(0, first)
    part.insert(0, second)
    part.measure(2).rightBarline = bar.Repeat(direction="end")
    part.measure(4).leftBarline = bar.Repeat(direction="start")
    part.measure(5).rightBarline = bar.Repeat(direction="end", times=3)
    stream.Score([part]).write("musicxml", tmp_path / "x.musicxml")
    expanded = converter.parse(tmp_path / "x.musicxml").parts[0].expandRepeats()
    expected = [n.pitch.midi for n in expanded.flatten().notes]
    frames = sources.read(str(tmp_path / "x.musicxml"), Options(transpose="none", frame=4.0)).frames
    assert [int(np.flatnonzero(row)[0]) + 21 for row in frames] == expected
    assert len(expected) == 11


def test_the_corpus_is_read_as_it_is_written() -> None:
    """A minuet of music21's corpus with repeats has no measure twice, and says so; a chorale has no remark."""
    minuet = sources.read("corpus:haydn/opus1no1/movement4", Options(transpose="none"))
    assert minuet.remarks == ("Repeats are read once, as they are written.",)
    assert sources.read("corpus:bach/bwv66.6", Options(transpose="none")).remarks == ()


def test_pieces_that_their_repeats_make_endless_are_refused(tmp_path: Path) -> None:
    """A thousand times a thousand measures are more than the limits, which can be raised."""
    measures = [M(BEGIN), *[M()] * 8, M(right=again(times=1000))]
    (tmp_path / "x.musicxml").write_text(score(measures))
    limits = Options(transpose="none", max_frames=900_000)
    with pytest.raises(SourceError, match=r"its repeats make more of it than 9000 measures.*raise max_frames"):
        sources.read(str(tmp_path / "x.musicxml"), limits)
    assert len(sources.read(str(tmp_path / "x.musicxml"), Options(transpose="none")).frames) == 10_000


@pytest.mark.parametrize("jump", ["dalsegno", "tocoda"])
def test_a_jump_to_a_sign_that_is_nowhere_is_said(tmp_path: Path, jump: str) -> None:
    """It is not followed: the piece goes on, once more where a da capo says so."""
    assert order(tmp_path, score([M(), M(right=does(**{jump: "s"})), M(right=does(dacapo="yes"))])) == "ABCABC"
    remarks = sources.read(str(tmp_path / "x.musicxml"), Options(transpose="none")).remarks
    assert "A jump to a segno or coda that is nowhere is not followed." in remarks


@pytest.mark.parametrize("words", ["D.C. al Fine", "D. S.", "DC", "Da Capo", "dal segno al coda", "To Coda", "Fine"])
@pytest.mark.parametrize("sounds", [False, True])
def test_a_sign_in_words_alone_is_said(tmp_path: Path, words: str, sounds: bool) -> None:
    """Where a sound element says the same, it is followed, and nothing is to be said."""
    jump = "tocoda" if words == "To Coda" else "fine" if words == "Fine" else "dacapo"
    sound = f'<sound {jump}="yes"/>' * sounds
    written = f"<direction><direction-type><words>{words}</words></direction-type>{sound}</direction>"
    order(tmp_path, score([M(does(coda="yes")), M(right=written)]))
    remarks = sources.read(str(tmp_path / "x.musicxml"), Options(transpose="none")).remarks
    said = "A da capo, dal segno, coda or fine in words only, without a sound element, is not followed."
    assert (said in remarks) is not sounds


def test_other_words_are_no_signs(tmp_path: Path) -> None:
    """Dolce, a name with a C, and what is to be played finely."""
    words = "".join(
        f"<direction><direction-type><words>{word}</words></direction-type></direction>"
        for word in ("dolce", "D Clarinet", "finely", "CD", "Coda", "al fine")
    )
    assert order(tmp_path, score([M(words), M()])) == "AB"
    assert sources.read(str(tmp_path / "x.musicxml"), Options(transpose="none")).remarks == ()


def test_a_repeat_within_a_measure_is_said(tmp_path: Path) -> None:
    """It counts at the measure's end."""
    middle = '<barline location="middle"><repeat direction="backward"/></barline>'
    assert order(tmp_path, score([M(), M(right=middle), M()])) == "ABABC"
    remarks = sources.read(str(tmp_path / "x.musicxml"), Options(transpose="none")).remarks
    assert "A repeat in the middle of a measure counts at its end." in remarks
