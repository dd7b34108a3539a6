"""How a server is."""

from avf_wire.base import Message


class StoreStatus(Message, frozen=True):
    """Whether Redis answers, and how fast; `detail` says why not."""

    ok: bool
    latency_s: float | None
    detail: str | None


class Status(Message, frozen=True):
    """GET /v1/status: how the server is. Times in seconds; latencies and rows a batch are of the last minute.

    `latency_*` are from an observation's coming to its answer, to 20 %, null where there was none. `steps_per_s` is of
    the last ten seconds. `sessions` counts those that this server has seen. `load` is the machine's, of one minute.
    """

    version: str
    uptime_s: float
    stopping: bool
    device: str
    models: list[str]
    sessions: int
    max_sessions: int
    streams: int
    watchers: int
    steps_per_s: float
    latency_p50_s: float | None
    latency_p99_s: float | None
    batch_rows: float | None
    max_batch: int
    queue: int
    queue_limit: int
    hot: int
    store: StoreStatus
    memory_bytes: int | None
    load: float | None
    cpus: int
