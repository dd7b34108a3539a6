"""A way to a server that cuts connections."""

import contextlib
import socket
import threading


class CuttingProxy:
    """A TCP proxy: connection i is cut once `cuts[i]` bytes have come from the server; later ones are left alone.

    A negative number counts the bytes that have come from the client.
    """

    def __init__(self, target: str, cuts: list[int]) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._cuts = list(cuts)
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            budget = self._cuts[self.connections] if self.connections < len(self._cuts) else None
            self.connections += 1
            self._open += [near, far]
            up = None if budget is None or budget >= 0 else -budget
            down = None if budget is None or budget < 0 else budget
            for source, sink, left in ((near, far, up), (far, near, down)):
                thread = threading.Thread(target=_pump, args=(source, sink, left))
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """End all connections and threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for one in self._open:
            _end(one)
        for thread in self._threads[1:]:
            thread.join()
        for one in self._open:
            one.close()


def _pump(source: socket.socket, sink: socket.socket, left: int | None) -> None:
    try:
        while left is None or left > 0:
            data = source.recv(65536 if left is None else min(65536, left))
            if not data:
                break
            sink.sendall(data)
            left = None if left is None else left - len(data)
    except OSError:
        pass
    _end(source)
    _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
