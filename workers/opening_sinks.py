"""The archive of pictures and the webhook, from their sections of the configuration."""

from __future__ import annotations

from functools import partial

from pipeline.interfaces import Clock
from pipeline.types import Decision
from workers.backoff import Backoff
from workers.config_loading import read_secret
from workers.config_sinks import ArchiveSinkConfig, WebhookSinkConfig
from workers.metrics import Metrics
from workers.outbox import OutboxSink
from workers.sinks.archive import ArchiveSink
from workers.sinks.webhook import WebhookDestination

DAY_S = 86_400.0
WEBHOOK_RETRY_S = (0.5, 60.0)  # first and longest wait before a receiver that is away is tried again


def open_archive(given: ArchiveSinkConfig, *, clock: Clock, metrics: Metrics) -> ArchiveSink:
    """The folder is made now. Raises SinkError."""

    def note(what: str, n: float, why: str) -> None:
        if what == "bytes":
            metrics.adaptation("archive_bytes", n)
        else:
            metrics.adaptation(f"archive_{what}_total", n, why)

    return ArchiveSink(
        given.folder,
        clock=clock,
        keep=frozenset(Decision(name) for name in given.keep),
        audit_share=given.audit_share,
        max_bytes=int(given.max_gb * 1e9),
        max_age_s=given.max_age_days * DAY_S,
        min_free_bytes=int(given.min_free_gb * 1e9),
        note=note,
    )


def open_webhook(given: WebhookSinkConfig, *, clock: Clock, metrics: Metrics, name: str) -> OutboxSink:
    """The outbox is opened now, nothing is sent yet. Raises SinkError."""
    destination = WebhookDestination(
        given.read_url,
        secret=partial(read_secret, given.secret_file),
        timeout_s=given.timeout_ms / 1e3,
        clock=clock,
        on_refused=lambda n: metrics.outbox_shed(name, n, "refused"),
    )
    box = OutboxSink(
        destination,
        path=given.outbox.path,
        max_bytes=int(given.outbox.max_mb * 1e6),
        max_age_s=given.outbox.max_age_h * 3600.0,
        clock=clock,
        backoff=Backoff(initial_s=WEBHOOK_RETRY_S[0], cap_s=WEBHOOK_RETRY_S[1]),
        on_shed=lambda n, reason: metrics.outbox_shed(name, n, reason),
        name=name,
    )
    metrics.bind_outbox(name, box.depth)
    return box
