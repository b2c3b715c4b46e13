"""What `clearline validate --deep` reads: all that a configuration names, so that a start finds nothing new."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import BadFrame, BundleError, ClearlineError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.texts.dictionary import TextDictionary, load_dictionary
from workers.clock import SystemClock
from workers.commands.doctor_sinks import sink_problems
from workers.commands.line_paths import written_places
from workers.config.cameras import (
    CameraConfig,
    CameraSourceConfig,
    GigeSourceConfig,
    ReplaySourceConfig,
    SimulateSourceConfig,
)
from workers.config.line import KafkaSinkConfig, LineConfig
from workers.doctor.disk import why_not_writable
from workers.kafka.wire import split_address
from workers.opening.decision import decision_policy
from workers.sources.aravis import load_aravis
from workers.sources.replay import ReplaySource

Found = tuple[str, str]  # the key's path, and a sentence about it

HERE = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


def deep_problems(config: LineConfig) -> list[Found]:
    """Everything that would fail after the start, as far as files can tell. Opens no camera, no port, no broker."""
    deep = _Deep(config)
    parts = (deep.encoder, deep.texts, deep.head, deep.classes, deep.cameras, deep.kafka, deep.adaptation)
    return [found for part in parts for found in part()] + [*_paths(config), *_ports(config), *sink_problems(config)]


class _Deep:
    """One reading of head and texts for all questions about them."""

    def __init__(self, config: LineConfig) -> None:
        self._config = config

    @cached_property
    def _dictionary(self) -> TextDictionary | ClearlineError | None:
        path = self._config.head.texts
        try:
            return None if path is None else load_dictionary(path)
        except ClearlineError as error:
            return error

    @cached_property
    def _bundle(self) -> HeadBundle | ClearlineError | None:
        given = self._config.head
        if given.kind == "zero_shot":
            return None
        try:
            number = None if given.version == "live" else given.version
            return registry.load(given.registry / given.name, encoder=None, version=number)
        except ClearlineError as error:
            return error

    def encoder(self) -> Iterator[Found]:
        """Files of weights."""
        given = self._config.encoder
        files = {"encoder.checkpoint": given.checkpoint}
        files["encoder.onnx.path"] = None if given.onnx is None else given.onnx.path
        for key, path in files.items():
            if path is not None and not path.is_file():
                yield key, f"must be a file that exists, got {path}"
        if given.backend == "onnx" and self._config.head.kind == "zero_shot":
            yield "head.kind", "zero_shot needs an encoder with a text tower, and an ONNX file has none: fit a head"

    def texts(self) -> Iterator[Found]:
        """The dictionary."""
        if isinstance(self._dictionary, ClearlineError):
            yield "head.texts", f"cannot be used: {self._dictionary}"

    def head(self) -> Iterator[Found]:
        """The bundle, whole and of this encoder, as far as the encoder's name tells."""
        if isinstance(self._bundle, BundleError):
            yield "head.registry", f"holds no head to run: {self._bundle}"
        elif isinstance(self._bundle, ClearlineError):
            yield "head.registry", f"cannot be read: {self._bundle}"
        if not isinstance(self._bundle, HeadBundle):
            return
        fitted_on, here = str(self._bundle.manifest.encoder.get("name")), _encoder_name(self._config)
        if fitted_on != here:
            yield "encoder.model", f"gives {here}, but the head was fitted on {fitted_on}: fit it again, or go back"
        if isinstance(self._dictionary, TextDictionary):
            differing = sorted(set(self._bundle.head.classes) ^ set(self._dictionary.class_ids))
            if differing:
                yield "head.texts", f"has other classes than the head: they differ in {', '.join(differing)}"

    def classes(self) -> Iterator[Found]:
        """Every class that the decision names is one that the head can say."""
        known = self._known_classes()
        if not known:
            return
        given = self._config.decision
        pairs = {} if given.costs is None else given.costs.pairs
        named = {
            "decision.good_classes": given.good_classes,
            "decision.thresholds": tuple(given.thresholds),
            "decision.line_mix": tuple(given.line_mix),
            "decision.costs.pairs": (*pairs, *(name for row in pairs.values() for name in row if name != "review")),
        }
        strange = {key: [one for one in dict.fromkeys(names) if one not in known] for key, names in named.items()}
        for key, names in strange.items():
            if names:
                yield key, f"names {', '.join(names)}, which the head does not know; it knows {', '.join(known)}"
        if not any(strange.values()) and isinstance(self._bundle, HeadBundle):
            yield from self._policy(self._bundle)

    def _policy(self, bundle: HeadBundle) -> Iterator[Found]:
        rows = bundle.evidence.held_out
        given = self._config.decision
        try:
            decision_policy(given, classes=bundle.head.classes, held_out=rows, temperature=bundle.temperature)
        except ClearlineError as error:
            yield "decision", f"cannot be applied to the head: {error}"

    def _known_classes(self) -> tuple[str, ...]:
        if isinstance(self._bundle, HeadBundle):
            return self._bundle.head.classes
        return self._dictionary.class_ids if isinstance(self._dictionary, TextDictionary) else ()

    def cameras(self) -> Iterator[Found]:
        """Recordings that are there and can be read, regions inside the picture where its size is known."""
        for index, camera in enumerate(self._config.cameras):
            key = f"cameras[{index}]"
            size = None
            if isinstance(camera.source, SimulateSourceConfig):
                size = camera.source.width, camera.source.height
            elif isinstance(camera.source, ReplaySourceConfig):
                try:
                    size = _first_size(camera, given=camera.source)
                except ClearlineError as error:
                    yield f"{key}.source.path", f"cannot be read: {error}"
            elif isinstance(camera.source, GigeSourceConfig):
                region = camera.source.region
                size = None if region is None else (region.width, region.height)
                try:
                    load_aravis()
                except ClearlineError as error:
                    yield f"{key}.source.type", f"cannot be opened: {error}"
            if size is not None:
                yield from _regions(camera, key=key, size=size)

    def kafka(self) -> Iterator[Found]:
        """Who speaks Kafka, and whether the promise of exactly once can be kept."""
        config = self._config
        if config.topic_reader is not None and config.kafka is None:
            yield "topic_reader", "reads a topic, but the section kafka is missing"
        n_readers = sum(camera.source.type == "kafka" for camera in config.cameras)
        for index, sink in enumerate(config.sinks):
            if not isinstance(sink, KafkaSinkConfig) or sink.delivery != "exactly_once":
                continue
            by_worker = n_readers == 0 and config.topic_reader is not None  # `worker infer` brings its one reader
            if n_readers != 1 and not by_worker:
                yield (
                    f"sinks[{index}].delivery",
                    f"exactly_once expects one source of type kafka, got {n_readers}: use at_least_once, "
                    "or give topic_reader and run `clearline worker infer`",
                )

    def adaptation(self) -> Iterator[Found]:
        """The loop fits heads on recorded embeddings."""
        if self._config.adaptation is None:
            return
        if self._config.head.kind == "zero_shot":
            yield "adaptation", "needs a fitted head, got head.kind zero_shot: fit one with `clearline head fit`"
        if isinstance(self._bundle, HeadBundle) and self._bundle.head.n_levels:
            head = f"{self._bundle.head.name} with {self._bundle.head.n_levels} levels"
            yield "adaptation", f"needs a head fitted on embeddings alone, got {head}: fit it again with this file"


