"""`python -m tests.fuzz --count 100000`: a campaign against a server of its own, and one at every reader of files.

One JSON object, or the fault.
"""

import dataclasses
import json
import tempfile
from pathlib import Path

import click

from tests.fuzz import campaign, readers
from tests.support import models
from tests.support.processes import Nursery
from tests.support.servers import Server


@click.command()
@click.option("--count", default=100_000, show_default=True, help="Messages to send.")
@click.option("--files", default=10_000, show_default=True, help="Files for each kind of reader.")
@click.option("--minutes", default=60.0, show_default=True, help="The most that it may take.")
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn.")
def main(count: int, files: int, minutes: float, seed: int) -> None:
    """Send random and mutated messages to a server, give such files to readers, and report what they answered."""
    with tempfile.TemporaryDirectory() as name, Nursery() as nursery:
        folder = Path(name)
        model = models.save(folder / "tiny", models.TINY, name="tiny")
        options = ("--model", str(model), "--data-dir", str(folder / "data"))
        served = Server(nursery, *options, log=folder / "log", **ENVIRONMENT)
        try:
            report = campaign.run(served.url, pid=served.pid, count=count, seed=seed, seconds=60 * minutes)
        finally:
            code = served.stop()
            faults = [line for line in served.log.read_text().splitlines() if "ERROR" in line or "Traceback" in line]
    read = [readers.run(place, count=files, seed=seed, seconds=60 * minutes) for place in readers.READERS]
    faults += [f"{one.kind} {fault}" for one in read for fault in one.faults]
    found = {"exit_code": code, "faults_logged": len(faults), "readers": [dataclasses.asdict(one) for one in read]}
    print(json.dumps({**dataclasses.asdict(report), **found}))
    for line in faults[:20]:
        click.echo(line, err=True)
    raise SystemExit(bool(code or faults))


ENVIRONMENT = {"AVF_MAX_BODY_BYTES": "65536", "AVF_MAX_WAIT_S": "0.05", "AVF_SESSION_TTL_S": "60"}

if __name__ == "__main__":
    main()
