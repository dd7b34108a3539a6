"""Sessions that begin in the page: a sample, a file, the microphone. What arrives at the server is what was played."""

import io
import struct
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.servers import Server

from .conftest import RATE, Looking, Way

pytestmark = pytest.mark.slow

SEQ = "() => Number(document.querySelector('.facts')?.dataset.seq?.split('.')[1])"
NAMES = {"srnn-jsb": "A chorale", "sound": "Tones", "film": "A ball", "numbers": "Waves"}


def session_of(looking: Looking) -> str:
    """The session that the page shows."""
    looking.page.wait_for_function("() => location.hash.startsWith('#/session/')")
    return str(looking.page.evaluate("() => location.hash.split('/')[2]"))


def observed(api: httpx.Client, session: str) -> dict[str, Any]:
    """The last estimate, with what was observed."""
    reply: dict[str, Any] = api.get(f"/v1/sessions/{session}/estimate", params={"with": "observation"}).json()
    return reply


@pytest.mark.parametrize("model", NAMES)
def test_a_sample_of_each_kind_is_streamed(looking: Looking, server: Server, api: httpx.Client, model: str) -> None:
    """The page opens a session, shows it live, and can hold and stop its stream whatever view is shown."""
    page = looking.page
    page.goto(f"{server.url}/#/try")
    page.select_option("select", model)
    page.click("text=Play the sample")
    session = session_of(looking)
    page.wait_for_function(f"() => ({SEQ})() > 5")
    assert api.get(f"/v1/sessions/{session}").json()["model"] == model
    assert page.inner_text(".running strong") == NAMES[model]
    page.click("nav >> text=Overview")
    page.click(".running >> text=Pause")
    page.wait_for_selector(".running >> text=paused")
    page.click(".running >> text=Resume")
    page.wait_for_selector(".running >> text=streaming")
    page.click(".running >> text=Stop")
    page.wait_for_selector(".running >> text=done")
    page.click(".running >> text=Close")
    page.wait_for_selector(".running", state="detached")


def midi(notes: list[tuple[int, int, int]], *, division: int = 480) -> bytes:
    """A MIDI file of notes: pitch, and beginning and end in ticks."""
    events = sorted(
        [(start, 0x90, pitch) for pitch, start, _ in notes] + [(end, 0x80, pitch) for pitch, _, end in notes]
    )
    track, now = b"", 0
    for at, status, pitch in events:
        delta, now = at - now, at
        varied = bytes([delta & 0x7F])
        while delta := delta >> 7:
            varied = bytes([0x80 | delta & 0x7F]) + varied
        track += varied + bytes([status, pitch, 80])
    track += b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, division) + b"MTrk" + struct.pack(">I", len(track)) + track


def test_a_midi_file_is_read_as_the_command_line_reads_it(
    looking: Looking, server: Server, api: httpx.Client, tmp_path: Path
) -> None:
    """A chorale in D: the frames that the page streams are those of `avf stream`, shift to C and octave included."""
    import avf_sources as sources

    scale = [62, 66, 69, 67, 64, 61, 62, 69, 66, 64, 62, 62]
    notes = [(pitch, 480 * i, 480 * (i + 1)) for i, pitch in enumerate(scale)]
    notes += [(pitch - 12, 960 * i, 960 * (i + 1)) for i, pitch in enumerate([62, 69, 64, 67, 69, 62])]
    path = tmp_path / "piece.mid"
    path.write_bytes(midi(notes))
    looking.page.goto(f"{server.url}/#/try")
    looking.page.wait_for_selector("option", state="attached")
    looking.page.set_input_files("input[type=file]", path)
    session = session_of(looking)
    looking.page.wait_for_selector(".running >> text=done")
    truth = sources.read(str(path)).frames
    assert observed(api, session)["seq"] == len(truth) == 12
    found = looking.page.evaluate(
        """async (bytes) => {
          const midi = await import(new URL("dashboard/midi.js", document.baseURI));
          const notes = midi.parse(Uint8Array.from(bytes).buffer);
          return midi.frames(notes, { size: 88, first: 21 });
        }""",
        list(path.read_bytes()),
    )
    np.testing.assert_array_equal(found, truth)
    assert observed(api, session)["observation"] == truth[-1].tolist()


