"""What a page that is left open lives through: lost connections, servers that die, tokens that end, other themes."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.servers import Server

from .conftest import Looking, Stream, Way

pytestmark = pytest.mark.slow

KEY = "a key of this server"
SEQ = "() => Number(document.querySelector('.facts')?.dataset.seq?.split('.')[1])"
KNOWN = "() => Number(document.querySelector('.minimap')?.ariaValueMax)"
BROKEN = ("net::ERR", "WebSocket")  # what the browser itself says of connections that are cut


@pytest.fixture(scope="module")
def keyed(start: Callable[..., Server], folders: list[Path]) -> Iterator[Server]:
    """A server that wants a key."""
    running = start(folders[-1], AVF_API_KEYS=KEY)
    yield running
    running.stop()


def test_a_connection_that_is_cut_comes_back_by_itself(
    way: Callable[..., Way], looking: Looking, server: Server, streaming: Callable[..., Stream]
) -> None:
    """The page says so; afterwards it is live again, and knows every step that was made meanwhile."""
    stream, through = streaming("numbers"), way(server)
    page = looking.page
    page.goto(f"{through.url}/#/session/{stream.id}")
    page.wait_for_function(f"() => ({SEQ})() > 5")
    through.break_off()
    page.wait_for_selector("#connection[data-state=lost]")
    missed = stream.sent + 5
    while stream.sent < missed:
        page.wait_for_timeout(50)
    through.cut.clear()
    page.wait_for_selector("#connection[data-state=live]")
    page.wait_for_function(f"(missed) => ({SEQ})() > missed", arg=missed)
    assert page.evaluate(f"() => ({KNOWN})() - ({SEQ})()") == 0
    looking.excuse(*BROKEN)


def test_a_server_that_is_killed_is_found_again(
    own_server: Callable[..., Server], looking: Looking, streaming: Callable[..., Stream]
) -> None:
    """Both the overview and a session go on once it is back at its address."""
    server = own_server()
    stream = streaming("numbers", url=server.url)
    page = looking.page
    page.goto(f"{server.url}/#/session/{stream.id}")
    page.wait_for_function(f"() => ({SEQ})() > 5")
    server.stop(signal.SIGKILL)
    page.wait_for_selector("#connection[data-state=lost]")
    page.click("nav >> text=Overview")
    before = stream.sent
    server.start()
    page.wait_for_selector("#connection[data-state=live]")
    steps = f"[data-session='{stream.id}'] [data-cell=steps]"
    page.wait_for_selector(steps)
    page.wait_for_function(f'(before) => Number(document.querySelector("{steps}").textContent) > before', arg=before)
    page.click(f"[data-session='{stream.id}'] a")
    page.wait_for_function(f"() => ({SEQ})() > 5")
    looking.excuse(*BROKEN)


def test_a_key_opens_the_page_and_is_not_kept(
    keyed: Server, looking: Looking, streaming: Callable[..., Stream]
) -> None:
    """A wrong key is said to be wrong; a right one is exchanged for a token, and only that stays in the tab."""
    stream = streaming("numbers", url=keyed.url, Authorization=f"Bearer {KEY}")
    page = looking.page
    page.goto(f"{keyed.url}/#/session/{stream.id}")
    page.fill("[name=key]", "another")
    page.click("text=Sign in >> nth=-1")
    page.wait_for_selector("text=The server does not know this key.")
    page.fill("[name=key]", KEY)
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => ({SEQ})() > 3")
    assert KEY not in page.evaluate("() => JSON.stringify([{...sessionStorage}, {...localStorage}])")
    page.click("text=Sign out")
    page.wait_for_selector("[name=key]")
    assert page.evaluate("() => sessionStorage.length") == 0
    looking.excuse("401")


def test_a_token_that_ends_shows_the_login(keyed: Server, looking: Looking, streaming: Callable[..., Stream]) -> None:
    """And no error; whoever signs in again is back at what they looked at."""
    stream = streaming("numbers", url=keyed.url, Authorization=f"Bearer {KEY}")
    asked = {"lifetime_s": 4.0}
    made = httpx.post(f"{keyed.url}/v1/tokens", json=asked, headers={"Authorization": f"Bearer {KEY}"}).json()
    kept = {
        "token": made["token"],
        "expires_at": made["expires_at"] + 3600,
    }  # so that the server is the one who says so
    script = "(kept) => sessionStorage.getItem('avf.token') ?? sessionStorage.setItem('avf.token', kept)"
    looking.page.add_init_script(f"({script})({json.dumps(json.dumps(kept))})")
    looking.page.goto(f"{keyed.url}/#/session/{stream.id}")
    looking.page.wait_for_function(f"() => ({SEQ})() > 3")
    looking.page.wait_for_selector("text=Your sign-in has ended")
    looking.page.fill("[name=key]", KEY)
    looking.page.keyboard.press("Enter")
    looking.page.wait_for_function(f"() => ({SEQ})() > 5")
    looking.excuse("401")


VIEWS = ("overview", "session", "try")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", [*VIEWS, "login"])
def test_no_serious_fault_of_accessibility(
    request: pytest.FixtureRequest, looking: Looking, streaming: Callable[..., Stream], view: str, scheme: str
) -> None:
    """axe-core finds none in any view, in either theme, with the tables beside the charts open."""
    page = looking.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    server: Server = request.getfixturevalue("keyed" if view == "login" else "server")
    if view == "session":
        stream = streaming("srnn-jsb")
        page.goto(f"{server.url}/#/session/{stream.id}")
        page.wait_for_function(f"() => ({SEQ})() > 3")
        for button in page.locator("button:has-text('Table')").all():
            button.click()
    else:
        streaming("numbers") if view == "overview" else None
        page.goto(f"{server.url}/#/{'' if view in ('overview', 'login') else view}")
        page.wait_for_selector(
            {"overview": "[data-session]", "try": "option", "login": "[name=key]"}[view], state="attached"
        )
    found = Axe().run(page).response["violations"]
    serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
    assert serious == []


@pytest.mark.parametrize("width", [390, 820, 1440, 3840])
def test_no_view_is_wider_than_its_screen(
    looking: Looking, server: Server, streaming: Callable[..., Stream], width: int
) -> None:
    """From a phone to a screen on a wall, nothing has to be scrolled sideways."""
    stream = streaming("numbers")
    looking.page.set_viewport_size({"width": width, "height": 900})
    for address in ("/#/", f"/#/session/{stream.id}", "/#/try"):
        looking.page.goto(f"{server.url}{address}")
        looking.page.wait_for_selector("main > div")
        assert looking.page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_the_theme_is_the_readers(looking: Looking, server: Server) -> None:
    """It follows the system until it is chosen, and stays chosen."""
    page = looking.page
    page.emulate_media(color_scheme="dark")
    page.goto(server.url)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light
    page.click("#theme")
    assert page.evaluate(ground) == dark


def test_motion_is_calm_where_that_is_wanted(
    looking: Looking, server: Server, streaming: Callable[..., Stream]
) -> None:
    """With reduced motion the window does not glide: it stands at once where it belongs."""
    stream = streaming("numbers")
    looking.page.emulate_media(reduced_motion="reduce")
    looking.page.goto(f"{server.url}/#/session/{stream.id}")
    looking.page.wait_for_function(f"() => ({SEQ})() > 3")
    moved = looking.page.evaluate(
        """async () => {
          const { Span } = await import(new URL("dashboard/span.js", document.baseURI));
          const span = new Span({ entries: Array.from({ length: 100 }) }, 50);
          return [span.glide(), span.last];
        }"""
    )
    assert moved == [False, 100]


def test_everything_is_reached_by_keyboard(looking: Looking, server: Server, api: httpx.Client) -> None:
    """The first stop is the way past the head; Enter opens a session of the list; the focus can be seen."""
    session = api.post("/v1/sessions", json={"model": "numbers"}).json()["id"]
    page = looking.page
    page.goto(server.url)
    link = page.locator(f"[data-session='{session}'] a")
    link.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"
    link.focus()
    assert re.match(r"(?!none)", page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle"))
    page.keyboard.press("Enter")
    page.wait_for_function("(id) => document.querySelector('h1').textContent === id", arg=session)
