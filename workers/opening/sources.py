"""Sources, not yet connected, from the sections of their cameras."""

from __future__ import annotations

from functools import partial

from pipeline.interfaces import Clock, Source
from pipeline.simulation.disturbances import Disturbance
from pipeline.simulation.line import SimulatedLine
from workers.config.cameras import (
    CameraConfig,
    CameraSourceConfig,
    GigeSourceConfig,
    KafkaSourceConfig,
    ReplaySourceConfig,
    SimulateSourceConfig,
)
from workers.config.line import (
    LineConfig,
)
from workers.metrics.registry import Metrics
from workers.sources.camera import CameraSource
from workers.sources.gige_reader import GigeReader, GigeSettings, gige_url
from workers.sources.replay import ReplaySource
from workers.sources.simulate import SimulateSource


def open_source(camera: CameraConfig, *, config: LineConfig, clock: Clock, metrics: Metrics) -> Source:
    """The source that a camera's section names."""
    given = camera.source
    if isinstance(given, KafkaSourceConfig):
        from workers.opening.kafka import open_kafka_source

        return open_kafka_source(camera.id, given=given, config=config, clock=clock, metrics=metrics)
    if isinstance(given, SimulateSourceConfig):
        return SimulateSource(camera.id, line=open_line(given), clock=clock, speed=given.speed, n_frames=given.n_frames)
    if isinstance(given, ReplaySourceConfig):
        return ReplaySource(
            camera.id,
            path=given.path,
            clock=clock,
            speed=given.speed,
            fps=given.fps,
            loop=given.loop,
            labels=given.labels,
        )
    if isinstance(given, GigeSourceConfig):
        return _gige(camera.id, given=given, clock=clock)
    return _camera(camera.id, given=given, clock=clock)


def open_line(given: SimulateSourceConfig) -> SimulatedLine:
    """The rendered line behind a simulated camera."""
    return SimulatedLine(
        given.seed,
        width=given.width,
        height=given.height,
        fps=given.fps,
        weights=given.weights or None,
        frames_per_part=given.frames_per_part,
        disturbances=[Disturbance(**one.model_dump(exclude_none=True)) for one in given.disturbances],
    )


def _camera(source_id: str, *, given: CameraSourceConfig, clock: Clock) -> CameraSource:
    return CameraSource(
        source_id,
        url=given.read_url,
        clock=clock,
        open_timeout_ms=given.open_timeout_ms,
        read_timeout_ms=given.read_timeout_ms,
        stall_ms=given.stall_ms,
        frozen_ms=given.frozen_ms,
        transport=given.transport,
        reader=given.reader,
    )


def _gige(source_id: str, *, given: GigeSourceConfig, clock: Clock) -> CameraSource:
    region = given.region
    settings = GigeSettings(
        camera=given.camera,
        pixel_format=given.pixel_format,
        exposure_us=given.exposure_us,
        gain_db=given.gain_db,
        frame_rate=given.frame_rate,
        region=None if region is None else (region.x, region.y, region.width, region.height),
        trigger=given.trigger,
        packet_size=given.packet_size,
        packet_resend=given.packet_resend,
        n_buffers=given.buffers,
    )
    return CameraSource(
        source_id,
        url=gige_url(given.camera),
        clock=clock,
        read_timeout_ms=given.read_timeout_ms,
        stall_ms=given.stall_ms,
        frozen_ms=given.frozen_ms,
        reader=partial(GigeReader, settings=settings),
        live=given.trigger == "free",
    )
