"""A process that has imported the server, and from which servers are forked: one is ready in a fraction of a second.

    standard input:   {"serve": [options], "log": path, "environment": {...}, "before": Python that is run first}, or
                      {"run": [argv], "log": path}, a line
    standard output:  {"started": pid} for each, in order; {"server_url": ..., "pid": ...} of a server that is ready;
                      {"ended": pid, "code": exit code, negative for a signal}

The laws: a fork runs `avf serve` from its options on, as a process of its own, and is killed like any other; it is
made before torch has started any thread, which a fork would not have. All children die with this process (by
PR_SET_PDEATHSIG), which ends with its standard input, so that nothing is left of a test that was killed.
"""

import ctypes
import json
import os
import signal
import sys
from types import FrameType
from typing import Any

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests until standard input ends."""
    import avf_server.serve.uvicorn  # noqa: F401 - imported here once, for all children

    signal.signal(signal.SIGCHLD, _reap)
    _say({"started": os.getpid()})
    for line in sys.stdin:
        request = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # a start is said before its end
        pid = os.fork()
        if pid == 0:
            _child(request)
        _say({"started": pid})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _child(request: dict[str, Any]) -> None:
    """Become what was asked for; never returns."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.setpgid(0, 0)  # Ctrl+C at the terminal is for the test
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 2)
    if "run" in request:
        os.dup2(log, 1)
        os.execv(request["run"][0], request["run"])
    os.environ.update(request["environment"])
    exec(request["before"], {})
    from avf_server.serve.command import command

    code: Any = 1
    try:
        command(request["serve"])
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(code)


def _reap(number: int, frame: FrameType | None) -> None:
    """Say which children have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
