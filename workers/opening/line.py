"""Sections of a configuration to the parts they name: encoder, head, sources with their regions, sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.decision import Decider, HeadIdentity
from pipeline.encoders.build import EncoderBundle, build_encoder
from pipeline.encoders.onnx_encoder import OnnxSettings
from pipeline.errors import ConfigError
from pipeline.heads.bundles import registry
from pipeline.interfaces import Clock, Head, Sink, Source
from pipeline.preprocess import Preprocessor
from pipeline.simulation.disturbances import Disturbance
from pipeline.simulation.line import SimulatedLine
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary
from workers.capture import Cut
from workers.captures import Feed
from workers.config.cameras import (
    CameraConfig,
    CameraSourceConfig,
    GigeSourceConfig,
    KafkaSourceConfig,
    ReplaySourceConfig,
    SimulateSourceConfig,
)
from workers.config.line import (
    ArchiveSinkConfig,
    JsonlSinkConfig,
    KafkaSinkConfig,
    LineConfig,
    OpcUaSinkConfig,
    WebhookSinkConfig,
)
from workers.inference import LiveHead
from workers.ledger import Ledger
from workers.metrics.registry import Metrics
from workers.opening.decision import Policy, decision_policy
from workers.opening.parts import OpenedTriggers
from workers.opening.sinks import open_archive, open_mqtt, open_opcua, open_webhook
from workers.sinks.jsonl import JsonlSink
from workers.sources.camera import CameraSource
from workers.sources.gige_reader import GigeReader, GigeSettings, gige_url
from workers.sources.replay import ReplaySource
from workers.sources.simulate import SimulateSource

LABELLED_QUALITY = 95  # of pictures that a head may be fitted on
LABELLED_EVERY_S = 0.2  # 1920 x 1080 takes 3 % of a core at this rate
N_LEVELS = 4  # what LDC taps; towers that give none return none


def open_encoder(config: LineConfig) -> EncoderBundle:
    """Load weights, choose a precision, prepare every batch size. Blocks."""
    given = config.encoder
    onnx = given.onnx
    return build_encoder(
        backend=given.backend,
        model=given.model,
        pretrained=given.pretrained,
        checkpoint=given.checkpoint if onnx is None else onnx.path,
        device=given.device,
        precision=given.precision,
        threads=given.threads,
        n_levels=0 if onnx is not None else N_LEVELS,
        batch_sizes=config.batching.sizes,
        onnx=None
        if onnx is None
        else OnnxSettings(mean=onnx.mean, std=onnx.std, resize_to=onnx.resize_to, output=onnx.output or ""),
    )


@dataclass(frozen=True, slots=True)
class OpenedHead:
    """A head that may go live, and what is known of it."""

    live: LiveHead
    identity: HeadIdentity
    policy: Policy


def open_head(config: LineConfig, *, encoder: EncoderBundle) -> OpenedHead:
    """The fitted head, verified against this encoder; or the texts alone for `kind: zero_shot`. Raises BundleError."""
    given = config.head
    head: Head
    held_out = None
    if given.kind == "zero_shot":
        head, sha256 = _zero_shot(given.texts, encoder=encoder)
        temperature, version = 1.0, 0
    else:
        number = None if given.version == "live" else given.version
        bundle = registry.load(given.registry / given.name, encoder=encoder.image.info, version=number)
        head, temperature, version, sha256 = bundle.head, bundle.temperature, bundle.version, bundle.sha256
        held_out = bundle.evidence.held_out
    identity = HeadIdentity(given.name, version, sha256, encoder.image.info.name)
    policy = decision_policy(config.decision, classes=head.classes, held_out=held_out, temperature=temperature)
    decider = Decider(classes=head.classes, temperature=temperature, policy=policy.policy, identity=identity)
    return OpenedHead(LiveHead(head, decider), identity, policy)


def _zero_shot(texts: Path | None, *, encoder: EncoderBundle) -> tuple[Head, str]:
    if texts is None or encoder.text is None:
        lacking = "head.texts" if texts is None else f"a text tower, which {encoder.image.info.name} has not"
        raise ConfigError(f"head.kind zero_shot needs {lacking}; give it, or fit a head with `clearline head fit`")
    dictionary = load_dictionary(texts)
    return build_zero_shot(dictionary, encoder=encoder.text), dictionary.sha256


def open_feeds(
    config: LineConfig,
    *,
    carried: Sequence[CameraConfig],
    encoder: EncoderBundle,
    clock: Clock,
    metrics: Metrics,
    triggers: OpenedTriggers,
) -> list[Feed]:
    """Sources, not yet connected, with their regions cut for this encoder; `carried` cameras come over a topic."""
    regions = {one.id: _cuts(one, encoder=encoder) for one in (*carried, *config.cameras)}
    quality, every_s = _evidence(config)
    return [
        _feed(
            camera,
            source=triggers.around(camera, source=open_source(camera, config=config, clock=clock, metrics=metrics)),
            on_wait=triggers.on_wait(camera),
            regions=regions,
            encoder=encoder,
            evidence_quality=quality,
            evidence_every_s=every_s,
        )
        for camera in config.cameras
    ]


def _evidence(config: LineConfig) -> tuple[int | None, float]:
    """JPEG quality and seconds between two pictures; an archive may want any of them, people who label a few."""
    archived = next((sink.quality for sink in config.sinks if isinstance(sink, ArchiveSinkConfig)), None)
    if archived is None and config.asks_for_first_pictures:
        return LABELLED_QUALITY, LABELLED_EVERY_S
    return archived, 0.0


def _feed(
    camera: CameraConfig,
    *,
    source: Source,
    regions: Mapping[str, Mapping[str, Cut]],
    encoder: EncoderBundle,
    evidence_quality: int | None,
    on_wait: Callable[[float], None] | None,
    evidence_every_s: float,
) -> Feed:
    drop_oldest = camera.full_policy == "drop_oldest"
    return Feed(
        source=source,
        cuts=lambda camera_id: regions.get(camera_id, regions[camera.id]),
        drop_oldest=drop_oldest,
        # what loses nothing by waiting may fill the largest batch alone
        queue_frames=camera.queue_frames if drop_oldest else max(camera.queue_frames, encoder.ladder[-1]),
        backoff_initial_s=camera.backoff.initial_ms / 1e3,
        backoff_cap_s=camera.backoff.cap_ms / 1e3,
        evidence_quality=evidence_quality,
        on_wait=on_wait,
        evidence_every_s=evidence_every_s,
    )


def _cuts(camera: CameraConfig, *, encoder: EncoderBundle) -> dict[str, Cut]:
    return {roi.id: Preprocessor(encoder.image.info, roi.to_roi()) for roi in camera.rois}


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


def publish_pace_s(config: LineConfig) -> float:
    """How far apart deliveries begin, in seconds: as topics want it; 0 where there are none."""
    return max((sink.send_every_ms for sink in config.sinks if isinstance(sink, KafkaSinkConfig)), default=0.0) / 1e3


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


def open_sinks(
    config: LineConfig,
    *,
    clock: Clock,
    metrics: Metrics,
    sources: Sequence[Source],
    ledger: Ledger,
    triggers: OpenedTriggers,
    carried: Sequence[CameraConfig] = (),
) -> list[Sink]:
    """Files are opened now, so that an unwritable path is an error before the first frame; brokers are not.

    `ledger` is the line's: what is exactly once asks it for frames under way. `triggers` for those who
    come in where results go out.
    """
    opened: list[Sink] = []
    for n, sink in enumerate(config.sinks):
        if isinstance(sink, JsonlSinkConfig):
            opened.append(_jsonl(sink, clock=clock, name=f"jsonl-{n}" if n else "jsonl"))
        elif isinstance(sink, KafkaSinkConfig):
            opened.append(_kafka(sink, config=config, clock=clock, metrics=metrics, sources=sources, ledger=ledger))
        elif isinstance(sink, ArchiveSinkConfig):
            opened.append(open_archive(sink, clock=clock, metrics=metrics))
        elif isinstance(sink, OpcUaSinkConfig):
            cameras = [one for one in (*carried, *config.cameras) if not isinstance(one.source, KafkaSourceConfig)]
            regions = [(camera.id, roi.id) for camera in cameras for roi in camera.rois]
            opened.append(open_opcua(sink, regions=regions, triggers=triggers.of("opcua"), clock=clock))
        else:
            name = f"{sink.type}-{n}" if sum(one.type == sink.type for one in config.sinks) > 1 else sink.type
            if isinstance(sink, WebhookSinkConfig):
                opened.append(open_webhook(sink, clock=clock, metrics=metrics, name=name))
            else:
                opened.append(open_mqtt(sink, clock=clock, metrics=metrics, name=name))
    return opened


def _jsonl(sink: JsonlSinkConfig, *, clock: Clock, name: str) -> JsonlSink:
    return JsonlSink(
        sink.path,
        clock=clock,
        rotate_bytes=int(sink.rotate_mb * 1e6),
        keep=sink.keep,
        fsync=sink.fsync,
        fsync_interval_s=sink.fsync_interval_ms / 1e3,
        name=name,
    )


def _kafka(
    sink: KafkaSinkConfig,
    *,
    config: LineConfig,
    clock: Clock,
    metrics: Metrics,
    sources: Sequence[Source],
    ledger: Ledger,
) -> Sink:
    from workers.opening.kafka import open_kafka_sink
    from workers.sources.kafka import KafkaSource

    readers = [one for one in sources if isinstance(one, KafkaSource)]
    return open_kafka_sink(sink, config=config, clock=clock, metrics=metrics, sources=readers, ledger=ledger)
