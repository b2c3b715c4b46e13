"""Parts and triggers from the sections `parts` and `trigger` of the cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from starlette.types import ASGIApp

from pipeline.interfaces import Clock, Source
from pipeline.parts import PartRule
from pipeline.types import FrameRef
from workers.config.cameras import CameraConfig
from workers.config.line import LineConfig, MqttSinkConfig
from workers.metrics.registry import Metrics
from workers.opening.mqtt import mqtt_connection
from workers.part_decisions import PartsPlan
from workers.triggers.http import HttpTrigger, trigger_app
from workers.triggers.queue import Fire, TriggerInput, TriggerQueue, Triggers
from workers.triggers.source import TriggeredSource

TRIGGER_COUNTS = ("given", "missed", "overflow")


def open_parts(config: LineConfig, *, carried: Sequence[CameraConfig], metrics: Metrics) -> PartsPlan | None:
    """None where every frame is decided alone. `carried` cameras come over a topic; one that is not named there goes
    by the camera that reads the topic."""
    rules = {camera.id: _rule(camera) for camera in (*carried, *config.cameras)}
    if not any(rules.values()):
        return None

    def rule_of(ref: FrameRef) -> PartRule | None:
        return rules.get(ref.source_id, rules.get(ref.account))

    return PartsPlan(
        rule_of=rule_of,
        on_part=lambda camera, reason: metrics.adaptation("parts_total", 1, camera, reason),
        on_correlation=lambda camera, value: metrics.adaptation("parts_correlation_ratio", value, camera),
    )


def _rule(camera: CameraConfig) -> PartRule | None:
    given, max_frames = camera.parts, camera.frames_per_part
    if given is None or max_frames is None:
        return None
    return PartRule(
        max_frames=max_frames,
        close_after_s=given.close_after_ms / 1e3,
        window_s=None if given.window_ms is None else given.window_ms / 1e3,
        correlation=given.correlation,
    )


class OpenedTriggers:
    """The triggered cameras of a process, and what hears their triggers. Methods belong to the owner's thread."""

    def __init__(self, config: LineConfig, *, clock: Clock, metrics: Metrics) -> None:
        """Nothing listens yet. Raises ConfigError for a token that cannot be read."""
        self._clock = clock
        self._metrics = metrics
        self._queues = {
            camera.id: TriggerQueue(capacity=camera.trigger.queue)
            for camera in config.cameras
            if camera.trigger is not None
        }
        for camera_id in self._queues:
            for what in TRIGGER_COUNTS:  # there from the start, so a rate can see the first
                metrics.adaptation(f"trigger_{what}_total", 0, camera_id)
            metrics.adaptation("trigger_blocked_seconds_total", 0, camera_id)
        triggers = Triggers(self._queues, clock=clock, note=self._note)
        self._fire = triggers.fire
        self._types = {camera.id: camera.trigger.type for camera in config.cameras if camera.trigger is not None}
        http = {
            camera.id: HttpTrigger(_encoded(camera.trigger.read_token()), camera.trigger.per_s)
            for camera in config.cameras
            if camera.trigger is not None and camera.trigger.type == "http"
        }
        self.app: ASGIApp | None = trigger_app(http, fire=triggers.fire, clock=clock) if http else None
        self._inputs: list[TriggerInput] = [*_mqtt(config, fire=triggers.fire)]

    def of(self, kind: str) -> dict[str, Fire]:
        """How to fire each camera with a trigger of that type."""
        return {camera: self._fire for camera, known in self._types.items() if known == kind}

    def around(self, camera: CameraConfig, *, source: Source) -> Source:
        """The source that waits for the camera's triggers; the source itself where it has none."""
        given = camera.trigger
        if given is None:
            return source
        return TriggeredSource(
            source,
            triggers=self._queues[camera.id],
            frames=given.frames,
            timeout_s=given.timeout_ms / 1e3,
            clock=self._clock,
            note=self._note,
        )

    def on_wait(self, camera: CameraConfig) -> Callable[[float], None] | None:
        """Who is told of the seconds for which a triggered camera could not go on; others may wait unsaid."""
        if camera.trigger is None:
            return None
        return partial(self._blocked, camera.id)

    def start(self) -> None:
        """Listen. Raises SinkError."""
        for one in self._inputs:
            one.start()

    def close(self) -> None:
        """Listen no more."""
        for one in self._inputs:
            one.close()

    def _note(self, camera: str, what: str) -> None:
        self._metrics.adaptation(f"trigger_{what}_total", 1, camera)

    def _blocked(self, camera: str, seconds: float) -> None:
        self._metrics.adaptation("trigger_blocked_seconds_total", seconds, camera)


def _mqtt(config: LineConfig, *, fire: Fire) -> Iterator[TriggerInput]:
    """On the broker of the line's sink, as a client of its own. Raises ConfigError without the extra."""
    cameras = [one.id for one in config.cameras if one.trigger is not None and one.trigger.type == "mqtt"]
    if not cameras:
        return
    from workers.triggers.mqtt import MqttTriggers

    [sink] = (sink for sink in config.sinks if isinstance(sink, MqttSinkConfig))
    connection = replace(mqtt_connection(sink), client_id=f"{sink.client_id}-triggers", status_topic="")
    yield MqttTriggers(connection, cameras={f"{sink.prefix}/trigger/{camera}": camera for camera in cameras}, fire=fire)


def _encoded(token: str | None) -> bytes | None:
    return None if token is None else token.encode()
