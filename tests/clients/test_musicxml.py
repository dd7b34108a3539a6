"""MusicXML: every note where its durations put it, at the pitch that sounds; what is left out is said.

The truth: the MusicXML 4.0 specification, counted by hand, and music21 as a writer of its own.
"""

import re
from pathlib import Path

import avf_sources as sources
import numpy as np
import pytest
from avf_sources import Options
from music21 import chord, meter, note, stream, tie

from tests.support.scores import DIVISIONS, HEAD, heard, measures, read, score, sound

# --- transposition: written + chromatic + 12 octave-change

INSTRUMENTS = {
    "clarinet in B flat": ("<diatonic>-1</diatonic><chromatic>-2</chromatic>", ("D", 4), [60]),
    "clarinet in A": ("<diatonic>-2</diatonic><chromatic>-3</chromatic>", ("E", 4), [61]),
    "clarinet in E flat": ("<diatonic>2</diatonic><chromatic>3</chromatic>", ("A", 4), [72]),
    "horn in F": ("<diatonic>-4</diatonic><chromatic>-7</chromatic>", ("G", 4), [60]),
    "alto saxophone": ("<diatonic>-5</diatonic><chromatic>-9</chromatic>", ("A", 4), [60]),
    "tenor saxophone": (
        "<diatonic>-1</diatonic><chromatic>-2</chromatic><octave-change>-1</octave-change>",
        ("D", 5),
        [60],
    ),
    "bass clarinet, no diatonic": ("<chromatic>-2</chromatic><octave-change>-1</octave-change>", ("D", 5), [60]),
    "double bass": ("<chromatic>0</chromatic><octave-change>-1</octave-change>", ("C", 4), [48]),
    "piccolo": ("<diatonic>0</diatonic><chromatic>0</chromatic><octave-change>1</octave-change>", ("C", 5), [84]),
    "celesta, octave only": ("<octave-change>1</octave-change>", ("C", 5), [84]),
    "two octaves down": ("<chromatic>0</chromatic><octave-change>-2</octave-change>", ("C", 6), [60]),
    "cello doubled by the bass": ("<chromatic>0</chromatic><double/>", ("C", 4), [48, 60]),
    "doubled above": ('<chromatic>-2</chromatic><double above="yes"/>', ("D", 4), [60, 72]),
}


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_transposing_instrument_sounds_where_it_sounds(tmp_path: Path, name: str) -> None:
    """Whatever elements its transposition is written with."""
    written, (step, octave), keys = INSTRUMENTS[name]
    part = measures(sound(step, octave), attributes=f"<transpose>{written}</transpose>")
    assert heard(tmp_path, score(part)) == [keys]


def test_a_transposition_holds_until_the_next_one_for_its_part_and_staff(tmp_path: Path) -> None:
    """The player of a clarinet takes one in A; the second staff of a part has a transposition of its own."""
    change = "<attributes><transpose><chromatic>-3</chromatic></transpose></attributes>"
    player = measures(
        sound("D"),
        sound("D") + change + sound("D"),
        sound("D"),
        attributes="<transpose><chromatic>-2</chromatic></transpose>",
    )
    assert heard(tmp_path, score(player)) == [[60], [60], [59], [59]]
    flute = measures(sound("E", 6), sound("E", 6))
    assert heard(tmp_path, score(flute, player))[:2] == [[60, 88], [60, 88]]
    staves = measures(
        sound("C", after="<staff>1</staff>")
        + "<backup><duration>1</duration></backup>"
        + sound("C", after="<staff>2</staff>"),
        attributes='<transpose number="2"><chromatic>-5</chromatic></transpose>',
    )
    assert heard(tmp_path, score(staves)) == [[55, 60]]