def _encoder_name(config: LineConfig) -> str:
    """As the encoder will call itself."""
    given = config.encoder
    if given.onnx is not None:
        return given.onnx.path.stem
    weights = given.checkpoint.stem if given.checkpoint is not None else given.pretrained
    return f"{given.model}/{weights}" if weights else given.model


def _first_size(camera: CameraConfig, *, given: ReplaySourceConfig) -> tuple[int, int] | None:
    """(width, height) of the first picture; None where it is a broken one among others."""
    source = ReplaySource(camera.id, path=given.path, clock=SystemClock())
    try:
        source.open()
        taken = source.read()
    except BadFrame:
        return None
    finally:
        source.close()
    return None if taken is None else (taken.image.shape[1], taken.image.shape[0])


def _regions(camera: CameraConfig, *, key: str, size: tuple[int, int]) -> Iterator[Found]:
    width, height = size
    for index, roi in enumerate(camera.rois):
        if roi.x + roi.width > width or roi.y + roi.height > height:
            reach = f"reaches to {roi.x + roi.width} x {roi.y + roi.height}"
            yield f"{key}.rois[{index}]", f"{reach}, but the picture is {width} x {height} pixels"


def _paths(config: LineConfig) -> Iterator[Found]:
    users: dict[Path, list[str]] = defaultdict(list)
    for place in written_places(config):
        users[place.path.absolute()].append(place.key)
        reason = why_not_writable(place)
        if reason is not None:
            yield place.key, f"must be writable, got {place.path}: {reason}"
    for path, keys in users.items():
        if len(keys) > 1:
            yield keys[1], f"must have a path of its own, got {path}, which is {keys[0]} already"


def _ports(config: LineConfig) -> Iterator[Found]:
    """Our own port is not where something else on this machine is expected."""
    calls: list[tuple[str, str, int | None]] = []
    if config.kafka is not None:
        calls += [("kafka.bootstrap", *split_address(address)) for address in config.kafka.bootstrap]
    for index, camera in enumerate(config.cameras):
        if isinstance(camera.source, CameraSourceConfig):
            try:
                parts = urlsplit(str(camera.source.read_url()))
                calls.append((f"cameras[{index}].source.url", parts.hostname or "", parts.port))
            except (ClearlineError, ValueError):
                continue  # gone or unreadable: the camera's own start says so
    for key, host, port in calls:
        if host in HERE and port and port == config.server.port:
            yield (
                "server.port",
                f"is {port}, which is also where {key} expects somebody on this machine: choose another",
            )
