"""Each view in a real browser, while real sessions stream: what the page shows is what the interface says."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.pages import INK, history, reached
from tests.support.servers import Server

from .conftest import Looking, Stream, Way

pytestmark = pytest.mark.slow

KINDS = {
    "srnn-jsb": "Heard and expected",
    "sound": "Heard and expected",
    "film": "Seen and expected",
    "numbers": "Observed and expected",
}
FACTS = """() => ({
  at: document.querySelector(".facts").dataset.seq ?? null,
  values: Object.fromEntries([...document.querySelectorAll("[data-fact]")].map((e) => [e.dataset.fact, e.textContent])),
})"""


def same_as_api(looking: Looking, api: httpx.Client, session: str) -> None:
    """The figures of the step that the page shows are those of the interface, as they are rounded there."""
    shown = looking.page.evaluate(FACTS)
    entry = history(api, session)[int(shown["at"].split(".")[1])]
    for name, key in (("F", "free_energy"), ("reconstruction", "reconstruction"), ("kl", "kl")):
        assert shown["values"][name] == f"{entry[key]:.2f}", name
    assert shown["values"]["step"] == str(entry["seq"])
    assert shown["values"]["epoch"] == str(entry["epoch"])


@pytest.mark.parametrize("model", KINDS)
def test_a_session_is_drawn_in_the_form_of_its_kind(
    looking: Looking, server: Server, api: httpx.Client, streaming: Callable[..., Stream], model: str
) -> None:
    """Its numbers equal the interface's while it streams, and every chart draws something."""
    stream = streaming(model)
    looking.page.set_viewport_size({"width": 1440, "height": 1400})
    looking.page.goto(f"{server.url}/#/session/{stream.id}")
    reached(looking, 12)
    same_as_api(looking, api, stream.id)
    assert looking.page.inner_text("[data-chart=form] h2") == KINDS[model]
    looking.page.wait_for_function(
        "() => document.querySelector('[data-chart=forecast] [role=status]').textContent.startsWith('after')"
    )
    for chart in ("energy", "form", "latents", "iterations", "active", "forecast"):
        canvas = looking.page.locator(f"[data-chart={chart}] canvas").first
        looking.page.wait_for_function(f"(canvas) => ({INK})(canvas) > 4", arg=canvas.element_handle())
    looking.page.click("[data-chart=form] button:has-text('Table')")
    rows = looking.page.locator("[data-chart=form] tbody tr")
    assert rows.count() > 5
    described = "(pattern) => RegExp(pattern).test(document.querySelector('[data-chart=energy] canvas').ariaLabel)"
    looking.page.wait_for_function(described, arg=r"^Free energy of \d+ steps: mean -?[\d.]+ nats")
    assert looking.origins == {server.url}


