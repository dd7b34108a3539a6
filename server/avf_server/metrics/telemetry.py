"""What the server counts, for Prometheus. One registry a server, so that two can live in one process."""

import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from avf_server.metrics.last_minute import LastMinute

MEDIA_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Telemetry:
    """The server's metrics."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.recent = LastMinute()
        self.registry = CollectorRegistry()
        self.steps = Counter(
            "avf_steps", "Observations answered, by what became of them", ["outcome"], registry=self.registry
        )
        self.tick = Histogram(
            "avf_tick_seconds",
            "Seconds from taking a batch to its replies",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram("avf_batch_rows", "Observations in a tick", buckets=ROWS, registry=self.registry)
        self.loop_lag = Histogram(
            "avf_loop_lag_seconds", "How late the event loop is", buckets=SECONDS, registry=self.registry
        )
        self.shortened = Counter(
            "avf_shortened_steps",
            "Steps that were given fewer iterations, or samples, than they chose, to be in time",
            registry=self.registry,
        )
        self.queue = Gauge("avf_queue_observations", "Observations waiting", registry=self.registry)
        self.hot = Gauge("avf_hot_beliefs", "Beliefs in the cache", registry=self.registry)
        self.streams = Gauge("avf_streams", "Open WebSocket streams", registry=self.registry)
        self.watchers = Gauge("avf_watchers", "Open streams of events", registry=self.registry)
        self.store_errors = Counter("avf_store_errors", "Calls to Redis that failed", registry=self.registry)
        self.evicted_keys = Counter(
            "avf_store_evicted_keys", "Keys that Redis dropped as its memory was full", registry=self.registry
        )
        self.task_failures = Counter(
            "avf_task_failures", "Failures of long-lived tasks, which begin again", ["task"], registry=self.registry
        )
        self.webhooks = Counter(
            "avf_webhooks", "Alarms for the webhook, by what became of them", ["outcome"], registry=self.registry
        )
        self.problems = Counter("avf_problems", "Problems sent to clients", ["name"], registry=self.registry)

    def answered(self, came: Sequence[float]) -> None:
        """Count observations that came then, by the monotonic clock, as answered just now."""
        now = time.monotonic()
        self.recent.stepped(now, seconds=[now - each for each in came])

    def batched(self, rows: int) -> None:
        """Count a batch."""
        self.batch.observe(rows)
        self.recent.ticked(time.monotonic(), rows=rows)

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
