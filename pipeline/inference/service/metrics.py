"""What a service counts, as Prometheus reads it; nothing in it follows from what was recorded."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipeline.inference.service.work import REQUESTS, STREAMS, Work

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
# The code of a request whose client went away before its answer.
GONE = "gone"


class Metrics:
    """The counters of one process."""

    def __init__(self, work: Work) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "ser_requests",
            "Requests and streams by path and status (gone: before an answer).",
            ["path", "code"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "ser_request_seconds",
            "From a request's first byte to the end of its answer.",
            ["path"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self.audio = Counter(
            "ser_audio_seconds", "Seconds of audio judged.", registry=self._registry
        )
        for name, text, value in (
            ("ser_requests_at_work", "Requests at work.", lambda: work.count[REQUESTS]),
            ("ser_streams_open", "Streams open.", lambda: work.count[STREAMS]),
            ("ser_held_bytes", "Bytes of bodies held.", lambda: work.purse.held),
            ("ser_clips_judged", "Clips judged since the start.", lambda: work.desk.clips),
        ):
            Gauge(name, text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus."""
        return generate_latest(self._registry)
