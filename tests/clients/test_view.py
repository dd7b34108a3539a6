"""What people see: descriptions, the live table, plain lines, the summary and the picture."""

import io
from pathlib import Path

import numpy as np
import pytest
from avf_client.commands import plot, view
from avf_client.commands.describe import (
    Notes,
    Values,
    describer,
    note_name,
)
from avf_client.commands.watch import Trace, paced, summary
from avf_client.errors import InvalidArgument
from avf_client.results.estimates import Estimate
from avf_sources import Recording
from rich.console import Console


def estimate(seq: int, prediction: np.ndarray, deviation: np.ndarray | None = None, energy: float = 6.0) -> Estimate:
    """An estimate with this prediction; two thirds of its free energy are reconstruction."""
    latent = np.zeros(2)
    return Estimate(
        seq=seq,
        epoch=1,
        free_energy=energy,
        reconstruction=energy * 2 / 3,
        kl=energy / 3,
        free_energies=np.array([energy + 1.0, energy]),
        iterations=1,
        prior_mean=latent,
        prior_deviation=latent,
        posterior_mean=latent,
        posterior_deviation=latent,
        prediction=prediction,
        prediction_deviation=deviation,
        likelihood=prediction,
        likelihood_deviation=deviation,
        durability="group",
    )


def chords() -> tuple[np.ndarray, np.ndarray]:
    """Three frames, C major, a rest and a missing one, and what was expected of each: C4 at 90 %, G4 at 40 %."""
    x = np.zeros((3, 88))
    x[0, [39, 43, 46]] = 1.0
    x[2] = np.nan
    prediction = np.full(88, 0.01)
    prediction[39], prediction[46] = 0.9, 0.4
    return x, prediction


def traced(frames: np.ndarray, predictions: list[np.ndarray], *, piano_roll: bool, deviation: float | None) -> Trace:
    """A trace of these frames."""
    recording = Recording(name="a piece", frames=frames, piano_roll=piano_roll, frame=1.0 if piano_roll else None)
    trace = Trace(recording=recording, model="m")
    for index, prediction in enumerate(predictions):
        spread = None if deviation is None else np.full(len(prediction), deviation)
        trace.estimates.append(estimate(index + 1, prediction, spread, energy=6.0 + index))
    return trace


@pytest.mark.parametrize(("midi", "name"), [(21, "A0"), (60, "C4"), (61, "C♯4"), (63, "E♭4"), (108, "C8")])
def test_notes_have_their_names(midi: int, name: str) -> None:
    """Middle C is C4."""
    assert note_name(midi) == name


def test_a_piano_roll_is_told_in_notes() -> None:
    """What was heard, and what was expected with its probability, the likeliest first."""
    x, prediction = chords()
    notes = Notes(1.0, most=2)
    assert [notes.observed(row) for row in x] == ["C4 E4 G4", "(rest)", "(missing)"]
    assert notes.expected(x[0], estimate(1, prediction)) == [("C4 90%", True), ("G4 40%", True)]
    assert notes.expected(x[1], estimate(2, prediction)) == [("C4 90%", False), ("G4 40%", False)]
    assert notes.time(4).split() == ["5", "5"]


def test_other_observations_are_told_by_their_largest_values() -> None:
    """With what was expected there; it agrees within two standard deviations."""
    x = np.array([0.1, -5.0, np.nan, 2.0, 0.2])
    values = Values(5, most=2)
    assert values.observed(x) == "x1 -5 x3 2 (1 missing)"
    assert values.observed(np.full(5, np.nan)) == "(missing)"
    expected = values.expected(x, estimate(1, np.array([0.0, -4.0, 0.0, 9.0, 0.0]), np.ones(5)))
    assert expected == [("-4±1", True), ("9±1", False)]
    assert isinstance(describer(Recording(name="x", frames=x[None])), Values)


def shown(*, terminal: bool) -> str:
    """What a view writes of three frames."""
    x, prediction = chords()
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=140, height=30, color_system=None)
    with view.open_view(console, Notes(1.0), title="a piece through m") as opened:
        for index, row in enumerate(x):
            opened.add(row, estimate(index + 1, prediction))
    return stream.getvalue()


def test_without_a_terminal_there_are_plain_lines() -> None:
    """A title, then one line each, without any control codes."""
    lines = shown(terminal=False).splitlines()
    assert lines[0] == "a piece through m"
    assert len(lines) == 4
    assert "F    6.00 =   4.00 +  2.00 nats  heard C4 E4 G4" in lines[1]
    assert "C4 90%" in lines[1]
    assert "\x1b" not in "".join(lines)


def test_in_a_terminal_there_is_a_table() -> None:
    """With all rows, the mean, and a bar of surprise."""
    text = shown(terminal=True)
    last = text[text.rindex("a piece through m") :]
    for part in ("C4 E4 G4", "(rest)", "(missing)", "C4 90%", "6.00", "4.00", "2.00", "█", "3 steps, mean 6.00"):
        assert part in last


def test_a_bar_has_two_colours_and_a_width() -> None:
    """Half reconstruction, a quarter KL, and no more than the whole; negative parts are empty."""
    bar = view.bar(6.0, 3.0, full=12.0, width=8)
    assert bar.plain.rstrip() == "██████"
    assert [str(span.style) for span in bar.spans] == [view.RECONSTRUCTION, view.KL]
    assert len(view.bar(20.0, 20.0, full=12.0, width=8).plain) == 8
    assert view.bar(-3.0, -1.0, full=12.0, width=8).plain.strip() == ""


def test_a_summary_has_the_means() -> None:
    """Of free energy and its parts, and the most surprising frame."""
    x, prediction = chords()
    stream = io.StringIO()
    Console(file=stream, width=100).print(
        summary(traced(x, [prediction] * 2, piano_roll=True, deviation=None), seconds=1.0)
    )
    text = stream.getvalue()
    for part in ("6.500 nats", "4.333 nats", "2.167 nats", "7.500 nats", "step 2, 7.00 nats: (rest)", "2.0 steps/s"):
        assert part in text


def test_the_summary_of_nothing() -> None:
    """No steps have no mean."""
    trace = traced(chords()[0], [], piano_roll=True, deviation=None)
    assert (trace.steps, trace.mean_free_energy) == (0, None)
    Console(file=io.StringIO()).print(summary(trace, seconds=0.0))


def test_a_paced_source_gives_all_frames() -> None:
    """At a thousand a second, in order."""
    frames = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(np.stack(list(paced(frames, 1000.0))), frames)


@pytest.mark.parametrize(("size", "piano_roll"), [(88, True), (2, False), (40, False)])
def test_a_picture_is_drawn(size: int, piano_roll: bool, tmp_path: Path) -> None:
    """Of piano rolls, of few numbers and of many, missing values included."""
    rng = np.random.default_rng(0)
    frames = (rng.random((9, size)) > 0.9).astype(float) if piano_roll else rng.normal(size=(9, size))
    frames[4] = np.nan
    trace = traced(frames, list(rng.random((9, size))), piano_roll=piano_roll, deviation=None if piano_roll else 1.0)
    path = tmp_path / "deep" / "picture.png"
    plot.draw(trace, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    """Nothing to draw, or a format that there is not."""
    x, prediction = chords()
    with pytest.raises(InvalidArgument, match="nothing to draw"):
        plot.draw(traced(x, [], piano_roll=True, deviation=None), tmp_path / "x.png")
    with pytest.raises(InvalidArgument, match="cannot be written"):
        plot.draw(traced(x, [prediction], piano_roll=True, deviation=None), tmp_path / "x.docx")
