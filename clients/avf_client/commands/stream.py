"""`avf stream`: a file, a piece of music or a microphone through a served model, watched live."""

import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import avf_wire as wire
import click
import msgspec
import numpy as np
from avf_sources import Options, Recording, load, read
from rich.console import Console

from avf_client import hearing
from avf_client.blocking.client import Client, Session
from avf_client.commands import lines, microphone, view_sound
from avf_client.commands import plot as plots
from avf_client.commands.common import client_of, json_option, server_option, write_json
from avf_client.commands.driven import Driven, alone, read_driven
from avf_client.commands.reading import reading_options, take
from avf_client.commands.watch import Trace, summary, watch
from avf_client.core.units import RECENT, ForeignUnits, Watch
from avf_client.errors import InvalidArgument


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the options of `avf stream` say."""

    file: str | None
    model: str | None
    session: str | None
    mic: bool
    input: str | None
    seconds: float | None
    realtime: bool
    pace: float | None
    limit: int | None
    every: int
    seed: int | None
    iterations: int | None
    particles: int
    lag: int
    point: str | None
    alarm_every: float | None
    alarm_by: wire.AlarmBy
    kind: str | None
    inputs: tuple[str, ...]
    reading: Options
    plot: Path | None

    @property
    def live(self) -> bool:
        """Whether rows come from standard input."""
        return self.file == "-"

    def __post_init__(self) -> None:
        if self.live and (self.pace or self.realtime or self.plot is not None):
            raise click.UsageError("standard input has a time of its own: leave out --pace, --realtime and --plot")
        if self.mic == (self.file is not None):
            raise click.UsageError("name a FILE, or --mic, and not both: avf stream --help")
        if self.mic and (self.realtime or self.pace or self.plot is not None):
            raise click.UsageError("--realtime, --pace and --plot are for files, a microphone has its own time")
        if self.mic and self.inputs:
            raise click.UsageError("--inputs are columns of a table: name a FILE")
        if not self.mic and (self.input is not None or self.seconds is not None):
            raise click.UsageError("--input and --seconds are for --mic")
        if self.realtime and self.pace:
            raise click.UsageError("--realtime and --pace are two speeds: give one")
        if self.plot is not None and self.every > 1:
            raise click.UsageError("--plot draws every estimate: leave out --every")


@click.command()
@click.argument("file", required=False)
@server_option
@click.option("--model", metavar="NAME", help="The model to open a session on; the server's only one if absent.")
@click.option("--session", metavar="ID", help="Go on with this session, and leave it open.")
@click.option("--mic", is_flag=True, help="Stream the microphone, until Ctrl-C (extra 'mic').")
@click.option("--input", metavar="DEVICE", help="Which microphone: a name, or part of it, or a number.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop the microphone after so long.")
@click.option("--realtime", is_flag=True, help="Sound: as fast as it would be heard, not as fast as it goes.")
@click.option("--pace", type=click.FloatRange(min=0, min_open=True), help="Frames per second; unpaced if absent.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option("--every", type=click.IntRange(min=1), default=1, help="Show every n-th estimate only.")
@reading_options
@click.option("--inputs", metavar="COLUMN", multiple=True, help="Tables: the model's inputs; by its names if absent.")
@click.option("--seed", type=int, help="Fixes all randomness of the session.")
@click.option("--iterations", type=click.IntRange(min=0), help="Updates of the posterior a step.")
@click.option("--particles", type=click.IntRange(min=1), default=1, help="Weighted rows that filter the session.")
@click.option("--lag", type=click.IntRange(min=0), default=0, help="Steps that estimates look back.")
@click.option("--point", metavar="NAME", help="One of the model's operating points, such as bound.")
@click.option(
    "--alarm-every",
    type=click.FloatRange(min=1.0, min_open=True),
    metavar="STEPS",
    help="Listen for alarms, of which false ones are so many steps apart on average.",
)
@click.option(
    "--alarm-by",
    type=click.Choice(get_args(wire.AlarmBy)),
    default="change",
    help="What is listened for; daily tells hours apart, by --time. [default: change]",
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture (PNG, SVG or PDF).")
@json_option
def command(server: str, as_json: bool, **options: Any) -> None:
    """Stream FILE, or a microphone, through a served model, and watch.

    FILE is sound (.wav, .flac, .aiff, .ogg), music (.mid, .musicxml, .mxl, or a piece that music21 ships), video,
    an array (.npy, .npz; T rows of D numbers), or a table (.csv, .tsv, .parquet, .feather; a row a step); - is lines of
    CSV or JSON from standard input, as they come. Sound is resampled to the model's rate. Columns of a table are found
    by the model's names, those of its inputs too, and --time says when each row is to one that takes times. An API key
    is read from AVF_API_KEY.

    \b
    avf stream speech.wav --model speech --realtime
    avf stream corpus:bach/bwv66.6 --model srnn-jsb --plot chorale.png
    avf stream --mic --model speech --every 4
    tail -n +1 -f plant.csv | avf stream - --model plant
    """
    wanted = Wanted(reading=take(options), **options)
    if wanted.plot is not None:
        plots.require()
    console = Console(stderr=as_json)
    later = wanted.file is None or wanted.live or wanted.kind is not None or _is_sound(wanted.file)
    known = None if later or wanted.file is None else _read(wanted.file, wanted)
    with client_of(server) as client:
        trace = _streamed(client, wanted, console, known)
        server_url = client.base_url
    if wanted.plot is not None and isinstance(trace, Trace):
        plots.draw(trace, wanted.plot)
        console.print(f"plot written to {wanted.plot}", highlight=False, soft_wrap=True)
    if as_json:
        write_json(report(trace, server_url=server_url, plot=wanted.plot))


def report(trace: Trace | hearing.SoundTrace | lines.Tally, *, server_url: str, plot: Path | None) -> dict[str, object]:
    """What a stream came to, for other programs. Energies in nats per step."""
    return {
        "steps": trace.steps,
        "mean_free_energy": trace.mean_free_energy,
        "mean_reconstruction": trace.mean("reconstruction"),
        "mean_kl": trace.mean("kl"),
        "alarms": trace.alarms,
        "model": trace.model,
        "server_url": server_url,
        "plot": None if plot is None else str(plot),
    }


def _streamed(
    client: Client, wanted: Wanted, console: Console, known: Recording | None
) -> Trace | hearing.SoundTrace | lines.Tally:
    """Stream what is wanted, show it, and sum it up; a file of sound is read in the model's frames, so not before."""
    asked = (wanted.model, wanted.seed, wanted.iterations, wanted.particles, wanted.lag, wanted.point)
    listening = (wanted.alarm_every, wanted.alarm_by)
    if wanted.session is not None and (asked != (None, None, None, 1, 0, None) or listening != (None, "change")):
        raise InvalidArgument(
            "--session goes on with a session as it was opened: no --model, --seed, --iterations, --particles, --lag, "
            "--point, --alarm-every, --alarm-by"
        )
    attached = None if wanted.session is None else client.attach(wanted.session)
    info = _model(client, wanted.model if attached is None else attached.info.model)
    given = wanted.file is None or wanted.live or known is not None
    recording = known if given or wanted.file is None else _read(wanted.file, wanted, info)
    whole = recording is not None and recording.rate is not None and wanted.plot is None and wanted.pace is None
    sound = whole or (recording is None and not wanted.live)
    rate = recording.rate if recording is not None else info.sample_rate
    if sound and rate is None:
        raise InvalidArgument(f"the model {info.name} is not of sound: a microphone is nothing to it")
    if wanted.realtime and not sound:
        raise InvalidArgument("--realtime is for sound, without --plot; other files go by --pace, in frames per second")
    if wanted.every > 1 and not sound:
        raise InvalidArgument("--every is for sound: other files are shown frame by frame")
    audio = wire.Audio(rate=rate) if sound and rate is not None and info.sample_rate == rate else None
    with attached or client.session(
        info.name,
        seed=wanted.seed,
        iterations=wanted.iterations,
        audio=audio,
        particles=wanted.particles,
        lag=wanted.lag,
        point=wanted.point,
        alarm_every=wanted.alarm_every,
        alarm_by=wanted.alarm_by,
    ) as session:
        info = msgspec.structs.replace(info, timed=session.info.timed)  # a detector may listen to hours
        start = time.perf_counter()
        warnings.simplefilter("ignore", ForeignUnits)  # they are told below, as all of a command is
        if wanted.live:
            asked_for = lines.Wanted.of(
                info, channels=wanted.reading.channels or (), inputs=wanted.inputs, time=wanted.reading.time
            )
            return lines.follow(session, sys.stdin, asked_for, info=info, console=console, limit=wanted.limit)
        if not sound and recording is not None:
            driven = _driven(recording, wanted, info)
            for text in Watch(info=info).warnings(*driven.recording.frames[:RECENT]):
                console.print(f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)
            seen = watch(session, driven, console=console, pace=wanted.pace, limit=wanted.limit)
            console.print(summary(seen, seconds=time.perf_counter() - start))
            return seen
        heard = _heard(session, recording, wanted, console, rate=rate or 0)
        console.print(view_sound.summary(heard, seconds=time.perf_counter() - start))
        return heard


