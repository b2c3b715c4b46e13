"""What `clearline doctor` asks of what a configuration names: paths, encoder, head, texts, cameras, broker, sinks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version

from pipeline.encoders.build import EncoderBundle
from pipeline.errors import ClearlineError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.interfaces import Clock
from pipeline.texts.dictionary import load_dictionary
from workers.commands.doctor_sinks import sink_checks
from workers.commands.kafka import reached
from workers.commands.line_paths import written_places
from workers.commands.probe import LOST, ProbeReport, look
from workers.config.cameras import CameraConfig, CameraSourceConfig, GigeSourceConfig, KafkaSourceConfig
from workers.config.line import LineConfig
from workers.doctor.disk import disk
from workers.doctor.finding import Check, Finding, bad, ok, warn
from workers.kafka.topics import require_topics, topic_specs
from workers.metrics.registry import Metrics
from workers.opening.line import open_encoder, open_head
from workers.opening.sources import open_source
from workers.sources.gige_reader import gige_url
from workers.sources.url import redact

DISK_S = 10.0  # a network drive that is away hangs
ENCODER_S = 300.0  # weights that are downloaded, and every batch size prepared
HEAD_S = 60.0
LOOK_S = 2.0  # at a camera
CAMERA_SPARE_S = 10.0  # beside its own time-outs
BROKER_S = 30.0
SLOW_RATIO = 0.5  # of the frame rate a camera announces


class LineChecks:
    """The checks of one configuration, in groups that may run at the same time."""

    def __init__(self, config: LineConfig, *, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._encoder: EncoderBundle | None = None

    def groups(self) -> Iterator[list[Check]]:
        """In this order: the head is compared with the encoder, and cameras are timed while nothing else computes."""
        places = written_places(self._config)
        yield [Check(f"disk {place.key}", partial(disk, place), DISK_S) for place in places]
        yield [Check("encoder", self._look_at_encoder, ENCODER_S)]
        yield [Check("head", self._look_at_head, HEAD_S), Check("texts", self._look_at_texts, HEAD_S)]
        yield [
            Check(f"camera {camera.id}", partial(self._look_at_camera, camera), _limit_s(camera))
            for camera in self._config.cameras
            if not isinstance(camera.source, KafkaSourceConfig)
        ]
        if self._config.kafka is not None:
            yield [Check("broker", self._look_at_broker, BROKER_S)]
        yield list(sink_checks(self._config))

    def _look_at_encoder(self) -> Finding:
        opened = open_encoder(self._config)
        report = opened.check()
        self._encoder = opened
        cosine = min(one.cosine for one in report.buckets)
        difference = max(one.difference for one in report.buckets)
        sizes = f"batches of {opened.ladder[0]} to {opened.ladder[-1]}"
        figures = f"golden pictures agree (cosine {cosine:.5f}, largest difference {difference:.1e})"
        return ok("encoder", f"{report.encoder}, {report.precision}, {sizes}, {figures}")

    def _look_at_head(self) -> Finding:
        config = self._config
        if self._encoder is not None:
            opened = open_head(config, encoder=self._encoder)
            identity, classes = opened.identity, opened.live.head.classes
            fits = f"{identity.name} version {identity.version}, {len(classes)} classes, made for this encoder"
            strange = [name for name in config.decision.good_classes if name not in classes]
            if strange:
                known = f"the head knows {', '.join(classes)}"
                advice = "correct decision.good_classes, or fit the head again"
                return bad("head", f"{fits}; good_classes names {', '.join(strange)}, {known}", advice=advice)
            return ok("head", fits)
        if config.head.kind == "zero_shot":
            return warn("head", "made of the texts, which needs the encoder", advice="repair the encoder first")
        bundle = self._bundle()
        found = f"{config.head.name} version {bundle.version}, {len(bundle.head.classes)} classes"
        return warn("head", f"{found}; not compared with the encoder", advice="repair the encoder first")

    def _look_at_texts(self) -> Finding:
        given = self._config.head
        if given.texts is None:
            return ok("texts", "none are configured")
        dictionary = load_dictionary(given.texts)
        n_texts = sum(1 + sum(text.active for text in one.texts) for one in dictionary.classes)
        found = f"{given.texts}: {len(dictionary.classes)} classes, {n_texts} texts in use"
        if given.kind == "zero_shot":
            return ok("texts", found)
        try:
            bundle = self._bundle()
        except ClearlineError:
            return ok("texts", f"{found}; not compared with a head")
        differing = sorted(set(bundle.head.classes) ^ set(dictionary.class_ids))
        if differing:
            advice = "fit the head again, or name the dictionary it was fitted with"
            return bad("texts", f"{found}; head and texts differ in the classes {', '.join(differing)}", advice=advice)
        fitted_with = bundle.manifest.provenance.get("texts_sha256")
        if fitted_with != dictionary.ordered_as(bundle.head.classes, folder="the head").sha256:
            return warn("texts", f"{found}; changed since the head was fitted", advice="fit it again to use them")
        return ok("texts", f"{found}, those of the head")

    def _bundle(self) -> HeadBundle:
        given = self._config.head
        number = None if given.version == "live" else given.version
        return registry.load(given.registry / given.name, encoder=None, version=number)

    def _look_at_camera(self, camera: CameraConfig) -> Finding:
        clock = self._clock
        metrics = Metrics(clock=clock, version=version("clearline"))
        source = open_source(camera, config=self._config, clock=clock, metrics=metrics)
        seen = look(source, target=_shown(camera), seconds=LOOK_S, clock=clock, snapshot=None, quiet=True)
        return judged(seen, camera=camera)

    def _look_at_broker(self) -> Finding:
        section = self._config.kafka
        assert section is not None  # asked for only where there is one
        names = [spec.name for spec in topic_specs(prefix=section.topics_prefix)]
        sources = [camera.source for camera in self._config.cameras]
        names += [one.topic for one in sources if isinstance(one, KafkaSourceConfig) and one.topic]
        with reached(section) as connection:
            require_topics(connection, dict.fromkeys(names))
        return ok("broker", f"{', '.join(section.bootstrap)} answers and has the {len(names)} topics")


def judged(seen: ProbeReport, *, camera: CameraConfig) -> Finding:
    """What a short look at a camera says."""
    name = f"camera {camera.id}"
    rate = f"{seen.fps:g} frames/s" + (f" of {seen.announced_fps:g} announced" if seen.announced_fps else "")
    found = f"{seen.target}: {seen.width} x {seen.height}, {rate}, first frame after {seen.first_frame_s:g} s"
    if seen.ended.startswith(LOST):
        return bad(name, f"{found}, then {seen.ended}", advice="look at the cable, the network and the camera")
    outside = [roi.id for roi in camera.rois if roi.x + roi.width > seen.width or roi.y + roi.height > seen.height]
    if outside:
        return bad(
            name, f"{found}; {', '.join(outside)} lies outside", advice="correct the regions, or the camera's size"
        )
    if seen.n_bad:
        return warn(name, f"{found}, {seen.n_bad} broken pictures", advice="look at the network; use transport: tcp")
    if camera.live and seen.announced_fps and seen.n_frames > 2 and seen.fps < SLOW_RATIO * seen.announced_fps:
        advice = "long exposure, a slow network, or the camera serves others too"
        return warn(name, f"{found}: slower than announced", advice=advice)
    return ok(name, found)


def _limit_s(camera: CameraConfig) -> float:
    given = camera.source
    waits_ms = 0
    if isinstance(given, CameraSourceConfig):
        waits_ms = given.open_timeout_ms + given.read_timeout_ms
    elif isinstance(given, GigeSourceConfig):
        waits_ms = given.read_timeout_ms
    return LOOK_S + CAMERA_SPARE_S + waits_ms / 1e3


def _shown(camera: CameraConfig) -> str:
    """The address without its password."""
    given = camera.source
    if isinstance(given, CameraSourceConfig):
        return redact(str(given.read_url()))
    if isinstance(given, GigeSourceConfig):
        return gige_url(given.camera)
    return str(given.path) if given.type == "replay" else given.type
