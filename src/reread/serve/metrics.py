"""What a server counts, as Prometheus reads it.  No label holds a client's text: paths are those that are served."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reread.serve.worker import Done, Worker

V1 = ("/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/documents")
PATHS = ("/", "/health", "/metrics", "/openapi.json", *V1)


def path_of(path: str) -> str:
    """The path as a label: one that is served, or "other"."""
    if path.startswith("/v1/documents/"):
        return "/v1/documents/{id}/text" if path.endswith("/text") else "/v1/documents/{id}"
    return path if path in PATHS else "/v1/models/{id}" if path.startswith("/v1/models/") else "other"


class Metrics:
    """The counters of one server."""

    def __init__(self, worker: Worker):
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("reread_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.seconds = Histogram("reread_request_seconds", "From head to last byte.", ["path"], registry=registry)
        self.tokens = Counter(
            "reread_tokens", "Of answers: prompt, cached, read, written.", ["kind"], registry=registry
        )
        self.documents = Counter("reread_documents", "Read, or there already.", ["result"], registry=registry)
        self.in_progress = Gauge("reread_requests_in_progress", "Requests being answered.", registry=registry)
        waiting = Gauge("reread_waiting", "Answers and documents that wait for the model.", registry=registry)
        waiting.set_function(lambda: worker.waiting)
        writing = Gauge("reread_writing", "Answers that are being written.", registry=registry)
        writing.set_function(lambda: worker.writing)

    def answered(self, done: Done) -> None:
        answer = done.answer
        for kind, count in (
            ("prompt", answer.prompt_tokens),
            ("cached", done.cached_tokens),
            ("read", answer.read_tokens),
            ("written", answer.new_tokens),
        ):
            self.tokens.labels(kind).inc(count)

    def text(self) -> bytes:
        return generate_latest(self.registry)
