"""The demo: a server, a session over the network, a Bach chorale streamed through it before your eyes.

    python examples/demo.py                      what `make demo` runs
    python examples/demo.py --model FOLDER       with a checkpoint of yours

It starts `avf serve` on a free port with a data folder of its own, streams a chorale of music21's corpus, cut to
frames as the model was trained on, sums up, writes a picture to ./demo-output/, and stops the server. The chorale,
BWV 350, is piece 74 of the test split of the JSB data set: the model was not trained on it. The last line of stdout
is one JSON object: steps, mean_free_energy (nats per step), model, server_url, plot.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import avf_sources as sources
from avf_client import AvfClientError, Client
from avf_client.commands import plot as plots
from avf_client.commands.watch import Trace, summary, watch
from rich.console import Console

PACE = 20.0  # frames per second, before human eyes


def main() -> int:
    """Run the demo; gives the exit code."""
    options = parser().parse_args()
    console = Console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        recording = sources.read(options.piece)
        with serving(options.model, console) as ready:
            url, model = ready["server_url"], ready["models"][0]
            trace, seconds = listen(url, model, recording, console)
    except AvfClientError as error:
        console.print(f"demo: {error}", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("demo: interrupted, the server is stopped")
        return 130
    picture = options.output / f"{options.piece.rpartition('/')[2]}.png"
    plots.draw(trace, picture)
    console.print(summary(trace, seconds=seconds))
    console.print(f"picture: {picture}", highlight=False, soft_wrap=True)
    report = {"steps": trace.steps, "mean_free_energy": trace.mean_free_energy, "model": model}
    print(json.dumps({**report, "server_url": url, "plot": str(picture)}), flush=True)
    return 0


def listen(url: str, model: str, recording: sources.Recording, console: Console) -> tuple[Trace, float]:
    """Stream the recording through a session of the model; the trace, and the seconds it took."""
    with Client(url) as client, client.session(model=model, seed=0) as session:
        start = time.perf_counter()
        trace = watch(session, recording, console=console, pace=PACE if console.is_terminal else None)
        return trace, time.perf_counter() - start


@contextmanager
def serving(model: str, console: Console) -> Iterator[dict[str, Any]]:
    """A server of this model on a free port, with a data folder of its own, stopped in the end."""
    with tempfile.TemporaryDirectory(prefix="avf-demo-") as folder:
        log = Path(folder) / "server.log"
        arguments = ["serve", "--port", "0", "--json", "--model", model, "--data-dir", str(Path(folder) / "data")]
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "avf_client", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C comes to the demo alone, which then stops the server
            )
        try:
            with console.status("starting a server"):
                assert process.stdout is not None
                line = process.stdout.readline()
            if not line:
                raise AvfClientError(f"the server did not start: {log.read_text().strip()[-2000:]}")
            ready = json.loads(line)
            console.print(f"server {ready['server_url']}, process {ready['pid']}", highlight=False)
            console.print(
                f"dashboard {ready['server_url']}/ while this runs; `make serve` keeps one up", highlight=False
            )
            yield ready
        finally:
            stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """Have the server drain and end; kill it where it does not."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description="Stream a Bach chorale through a served model, live.")
    made.add_argument("--model", default="chorales", help="a checkpoint of the zoo, or a folder")
    made.add_argument("--piece", default="corpus:bach/bwv350", help="what to stream, as `avf stream` takes it")
    made.add_argument("--output", type=Path, default=Path("demo-output"), help="the folder of the picture")
    return made


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