def test_the_table_beside_a_chart_has_the_figures_of_the_interface(
    looking: Looking, server: Server, api: httpx.Client, streaming: Callable[..., Stream]
) -> None:
    """Paused, each row of the free energy's table is that step of the history."""
    stream = streaming("numbers")
    looking.page.goto(f"{server.url}/#/session/{stream.id}")
    reached(looking, 10)
    looking.page.click("text=Pause")
    looking.page.click("[data-chart=energy] button:has-text('Table')")
    told = history(api, stream.id)
    rows = looking.page.locator("[data-chart=energy] tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert len(rows) >= 10
    for epoch, seq, _, *energies, _ in rows:
        entry = told[int(seq)]
        assert epoch == str(entry["epoch"])
        assert energies == [f"{entry[name]:.2f}" for name in ("free_energy", "reconstruction", "kl")]


def test_paused_it_stands_still_and_can_be_gone_back_through(
    looking: Looking, server: Server, api: httpx.Client, streaming: Callable[..., Stream]
) -> None:
    """By keyboard: space pauses, Home goes to the oldest step, End follows again; a pause holds while steps come."""
    stream = streaming("numbers")
    page = looking.page
    page.goto(f"{server.url}/#/session/{stream.id}")
    reached(looking, 8)
    page.focus(".charts")
    page.keyboard.press("Space")
    held = page.evaluate(FACTS)["at"]
    known = "() => Number(document.querySelector('.minimap').ariaValueMax)"
    before = page.evaluate(known)
    page.wait_for_function(f"(before) => ({known})() > before + 4", arg=before)
    assert page.evaluate(FACTS)["at"] == held
    same_as_api(looking, api, stream.id)
    for _ in range(12):
        page.keyboard.press("+")
    page.keyboard.press("Home")
    assert page.evaluate(FACTS)["at"] == "1.8"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(FACTS)["at"] == "1.9"
    page.keyboard.press("End")
    reached(looking, stream.sent)
    assert page.inner_text(".controls button:first-child") == "Pause"


def test_a_reset_and_a_fork_are_marked(
    looking: Looking, server: Server, api: httpx.Client, streaming: Callable[..., Stream]
) -> None:
    """A reset elsewhere begins a new epoch on the page; a fork made in the page links to the new session."""
    stream = streaming("numbers")
    looking.page.goto(f"{server.url}/#/session/{stream.id}")
    reached(looking, 5)
    looking.page.click("text=Fork")
    link = looking.page.get_attribute(".notice a", "href") or ""
    assert api.get(f"/v1/sessions/{link.rpartition('/')[2]}").json()["model"] == "numbers"
    stream.stop()
    api.post(f"/v1/sessions/{stream.id}/reset").raise_for_status()
    api.post(f"/v1/sessions/{stream.id}/steps", json={"seq": 1, "observations": [[0.0, 0.1, 0.2]]}).raise_for_status()
    looking.page.wait_for_function("() => document.querySelector('.facts').dataset.seq === '2.1'")
    same_as_api(looking, api, stream.id)
    looking.page.click(".notice a")
    looking.page.wait_for_function(
        "(id) => document.querySelector('h1').textContent === id", arg=link.rpartition("/")[2]
    )


def test_what_is_missing_is_marked_and_not_drawn(looking: Looking, server: Server, api: httpx.Client) -> None:
    """A gap begins with a mark; its steps have free energy 0 and nothing observed, in chart and table."""
    session = api.post("/v1/sessions", json={"model": "numbers", "seed": 3}).json()["id"]
    looking.page.goto(f"{server.url}/#/session/{session}")
    looking.page.wait_for_selector("[data-chart=form]")
    for seq, x in enumerate([[0.1, 0.2, 0.3], None, None, [0.1, None, 0.3]], 1):
        api.post(f"/v1/sessions/{session}/steps", json={"seq": seq, "observations": [x]}).raise_for_status()
        reached(looking, seq)
    looking.page.click("[data-chart=form] button:has-text('Table')")
    read = "(cells) => cells.map((cell) => cell.textContent.split(',')[0])"
    first = looking.page.locator("[data-chart=form] td:nth-child(2)").evaluate_all(read)
    second = looking.page.locator("[data-chart=form] td:nth-child(3)").evaluate_all(read)
    assert (first, second) == (["0.10", "nothing", "nothing", "0.10"], ["nothing", "nothing", "nothing", "0.20"])
    marked = "() => document.querySelector('[data-chart=energy] canvas').ariaLabel.includes('Marks: step 2: gap')"
    looking.page.wait_for_function(marked)


def test_older_steps_are_loaded_when_asked_for(looking: Looking, server: Server, api: httpx.Client) -> None:
    """What lies before the part that is shown at first comes by a button, until the first step is there."""
    session = api.post("/v1/sessions", json={"model": "numbers", "seed": 3, "durability": "none"}).json()["id"]
    for first in range(1, 700, 100):
        body = {"seq": first, "observations": [[0.1, 0.2, 0.3]] * 100}
        api.post(f"/v1/sessions/{session}/steps", json=body).raise_for_status()
    looking.page.goto(f"{server.url}/#/session/{session}")
    reached(looking, 700)
    known = "(count) => Number(document.querySelector('.minimap').ariaValueMax) === count"
    looking.page.wait_for_function(known, arg=500)
    looking.page.click("text=Load earlier")
    looking.page.wait_for_function(known, arg=700)
    looking.page.wait_for_selector("text=Load earlier", state="hidden")
    looking.page.focus(".charts")
    looking.page.keyboard.press("Home")
    same_as_api(looking, api, session)


def test_files_are_saved(
    looking: Looking, server: Server, api: httpx.Client, streaming: Callable[..., Stream], tmp_path: Path
) -> None:
    """CSV holds every step with the interface's numbers, unrounded; PNG is an image of all charts."""
    stream = streaming("numbers")
    looking.page.goto(f"{server.url}/#/session/{stream.id}")
    reached(looking, 6)
    with looking.page.expect_download() as saved:
        looking.page.click("[role=toolbar] >> text=CSV")
    saved.value.save_as(tmp_path / "steps.csv")
    told = history(api, stream.id)
    rows = list(csv.DictReader((tmp_path / "steps.csv").read_text().splitlines()))
    assert len(rows) >= 6
    assert {"observation_0", "prediction_2", "posterior_mean_0", "posterior_deviation_2"} <= set(rows[0])
    for row in rows:
        assert float(row["free_energy"]) == told[int(row["seq"])]["free_energy"]
    with looking.page.expect_download() as saved:
        looking.page.click("[role=toolbar] >> text=PNG")
    saved.value.save_as(tmp_path / "charts.png")
    assert (tmp_path / "charts.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "charts.png").stat().st_size > 20_000


def test_the_overview_lists_what_the_interface_lists(
    looking: Looking, server: Server, api: httpx.Client, streaming: Callable[..., Stream]
) -> None:
    """Sessions come, move, and end; their figures are the history's; the server's figures are its status."""
    stream = streaming("numbers", pace=5)
    page = looking.page
    page.goto(server.url)
    row = page.locator(f"[data-session='{stream.id}']")
    row.wait_for()
    page.wait_for_function(
        "(id) => Number(document.querySelector(`[data-session='${id}'] [data-cell=steps]`).textContent) > 4"
        " && Number(document.querySelector(`[data-session='${id}'] [data-cell=rate]`).textContent) > 0.5",
        arg=stream.id,
    )
    read = "(row) => Object.fromEntries([...row.children].map((cell) => [cell.dataset.cell, cell.textContent]))"
    shown = row.evaluate(read)
    assert shown["F"] == f"{history(api, stream.id)[int(shown['steps'])]['free_energy']:.2f}"
    assert shown["model"] == "numbers"
    late = api.post("/v1/sessions", json={"model": "film"}).json()["id"]
    page.locator(f"[data-session='{late}']").wait_for()
    page.fill("[type=search]", late)
    page.wait_for_function("() => document.querySelectorAll('[data-session]').length === 1")
    api.delete(f"/v1/sessions/{late}").raise_for_status()
    page.wait_for_selector(f"[data-session='{late}'][data-ended]")
    device = page.inner_text("[data-tile=device] dd")
    assert device == api.get("/v1/status").json()["device"]
    names = {model["name"] for model in api.get("/v1/models").json()["models"]}
    assert set(page.locator(".models strong").all_inner_texts()) == names


def test_the_list_is_sorted_and_filtered(looking: Looking, server: Server, api: httpx.Client) -> None:
    """By a column's head, both ways, as it says to those who cannot see; by what moves."""
    ids = [api.post("/v1/sessions", json={"model": "numbers", "seed": i}).json()["id"] for i in range(3)]
    for count, session in enumerate(ids, 1):
        body = {"seq": 1, "observations": [[0.0, 0.0, 0.0]] * (7 * count)}
        api.post(f"/v1/sessions/{session}/steps", json=body).raise_for_status()
    page = looking.page
    page.goto(server.url)
    for session in ids:
        page.locator(f"[data-session='{session}']").wait_for()
    order = "() => [...document.querySelectorAll('[data-session]')].map((row) => row.dataset.session)"
    page.click("[data-column=steps] button")
    assert page.get_attribute("[data-column=steps]", "aria-sort") == "descending"
    found = [session for session in page.evaluate(order) if session in ids]
    assert found == ids[::-1]
    page.click("[data-column=steps] button")
    assert page.get_attribute("[data-column=steps]", "aria-sort") == "ascending"
    assert [session for session in page.evaluate(order) if session in ids] == ids


def test_a_finished_session_stays_readable(
    looking: Looking, server: Server, api: httpx.Client, streaming: Callable[..., Stream]
) -> None:
    """When it ends, the page says so, keeps all it has seen, and can come back to it."""
    stream = streaming("numbers")
    page = looking.page
    page.goto(f"{server.url}/#/session/{stream.id}")
    reached(looking, 8)
    stream.stop()
    reached(looking, stream.sent)
    told = history(api, stream.id)
    api.delete(f"/v1/sessions/{stream.id}").raise_for_status()
    page.wait_for_selector("text=This session has ended")
    shown = page.evaluate(FACTS)
    assert shown["values"]["F"] == f"{told[stream.sent]['free_energy']:.2f}"
    page.click("nav >> text=Overview")
    page.wait_for_selector(".tiles")
    page.go_back()
    page.wait_for_selector("text=This session has ended")
    page.focus(".charts")
    page.keyboard.press("Home")
    assert (
        page.evaluate(FACTS)["values"]["F"]
        == f"{told[int(page.evaluate(FACTS)['at'].split('.')[1])]['free_energy']:.2f}"
    )
    looking.excuse("404")  # coming back, the page asks once whether the session is there again


def test_no_such_session_is_said_in_words(looking: Looking, server: Server) -> None:
    """An address of a session that is not there shows that, and no error."""
    looking.page.goto(f"{server.url}/#/session/nothing")
    looking.page.wait_for_selector("text=There is no such session")
    looking.excuse("404")


def test_it_works_behind_a_path_prefix(
    way: Callable[..., Way], looking: Looking, server: Server, api: httpx.Client, streaming: Callable[..., Stream]
) -> None:
    """All that the page asks for lies under its own address."""
    stream = streaming("numbers")
    through = way(server, prefix="/a/b")
    looking.page.goto(f"{through.url}/")
    looking.page.click(f"[data-session='{stream.id}'] a")
    reached(looking, 6)
    same_as_api(looking, api, stream.id)
    assert looking.origins == {through.url.removesuffix("/a/b")}


def test_the_page_asks_nothing_but_the_interface(looking: Looking, server: Server, api: httpx.Client) -> None:
    """Every request is for a file of the page, or for a route that the interface describes."""
    asked: set[str] = set()
    looking.page.on("request", lambda request: asked.add(request.url.removeprefix(server.url).partition("?")[0]))
    looking.page.goto(server.url)
    looking.page.wait_for_selector(".models li")
    described = [re.sub(r"{\w+}", "[^/]+", path) for path in api.get("/openapi.json").json()["paths"]]
    for path in asked - {"/"}:
        assert path.startswith("/dashboard/") or any(re.fullmatch(each, path) for each in described), path