def test_a_wav_file_is_streamed_at_the_models_rate(
    looking: Looking, server: Server, api: httpx.Client, tmp_path: Path
) -> None:
    """Stereo at 22,050 Hz becomes mono at the model's 8,000; its last frame is still the same tone."""
    t = np.arange(22_050) / 22_050
    tone = (0.4 * np.sin(2 * np.pi * 440 * t) * 32_767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, 22_050, 0, "NONE", ""))
        out.writeframes(np.repeat(tone, 2).tobytes())
    (tmp_path / "tone.wav").write_bytes(file.getvalue())
    looking.page.goto(f"{server.url}/#/try")
    looking.page.select_option("select", "sound")
    looking.page.set_input_files("input[type=file]", tmp_path / "tone.wav")
    session = session_of(looking)
    looking.page.wait_for_selector(".running >> text=done")
    last = observed(api, session)
    assert last["seq"] == RATE // 80
    spectrum = np.abs(np.fft.rfft(last["observation"], 8000))
    assert abs(int(spectrum.argmax()) - 440) <= 10
    assert np.std(last["observation"]) == pytest.approx(0.4 / np.sqrt(2), rel=0.1)


def test_the_microphone_is_streamed(looking: Looking, server: Server, api: httpx.Client) -> None:
    """What Chromium's false microphone beeps arrives as samples at the model's rate."""
    looking.page.goto(f"{server.url}/#/try")
    looking.page.select_option("select", "sound")
    looking.page.click("text=Listen")
    session = session_of(looking)
    looking.page.wait_for_function(f"() => ({SEQ})() > 120")
    cells = "[...document.querySelectorAll('[data-chart=form] td:nth-child(2)')]"
    beeps = f"() => {cells}.map((cell) => Number(cell.textContent))"
    looking.page.click("[data-chart=form] button:has-text('Table')")
    looking.page.wait_for_function(f"() => Math.max(...({beeps})()) > -40")
    told = api.get(f"/v1/sessions/{session}").json()
    assert told["audio"] == {"rate": RATE, "encoding": "s16", "channels": 1}
    assert told["next_sample"] >= 120 * 80
    looking.page.click(".running >> text=Stop")
    looking.page.wait_for_selector(".running >> text=done")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bad.mid", b"RIFF and so on", "it does not begin with MThd"),
        ("cut.mid", b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MTrk\x00\x00\x00\x09\x00\x90\x40", "cut short"),
        ("bad.wav", b"this is no sound at all", "the browser cannot read this as sound"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(
    looking: Looking, server: Server, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    """A bad file opens no session."""
    (tmp_path / name).write_bytes(content)
    looking.page.goto(f"{server.url}/#/try")
    looking.page.wait_for_selector("option", state="attached")
    looking.page.set_input_files("input[type=file]", tmp_path / name)
    looking.page.wait_for_selector(f"text={says}")
    assert looking.page.evaluate("() => location.hash") == "#/try"


def test_sound_is_resampled_without_a_trace(looking: Looking, server: Server) -> None:
    """In pieces of any length: a tone below the limit stays as loud as it was, one above it is gone."""
    looking.page.goto(server.url)
    levels = looking.page.evaluate(
        """async () => {
          const { Resampler } = await import(new URL("dashboard/sound/resample.js", document.baseURI));
          const level = (hertz) => {
            const resampler = new Resampler(48000, 16000);
            const made = [];
            for (let at = 0; at < 48000; ) {
              const size = Math.min(48000 - at, 1 + (at * 7919) % 2000);
              const wave = (_, i) => Math.sin((2 * Math.PI * hertz * (at + i)) / 48000);
              made.push(...resampler.push(Float32Array.from({ length: size }, wave)));
              at += size;
            }
            const some = made.slice(2000, 14000);
            return [made.length, Math.sqrt(some.reduce((sum, x) => sum + x * x, 0) / some.length)];
          };
          return [level(1000), level(6000), level(11000)];
        }"""
    )
    (count, low), (_, high), (_, gone) = levels
    assert abs(count - 16000) < 40
    assert low == pytest.approx(0.7071, rel=0.01)
    assert high == pytest.approx(0.7071, rel=0.02)
    assert gone < 0.01


def test_a_stream_goes_on_after_its_connection_was_cut(
    way: Callable[..., Way], looking: Looking, server: Server, api: httpx.Client
) -> None:
    """It continues where the server stands: no observation is lost, none is sent twice."""
    through = way(server)
    page = looking.page
    page.goto(f"{through.url}/#/try")
    page.select_option("select", "numbers")
    page.click("text=Play the sample")
    session = session_of(looking)
    page.wait_for_function(f"() => ({SEQ})() > 5")
    through.break_off()
    page.wait_for_selector(".running >> text=reconnecting")
    through.cut.clear()
    page.wait_for_selector(".running >> text=streaming")
    now = api.get(f"/v1/sessions/{session}").json()["next_seq"]
    page.wait_for_function(f"(now) => ({SEQ})() > now + 5", arg=now)
    page.click(".running >> text=Stop")
    entries = api.get(f"/v1/sessions/{session}/history", params={"limit": 1000}).json()["entries"]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    looking.excuse("net::ERR", "WebSocket")