def test_what_moves_only_the_print_moves_no_note(tmp_path: Path) -> None:
    """An octave line, a clef of tenors, a chord symbol, and how a part of it would be transposed."""
    line = '<direction><direction-type><octave-shift type="down" size="8"/></direction-type></direction>'
    symbol = "<harmony><root><root-step>G</root-step></root><kind>major</kind></harmony>"
    clef = "<clef><sign>G</sign><line>2</line><clef-octave-change>-1</clef-octave-change></clef>"
    shown = "<for-part><part-transpose><chromatic>-2</chromatic></part-transpose></for-part>"
    recording = read(tmp_path, score(measures(line + symbol + sound("C"), attributes=clef + shown)))
    assert np.flatnonzero(recording.frames[0]).tolist() == [60 - 21]
    assert recording.remarks == ()


# --- durations


def test_divisions_are_the_law(tmp_path: Path) -> None:
    """Quintuplets, 64ths and decimals; divisions that change within a piece and within a measure."""
    five = "".join(sound("CDEFG"[i], duration="2") for i in range(5))
    assert heard(tmp_path, score(measures(five, divisions=10)), 0.2) == [[60], [62], [64], [65], [67]]
    run = "".join(sound("CDEF"[i % 4]) for i in range(16))
    assert heard(tmp_path, score(measures(run, divisions=16)), 1 / 16) == [[60], [62], [64], [65]] * 4
    assert heard(
        tmp_path, score(measures(sound("C", duration="1.5") + sound("D", duration=".5"), divisions=2)), 0.25
    ) == [
        *[[60]] * 3,
        [62],
    ]
    changed = measures(sound("C") + DIVISIONS.format(4) + sound("D", duration="4"), sound("E", duration="4"))
    assert heard(tmp_path, score(changed)) == [[60], [62], [64]]


def test_chords_voices_and_gaps_stand_where_backup_and_forward_put_them(tmp_path: Path) -> None:
    """By hand: C with E above it, D; then from the beginning a rest that nothing is written for, and G."""
    content = sound("C") + sound("E", before="<chord/>") + sound("D") + "<backup><duration>2</duration></backup>"
    content += "<forward><duration>1</duration></forward>" + sound("G", 3)
    assert heard(tmp_path, score(measures(content, sound("F")))) == [[60, 64], [55, 62], [65]]


def test_a_tied_note_is_one_note_and_a_long_chord_note_makes_its_measure_longer(tmp_path: Path) -> None:
    """A tie leaves no gap, and the next measure begins after all that is in this one."""
    tied = measures(sound("C", after='<tie type="start"/>'), sound("C", after='<tie type="stop"/>') + sound("D"))
    assert heard(tmp_path, score(tied)) == [[60], [60], [62]]
    uneven = measures(sound("C") + sound("E", duration="2", before="<chord/>"), sound("D"))
    assert heard(tmp_path, score(uneven)) == [[60, 64], [64], [62]]


def test_a_pickup_and_an_empty_measure_have_their_length(tmp_path: Path) -> None:
    """A measure of one quarter is one; nothing at all is the measure of its metre, here 3/8 and 2+3/8."""
    time = "<time><beats>{}</beats><beat-type>8</beat-type></time>"
    part = measures(sound("C"), "", sound("D"), attributes=time.format("3"))
    part = part.replace('<measure number="1">', '<measure number="0" implicit="yes">')
    assert heard(tmp_path, score(part), 0.5) == [[60], [60], [], [], [], [62], [62]]
    odd = measures("", sound("D"), attributes=time.format("2+3"))
    assert heard(tmp_path, score(odd), 0.5) == [[]] * 5 + [[62]] * 2


def test_measures_of_all_parts_begin_together(tmp_path: Path) -> None:
    """A part that is silent, shorter, or over, waits for the others."""
    full, sparse = measures(sound("C") * 2, sound("D") * 2, sound("E")), measures(sound("G"), sound("A"))
    assert heard(tmp_path, score(full, sparse)) == [[60, 67], [60], [62, 69], [62], [64]]


