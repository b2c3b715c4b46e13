"""The sources of a capture worker."""

from __future__ import annotations

from pipeline.errors import ConfigError
from pipeline.interfaces import Clock
from workers.captures import Feed
from workers.config.cameras import KafkaSourceConfig
from workers.config.line import LineConfig
from workers.metrics.registry import Metrics
from workers.opening.parts import OpenedTriggers
from workers.opening.sources import open_source
from workers.relay.relay import jpeg_cut


def open_relay_feeds(config: LineConfig, *, clock: Clock, metrics: Metrics, triggers: OpenedTriggers) -> list[Feed]:
    """Sources for a capture worker: whole pictures as JPEG."""
    cut = jpeg_cut(config.relay.jpeg_quality)
    topical = [camera.id for camera in config.cameras if isinstance(camera.source, KafkaSourceConfig)]
    if topical:
        raise ConfigError(f"cameras: worker capture expected cameras, got a topic to read in {', '.join(topical)}")
    return [
        Feed(
            source=triggers.around(camera, source=open_source(camera, config=config, clock=clock, metrics=metrics)),
            on_wait=triggers.on_wait(camera),
            cuts=lambda _camera: {"full": cut},
            drop_oldest=camera.full_policy == "drop_oldest",
            queue_frames=camera.queue_frames,
            backoff_initial_s=camera.backoff.initial_ms / 1e3,
            backoff_cap_s=camera.backoff.cap_ms / 1e3,
        )
        for camera in config.cameras
    ]
