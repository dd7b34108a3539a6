"""Numbers in other units than a model's, told by name: by `avf stream`, of files and of live lines."""

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from avf_client import Client
from avf_client.commands import cli
from avf_client.core.units import ForeignUnits, Watch

from tests.support.messages import begin
from tests.support.sensors import CENTER, SCALE, weather_in
from tests.support.servers import Server

WRONG = {
    "kelvin": (lambda rows: rows + np.array([273.15, 0.0]), ["temp [C] lies about 28", "are its units the model's?"]),
    "swapped": (lambda rows: rows[:, ::-1], ["it looks like pressure: are columns swapped?", "pressure lies about 1"]),
}


@pytest.fixture(scope="module")
def weather(start: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a model that knows about which number each channel lies."""
    running = start(weather_in(tmp_path_factory.mktemp("models")))
    yield running.url
    running.stop()


def rows() -> np.ndarray:
    """Thirty numbers of each channel, as the model knows them."""
    return np.random.default_rng(0).normal(CENTER, SCALE, size=(30, 2))


def table(numbers: np.ndarray) -> str:
    """As CSV."""
    return "temp,pressure\n" + "".join(f"{a:.2f},{b:.2f}\n" for a, b in numbers)


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("live", [True, False])
def test_what_is_streamed_is_told_of_by_name(
    weather: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    live: bool,
) -> None:
    """Of a file and of live lines, once a channel; what is in the model's units is not."""
    change, words = WRONG[case]
    for numbers, expected in ((rows(), []), (change(rows()), words)):
        text = table(numbers)
        (tmp_path / "x.csv").write_text(text)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert cli.run(["stream", "-" if live else str(tmp_path / "x.csv"), "--server", weather, "--json"]) == 0
        told = capsys.readouterr().err
        assert all(word in told for word in expected)
        assert told.count("warning:") == (0 if not expected else {"kelvin": 1, "swapped": 2}[case])


def test_a_model_says_about_which_numbers_its_channels_lie(weather: str) -> None:
    """To every client; where it does not, nothing is said of units."""
    with Client(weather) as client:
        info = client.model("weather")
    assert (info.center, info.scale) == (CENTER, SCALE)
    assert list(Watch(info=msgspec.structs.replace(info, center=None)).warnings(np.full(2, 1e9))) == []
    watch = Watch(info=info)
    assert len(list(watch.warnings(np.array([300.0, np.nan])))) == 1
    assert list(watch.warnings(np.array([301.0, 1013.0]))) == []  # it was told of


def test_a_session_warns_once_by_name(weather: str) -> None:
    """Of steps, and of streams; of a channel once, and of none that lies where it should."""
    right, wrong = rows(), rows() + np.array([273.15, 0.0])
    with Client(weather) as client:
        with client.session("weather") as session, warnings.catch_warnings():
            warnings.simplefilter("error")
            session.steps(right)
            list(session.stream(right))
        with client.session("weather") as session:
            with pytest.warns(ForeignUnits, match=r"temp \[C\] lies about 28.* are its units the model's\?") as told:
                session.steps(wrong)
            assert len(told) == 1
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                list(session.stream(wrong))
        with client.session("weather") as session, pytest.warns(ForeignUnits, match="temp"):
            list(session.stream(wrong))


def test_a_sparing_watch_looks_ever_less_often() -> None:
    """At the 1st, 2nd, 4th, 8th, ... observation: a sensor that moves far away later on is still told of."""
    info = msgspec.structs.replace(begin().session, center=[0.0], scale=[1.0])
    watch = Watch(info=info, sparing=True)
    told = [n for n in range(1, 101) if list(watch.warnings(np.array([0.0 if n < 20 else 99.0])))]
    assert told == [32]  # thirteen of the last twenty-five are far away
