"""Sound from end to end: a speech model trained by the project's own command, served, and streamed through."""

import io
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from avf_client import (
    Audio,
    Client,
    Estimate,
    Retry,
    Summary,
    errors,
    hearing,
)
from avf_client.commands import (
    cli,
    microphone,
    view_sound,
)
from avf_client.commands.spectrum import QUIET, bands, level
from rich.console import Console

from tests.support.estimates import same
from tests.support.proxies import CuttingProxy

pytestmark = pytest.mark.slow

RATE, SIZE = 16_000, 200
FRAMES = 24
MODEL = "vrnn-speech-small"
TINY = (
    *("hidden_size=16", "latent_size=4", "observation_widths=[16]", "latent_widths=[8]"),
    *("prior_widths=[8]", "decoder_widths=[16]"),
)


def voice(seconds: float, *, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A tone that glides and comes and goes, within [-1, 1]."""
    t = np.arange(round(seconds * rate)) / rate
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(t))
    return 0.4 * np.sin(2 * np.pi * (200 + 50 * seed + 80 * t) * t) * np.sin(3 * t) ** 2 + noise


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny speech model, trained by `avf train` on synthetic sound."""
    folder = tmp_path_factory.mktemp("speech")
    (folder / "sound").mkdir()
    for number in range(3):
        soundfile.write(folder / "sound" / f"{number}.wav", voice(0.4, seed=number), RATE)
    sizes = [part for size in TINY for part in ("--set", f"model.{size}")]
    rest = ["--set", "inference.units=16", "--set", "training.epochs=1", "--set", "training.batch_size=2"]
    data = ["--data", str(folder / "sound"), "--data-kind", "audio", "--data-option", "valid=0.3"]
    out = folder / MODEL
    assert cli.run(["train", MODEL, *data, "--out", str(out), *sizes, *rest, "--precision", "float32"]) == 0
    return out


@pytest.fixture(scope="module")
def client(speech: Path, gaussian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of `avf serve --model FOLDER`, as it is started by hand."""
    data = tmp_path_factory.mktemp("data")
    models = [part for each in (speech, gaussian, "speech") for part in ("--model", str(each))]
    process = subprocess.Popen(
        [sys.executable, "-m", "avf_client", "serve", "--json", "--port", "0", "--data-dir", str(data), *models],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the server ended with {process.wait()}"
    with Client(json.loads(line)["server_url"]) as made:
        yield made
    process.terminate()
    assert process.wait(timeout=60) == 0
    process.stdout.close()


@pytest.fixture
def environment(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the server in the environment."""
    monkeypatch.setenv("AVF_SERVER", client.base_url)


@pytest.fixture(scope="module")
def levels() -> np.ndarray:
    """Frames of sound and a bit, 16-bit."""
    return np.rint(voice(0.5) * 32767).astype(np.int16)[: FRAMES * SIZE + 77]


@pytest.fixture(scope="module")
def expected(client: Client, levels: np.ndarray) -> list[Estimate]:
    """The estimates of the whole frames, sent as observations."""
    frames = levels[: FRAMES * SIZE].reshape(-1, SIZE) / 32768.0
    with client.session(MODEL, seed=3) as session:
        return session.steps(frames)


def cut(samples: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """The samples in chunks of this length."""
    for start in range(0, len(samples), length):
        yield samples[start : start + length]


# --- the SDK


@pytest.mark.parametrize("length", [1, 200, 2_099, 10**6])
def test_chunks_of_any_length_are_the_same_sound(
    client: Client, levels: np.ndarray, expected: list[Estimate], length: int
) -> None:
    """As observations cut beforehand; what fills no frame stays with the session."""
    with client.session(MODEL, seed=3, audio=Audio(rate=RATE)) as session:
        same(list(session.stream(cut(levels, length))), expected)
        session.refresh()
        assert (session.next_seq, session.info.next_sample) == (FRAMES + 1, len(levels))


def test_sound_may_be_numbers_and_go_on_in_the_midst_of_a_frame(
    client: Client, levels: np.ndarray, expected: list[Estimate]
) -> None:
    """In two streams, from two clients, one of float32 numbers and one array: the same estimates."""
    with client.session(MODEL, seed=3, audio=Audio(rate=RATE, encoding="f32")) as session:
        first = list(session.stream((levels[:2_333] / 32768.0).astype(np.float32)))
        rest = list(client.attach(session.id).stream(levels[2_333:]))
    same(first + rest, expected)


def test_a_stream_of_sound_survives_cuts(client: Client, levels: np.ndarray, expected: list[Estimate]) -> None:
    """In chunks that fit no frame, over a connection that is cut thirty times."""
    rng = np.random.default_rng(1)
    proxy = CuttingProxy(client.base_url, [10**6, *rng.integers(100, 8_000, size=30).tolist()])
    try:
        with (
            client.session(MODEL, seed=3, durability="group", audio=Audio(rate=RATE)) as session,
            Client(proxy.url, client.api_key, retry=Retry(attempts=30, first=0.001, most=0.01)) as through,
        ):
            got = list(through.attach(session.id).stream(cut(levels, 333)))
            session.refresh()
            assert session.info.next_sample == len(levels)
    finally:
        proxy.close()
    assert proxy.connections > 10
    assert [e.free_energy for e in got] == [e.free_energy for e in expected]


def test_sound_that_does_not_fit_is_refused(client: Client, levels: np.ndarray) -> None:
    """At another rate, of a model of something else, or not sound at all; the session goes on."""
    with pytest.raises(errors.InvalidSetting, match="16000"):
        client.session(MODEL, audio=Audio(rate=8_000))
    with pytest.raises(errors.InvalidSetting):
        client.session("gaussian", audio=Audio(rate=RATE))
    with client.session(MODEL, audio=Audio(rate=RATE)) as session:
        with pytest.raises(errors.InvalidObservation, match="beyond"):
            list(session.stream([levels[:400], np.full(200, 3.0)]))
        assert session.next_seq == 3
        assert [e.seq for e in session.stream([levels[:200]])] == [3]


def test_the_documented_stream_of_sound_runs(
    client: Client, levels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    """The block of docs/client.md about sound."""
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    (block,) = re.findall(r"^```python notest\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    exec(compile(block, "client.md", "exec"), {"client": client, "chunks": cut(levels, 777)})
    assert len(capsys.readouterr().out.splitlines()) == FRAMES // 8


# --- the command


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("rate", "channels", "suffix"), [(44_100, 2, "wav"), (16_000, 1, "wav"), (8_000, 1, "flac")])
def test_a_file_is_streamed_as_fast_as_it_would_be_heard(
    rate: int, channels: int, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`avf stream speech.wav --model ... --realtime`, at any rate, mono or stereo, against `avf serve`."""
    file = tmp_path / f"speech.{suffix}"
    soundfile.write(file, np.stack([voice(0.25, rate=rate)] * channels, axis=1), rate)
    assert cli.run(["stream", str(file), "--model", MODEL, "--realtime", "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["steps"] == 20
    assert report["mean_free_energy"] == pytest.approx(report["mean_reconstruction"] + report["mean_kl"], rel=1e-4)
    assert f"speech.{suffix} through {MODEL}, 16000 Hz" in captured.err
    assert ("Resampled" in captured.err) == (rate != RATE)


@pytest.mark.usefixtures("environment")
def test_thinned_and_in_a_session_of_observations(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every eighth estimate; and through a session that was opened without audio, which takes frames."""
    soundfile.write(tmp_path / "a.wav", voice(0.2), RATE)
    assert cli.run(["stream", str(tmp_path / "a.wav"), "--model", MODEL, "--every", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    with client.session(MODEL) as session:
        assert cli.run(["stream", str(tmp_path / "a.wav"), "--session", session.id, "--limit", "10", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["steps"] == 10
        session.refresh()
        assert session.next_seq == 11


def test_sound_is_paced_by_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk is given once it would have been recorded, counted from the first."""
    now = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    clock = types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(hearing, "time", clock)
    for _ in hearing.in_time(np.zeros(500, np.int16), size=200, rate=1_000):
        now[0] += 0.05  # the server takes its time
    assert slept == pytest.approx([0.2, 0.15, 0.05])


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name a FILE, or --mic"),
        (["x.wav", "--mic"], 2, "not both"),
        (["--mic", "--realtime"], 2, "for files"),
        (["x.wav", "--seconds", "3"], 2, "for --mic"),
        (["x.wav", "--realtime", "--pace", "3"], 2, "two speeds"),
        (["x.npy", "--realtime", "--model", "gaussian"], 1, "--realtime is for sound"),
        (["x.npy", "--every", "2", "--model", "gaussian"], 1, "--every is for sound"),
        (["--mic", "--model", "gaussian"], 1, "not of sound"),
        (["nowhere.wav", "--model", MODEL], 1, "nowhere.wav is no file"),
    ],
)
def test_what_cannot_be_streamed_is_told_in_one_line(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 for options that do not go together, 1 for the rest."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((2, 3)))
    soundfile.write("x.wav", voice(0.1), RATE)
    assert cli.run(["stream", *arguments]) == code
    assert said in capsys.readouterr().err


# --- the microphone


class FakeSound(types.ModuleType):
    """What sounddevice offers, with a microphone that hears `sound` at `own` Hz; None where there is none."""

    class PortAudioError(Exception):
        """As sounddevice's own."""

    def __init__(self, sound: np.ndarray | None, *, own: int) -> None:
        super().__init__("sounddevice")
        self.sound = sound
        self.own = own
        self.InputStream = self._stream

    def query_devices(self, device: Any = None, kind: str | None = None) -> Any:
        if kind is None:
            return [] if self.sound is None else [{"name": "desk", "max_input_channels": 1}]
        if self.sound is None or device not in (None, "desk", 0):
            raise ValueError("no such device")
        return {"default_samplerate": float(self.own)}

    def check_input_settings(self, *, samplerate: int, **_: Any) -> None:
        if samplerate != self.own:
            raise self.PortAudioError("invalid sample rate")

    def _stream(self, *, callback: Callable[..., None], blocksize: int, **_: Any) -> Any:
        def play() -> None:
            assert self.sound is not None
            for block in cut(self.sound, blocksize):
                callback(block[:, None], len(block), None, None)

        thread = threading.Thread(target=play)
        return types.SimpleNamespace(start=thread.start, close=lambda: thread.join())


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("own", [16_000, 48_000])
def test_a_microphone_is_streamed(
    own: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the model's rate, or resampled from the device's own."""
    sound = np.rint(voice(0.5, rate=own) * 32767).astype(np.int16)
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSound(sound, own=own))
    assert cli.run(["stream", "--mic", "--seconds", "0.2", "--model", MODEL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 16


@pytest.mark.usefixtures("environment")
def test_without_a_microphone_the_error_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No device; not that device; no library."""
    arguments = ["stream", "--mic", "--model", MODEL]
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSound(None, own=RATE))
    assert cli.run(arguments) == 1
    assert "this machine has none" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSound(np.zeros(1, np.int16), own=RATE))
    assert cli.run([*arguments, "--input", "phone"]) == 1
    assert "no microphone 'phone': there are desk" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.run(arguments) == 2
    assert "avf[mic]" in capsys.readouterr().err


def test_a_microphone_that_goes_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sound in time is an error, and no silence."""
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSound(np.zeros(400, np.int16), own=RATE))
    monkeypatch.setattr(microphone, "PATIENCE", 0.01)
    chunks = microphone.listen(rate=RATE)
    assert len(next(chunks)) == 400
    with pytest.raises(errors.SourceError, match="still there"):
        next(chunks)


# --- the view


def estimates(count: int, *, surprise: float | None = 0.01) -> Iterator[tuple[np.ndarray, Summary]]:
    """Frames of a loud tone, and what is said of them."""
    tone = np.rint(16_000 * np.sin(2 * np.pi * 960 * np.arange(SIZE) / RATE)).astype(np.int16)
    for seq in range(1, count + 1):
        yield (
            tone,
            Summary(
                seq=seq,
                epoch=1,
                free_energy=-900.0,
                reconstruction=-905.0,
                kl=5.0,
                iterations=1,
                surprise=surprise,
                durability="none",
            ),
        )


def shown(*, terminal: bool, surprise: float | None = 0.01) -> str:
    """What a view writes of one and a half seconds."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, height=30, color_system=None)
    with view_sound.open_sound_view(console, title="a voice through m", rate=RATE) as view:
        for samples, estimate in estimates(120, surprise=surprise):
            view.add(samples, estimate)
    return stream.getvalue()


def test_without_a_terminal_there_is_a_line_a_second() -> None:
    """And one for what is left, without control codes."""
    lines = shown(terminal=False).splitlines()
    assert lines[0] == "a voice through m"
    assert [line.split(" s ")[0].strip() for line in lines[1:]] == ["1.0", "1.5"]
    assert "F  -900.00 nats a step" in lines[1]
    assert "level  -9.2 dB  surprise p 0.01" in lines[1]
    assert "surprise p unknown" in shown(terminal=False, surprise=None)


def test_in_a_terminal_there_are_meters_and_a_spectrogram() -> None:
    """Level, F, surprise, and a tone of 960 Hz in its band and in no other."""
    text = shown(terminal=True)
    last = text[text.rindex("a voice through m") :]
    for part in ("level", "-9.2 dB", "-900.00", "surprise", "p 0.01", "1.5 s, 120 estimates", "mean -900.00"):
        assert part in last
    loud = [line for line in last.splitlines() if "kHz" in line and ("▓" in line or "█" in line)]
    assert len(loud) == 1
    assert "0.89 kHz" in loud[0]


def test_loudness_and_bands_are_those_of_the_sound() -> None:
    """A full sine wave has -3 dB; its band has all of it; silence is silent."""
    tone = np.rint(32767 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.int16)
    assert level(tone) == pytest.approx(-3.01, abs=0.01)
    assert level(np.zeros(10, np.int16)) == level(np.zeros(0, np.int16)) == QUIET
    heard = bands(tone, rate=RATE, count=8)
    assert heard.argmax() == 2
    assert heard[2] == pytest.approx(-3.01, abs=0.1)
    assert (bands(np.zeros(0, np.int16), rate=RATE, count=8) == QUIET).all()


def test_a_client_that_streams_sound_imports_no_torch() -> None:
    """Nor the server, nor PortAudio, until they are wanted."""
    code = (
        "import sys, avf_client.commands.stream, avf_client.blocking.streaming; print(sorted(m for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "avf_server", "avf_core", "sounddevice", "soundfile"}.isdisjoint(eval(done.stdout))


def test_a_tap_gives_back_what_went_through() -> None:
    """By observations, whatever the chunks were."""
    tap = hearing.Tap(cut(np.arange(23, dtype=np.int16), 5), size=4)
    assert sum(len(chunk) for chunk in tap) == 23
    assert [tap.answered(n).tolist() for n in (1, 3)] == [list(range(4)), list(range(4, 16))]
    assert list(itertools.chain(tap.answered(9).tolist())) == list(range(16, 23))
