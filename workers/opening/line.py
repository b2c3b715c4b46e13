"""A line from its configuration: encoder, head, and the cameras with their regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.decision import Decider, HeadIdentity
from pipeline.encoders.build import EncoderBundle, build_encoder
from pipeline.encoders.onnx_encoder import OnnxSettings
from pipeline.errors import ConfigError
from pipeline.heads.bundles import registry
from pipeline.interfaces import Clock, Head, Source
from pipeline.preprocess import Preprocessor
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary
from workers.capture import Cut
from workers.captures import Feed
from workers.config.cameras import (
    CameraConfig,
)
from workers.config.line import (
    ArchiveSinkConfig,
    LineConfig,
)
from workers.live_head import LiveHead
from workers.metrics.registry import Metrics
from workers.opening.decision import Policy, decision_policy
from workers.opening.parts import OpenedTriggers
from workers.opening.sources import open_source

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
