"""Metrics of the archive of pictures."""

from __future__ import annotations

from workers.metrics.spec import MetricSpec, counter, gauge

ARCHIVE: tuple[MetricSpec, ...] = (
    counter(
        "archive_kept",
        "pictures",
        labels="decision",
        meaning="Pictures of parts kept in the archive, by decision; accepted ones are the random share.",
        action="Stands still while parts are rejected: look at clearline_archive_missed_total.",
    ),
    counter(
        "archive_missed",
        "pictures",
        labels="reason",
        meaning="Pictures that should have been kept and were not: no_picture, too_large, disk, index or queue.",
        action="disk: free space, or lower max_gb; queue: the distant target is away or slow; index: see the log; "
        "no_picture: look at the source.",
    ),
    counter(
        "archive_shed",
        "pictures",
        labels="reason",
        meaning="Pictures removed from the archive, the oldest first, by reason: bytes, age, disk.",
        action="disk: something else fills the disk; the archive makes room for it. bytes: raise max_gb to keep more.",
    ),
    gauge(
        "archive_bytes",
        "bytes",
        meaning="Bytes of the pictures in the archive.",
        action="Above max_gb: pinned pictures alone take more; unpin some.",
    ),
    gauge(
        "archive_queue_bytes",
        "bytes",
        meaning="Bytes of the pictures that wait in memory for a distant archive.",
        action="Near queue_mb: the target is away or slower than the line; the log names the reason.",
    ),
)
