"""The load of `benchmarks.load` on a peer: the same client, with the peer's path and body.

python -m benchmarks.peer.load URL --size 88 --sessions 64 --seconds 5 [--pids PID ...]
"""

import argparse
import asyncio
import json
from urllib.parse import urlsplit

import numpy as np
import uvloop

from benchmarks import load


class OverPeer(load.OverHttp):
    """A request an observation, in JSON."""

    def _message(self, seq: int) -> bytes:
        body = json.dumps({"session": self._session, "x": self._xs[seq % load.OBSERVATIONS].tolist()}).encode()
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Let the sessions run, and say what was measured."""
    address = urlsplit(options.url)
    xs = (np.random.default_rng(0).random((load.OBSERVATIONS, options.size)) > 0.95).astype(np.float32)
    bench = load.Bench(sessions=options.sessions, seconds=options.seconds, pids=options.pids)
    for session in range(options.sessions):
        await asyncio.get_running_loop().create_connection(
            lambda: OverPeer(bench, address.netloc, f"session-{session}", xs),  # noqa: B023 - called at once
            address.hostname,
            address.port,
        )
    await bench.over.wait()
    return {**bench.found, "which": bench.problems.most_common(3)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pids", type=int, nargs="*", default=[])
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