def test_measures_of_parts_are_the_parts_of_measures(tmp_path: Path) -> None:
    """Timewise scores hold the same; a part that is not in a measure is silent in it."""
    attributes = DIVISIONS.format(1)
    first = f'<measure number="1"><part id="A">{attributes}{sound("C")}</part></measure>'
    second = (
        f'<measure number="2"><part id="A">{sound("D")}</part><part id="B">{attributes}{sound("G")}</part></measure>'
    )
    written = f"{HEAD}<score-timewise>{first}{second}</score-timewise>"
    assert heard(tmp_path, written) == [[60], [62, 67]]


# --- what is left out

LISTED = (
    '<score-part id="P0"><midi-instrument id="I1"><midi-channel>{}</midi-channel></midi-instrument>'
    '<midi-instrument id="I2"><midi-channel>10</midi-channel></midi-instrument></score-part>'
)
LEFT_OUT = {
    "grace notes": (
        score(measures("<note><grace/><pitch><step>G</step><octave>4</octave></pitch></note>" + sound("C"))),
        [[60]],
        "Grace.*1 note",
    ),
    "cue notes": (score(measures(sound("G", before="<cue/>") + sound("C"))), [[], [60]], "Cue notes.*1 note"),
    "percussion": (
        score(measures("<note><unpitched/><duration>1</duration></note>" + sound("C"))),
        [[], [60]],
        "Percussion.*1 note",
    ),
    "an instrument of drums": (
        score(measures(sound("C") + sound("D", after='<instrument id="I2"/>')), listed=LISTED.format(1)),
        [[60]],
        "Percussion.*1 note",
    ),
    "a part of drums": (
        score(measures(sound("C")), measures(sound("E")), listed=LISTED.format(10) + '<score-part id="P1"/>'),
        [[64]],
        "Percussion.*1 note",
    ),
    "quarter tones": (
        score(measures(sound("C", alter="0.5") + sound("C", alter="1"))),
        [[61], [61]],
        "two keys.*1 note",
    ),
    "a voice before its measure": (
        score(measures(sound("C") + "<backup><duration>3</duration></backup>" + sound("E"))),
        [[60, 64]],
        "before its measure",
    ),
    "swing": (
        score(measures("<sound><swing><first>2</first><second>1</second></swing></sound>" + sound("C"))),
        [[60]],
        "Swing",
    ),
    "a da capo in words": (
        score(
            measures("<direction><direction-type><words>D.C. al Fine</words></direction-type></direction>" + sound("C"))
        ),
        [[60]],
        "words only",
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_said(tmp_path: Path, name: str) -> None:
    """One remark, and the notes that are left."""
    written, expected, remark = LEFT_OUT[name]
    recording = read(tmp_path, written)
    assert heard(tmp_path, written) == expected
    (said,) = recording.remarks
    assert re.search(remark, said)


def test_what_music21_writes_is_read_as_it_meant_it(tmp_path: Path) -> None:
    """Triplets, a tie over a bar line, chords, two voices: frames by brute force over its own offsets."""
    top, bass = stream.Part([meter.TimeSignature("3/4")]), stream.Part([meter.TimeSignature("3/4")])
    for i in range(9):
        top.append(note.Note(60 + i, quarterLength=1 / 3))
    top.append(chord.Chord(["C4", "E4", "B4"], quarterLength=2.5))
    held = note.Note("D5", quarterLength=0.5)
    held.tie = tie.Tie("start")
    top.append(held)
    for i in range(4):
        bass.append(note.Note(40 + i, quarterLength=1.5))
    written = stream.Score([top, bass])
    spans = [
        (p.midi, float(e.getOffsetInHierarchy(written)), float(e.getOffsetInHierarchy(written) + e.quarterLength))
        for e in written.recurse().notes
        for p in e.pitches
    ]
    path = written.write("musicxml", tmp_path / "x.musicxml")
    frames = sources.read(str(path), Options(transpose="none", frame=1 / 12)).frames
    for at, row in enumerate(frames):
        sounding = {midi for midi, start, end in spans if start <= at / 12 + 1e-6 < end}
        assert {int(column) + 21 for column in np.flatnonzero(row)} == sounding
