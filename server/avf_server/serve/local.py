"""A whole server in this process, for tests and notebooks: `avf_client.Client.local` is its face.

The laws: it is the server that `avf serve` runs, with a real Redis of its own in a temporary folder; it listens on
loopback, and its only key is drawn here, so that nobody else on the machine can use it; nothing of it is left when it
is stopped, or when the process ends.
"""

import atexit
import contextlib
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from avf_server.problems import StartError
from avf_server.serve.uvicorn import run
from avf_server.settings import read

STOP_WAIT = 30.0  # seconds to drain; draining itself is bounded by the settings


class LocalServer:
    """A server on a thread, ready when made. `url` and `api_key` are for its clients.

    models    names in the zoo, or folders of checkpoints
    settings  any other settings of docs/server.md by their names in lower case, such as `max_batch=8`; the
              environment counts for those that are not given

    Raises StartError, as `avf serve` would.
    """

    def __init__(self, models: Sequence[str], **settings: Any) -> None:
        self.url = ""
        self.api_key = secrets.token_urlsafe(32)
        self._folder = tempfile.TemporaryDirectory(prefix="avf-local-")
        self._ready = threading.Event()
        self._stop: Callable[[], None] | None = None
        self._error: BaseException | None = None
        own = {"redis_url": None, "data_dir": Path(self._folder.name), "models": tuple(models)}
        try:
            self._settings = read({**settings, **own, "api_keys": (self.api_key,)})
        except StartError:
            self._folder.cleanup()
            raise
        self._thread = threading.Thread(target=self._serve, name="avf-local", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self.stop()
            raise self._error
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop as SIGTERM does, and delete what it kept. May be called twice."""
        stop, self._stop = self._stop, None
        if stop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself: its loop is closed
                stop()
        self._thread.join(STOP_WAIT)
        self._folder.cleanup()
        atexit.unregister(self.stop)

    def _serve(self) -> None:
        try:
            with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
                run(self._settings, listener, announce=self._announce, hand_over=self._take_over)
        except (StartError, OSError) as error:
            self._error = error
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ready.set()

    def _take_over(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def _announce(self, url: str, models: list[str]) -> None:
        self.url = url
        self._ready.set()