def _heard(
    session: Session, recording: Recording | None, wanted: Wanted, console: Console, *, rate: int
) -> hearing.SoundTrace:
    """Stream a recording of sound, or the microphone."""
    size, name = session.info.observation_size, "microphone" if recording is None else recording.name
    title = f"{name} through {session.info.model}, {rate} Hz"
    with view_sound.open_sound_view(console, title=title, rate=rate) as view:
        if recording is None:
            seconds = wanted.seconds if wanted.limit is None else wanted.limit * size / rate
            chunks = microphone.listen(rate=rate, device=wanted.input, seconds=seconds)
            return hearing.hear(session, chunks, name=name, rate=rate, listener=view, every=wanted.every, endless=True)
        frames = np.rint(recording.frames[: wanted.limit] * 32768.0).astype(np.int16)
        return hearing.hear(
            session,
            hearing.in_time(frames.ravel(), size=size, rate=rate) if wanted.realtime else iter(frames),
            name=name,
            rate=rate,
            listener=view,
            every=wanted.every,
            remarks=recording.remarks,
        )


def _is_sound(file: str) -> bool:
    return Path(file).suffix.lower() in load("audio").SUFFIXES


def _read(file: str, wanted: Wanted, info: wire.ModelInfo | None = None) -> Recording:
    """The recording; of sound in the model's frames."""
    options = wanted.reading
    if info is not None and info.sample_rate is not None:
        options = replace(options, rate=info.sample_rate, samples=info.observation_size)
    return read(file, options, kind=wanted.kind)


def _driven(recording: Recording, wanted: Wanted, info: wire.ModelInfo) -> Driven:
    """The recording with what comes with it; where a table and a model have names, its columns are found by them."""
    named = recording.channels and info.channels and wanted.reading.channels is None
    if wanted.file is None or not (info.input_size or named):
        return alone(recording, info=info, inputs=wanted.inputs)
    return read_driven(wanted.file, wanted.reading, kind=wanted.kind, info=info, inputs=wanted.inputs)


def _model(client: Client, name: str | None) -> wire.ModelInfo:
    """The model of this name, or the only one. Raises UnknownModel, and InvalidArgument where there are several."""
    models = client.models()
    if name is None:
        if len(models) != 1:
            names = ", ".join(info.name for info in models)
            raise InvalidArgument(f"the server holds {len(models)} models, choose one with --model: {names}")
        return models[0]
    return client.model(name)
