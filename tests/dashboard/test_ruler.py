"""Where steps stand on the page's charts: as far apart as their times are, and evenly where they have none."""

from typing import Any

import numpy as np
import pytest

from tests.support.pages import Looking
from tests.support.servers import Server

pytestmark = pytest.mark.slow

ASKED = """async ([times, first, last, positions]) => {
  const { Ruler } = await import(new URL("dashboard/charts/ruler.js", document.baseURI));
  const entries = times.map((time) => ({ time: time ?? NaN }));
  const seen = [Math.max(0, Math.floor(first)), Math.min(entries.length, Math.ceil(last))];
  const ruler = new Ruler({ trace: { entries }, first, last, seen });
  const shares = positions.map((each) => ruler.share(each));
  return { even: ruler.even, shares, back: shares.map((each) => ruler.position(each)) };
}"""


@pytest.fixture
def ask(looking: Looking, server: Server) -> Any:
    """What the page's ruler says of positions in a window over steps with these times."""
    looking.page.goto(server.url)
    return lambda *asked: looking.page.evaluate(ASKED, list(asked))


def test_steps_are_as_far_apart_as_their_times(ask: Any) -> None:
    """Entry `at` stands at its time, as numpy interpolates; beyond the ends steps are as far apart as on average."""
    times = [10.0, 11.0, 12.0, 40.0, 41.0, 50.0]
    usual = (times[-1] - times[0]) / 5
    knots = [times[0] - usual, *times, times[-1] + 3 * usual]
    places = [-0.5, *(at + 0.5 for at in range(6)), 8.5]
    positions = [0.0, 0.5, 1.5, 2.25, 3.0, 3.5, 5.5, 6.0, 8.0]
    moments = np.interp([0.0, 8.0, *positions], places, knots)
    said = ask(times, 0, 8, positions)
    assert not said["even"]
    assert said["shares"] == pytest.approx((moments[2:] - moments[0]) / (moments[1] - moments[0]))
    assert said["back"] == pytest.approx(positions)


@pytest.mark.parametrize("times", [[None] * 6, [1.0, 2.0, None, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0], [7.0]])
def test_steps_without_times_or_with_such_as_go_back_are_evenly_spaced(ask: Any, times: list[float | None]) -> None:
    """As after a reset, which may begin its times anew."""
    said = ask(times, -2, 6, [-2, 0.5, 3, 6])
    assert said["even"]
    assert said["shares"] == pytest.approx([0, 2.5 / 8, 5 / 8, 1])
    assert said["back"] == pytest.approx([-2, 0.5, 3, 6])
