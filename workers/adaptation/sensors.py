"""Is the picture itself in order: about one picture per second and camera against what a healthy one looks like."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog

from pipeline.adaptation.drift.sensor import (
    MIN_PICTURES,
    SensorCheck,
    SensorLimits,
    SensorReading,
    SensorWatch,
    learn_limits,
    read_picture,
)
from pipeline.heads.bundles.atomic import write_atomic
from workers.adaptation.tap import Seen
from workers.adaptation.watch import Place, places_of

log = structlog.get_logger()

EVERY_S = 1.0
CLEAN_PARTS = 2_000  # after a fault, until the camera is believed again
BLOCKING = frozenset({SensorCheck.BRIGHTNESS, SensorCheck.SATURATION, SensorCheck.NORM, SensorCheck.FROZEN})
# a blurred picture is drift with a known cause: a person decides between cleaning the lens and labelling


@dataclass(slots=True)
class _Eye:
    """What is known of one camera's region."""

    limits: SensorLimits | None = None
    watch: SensorWatch | None = None
    learning: list[SensorReading] = field(default_factory=list)
    looked_at: float = float("-inf")
    odd: tuple[SensorCheck, ...] = ()
    clean_parts: int = 0


class Sensors:
    """Learns from the first healthy pictures of a place, keeps what it learned, and watches from then on. One thread.

    Where the file with the limits cannot be written they are learned again after a restart.
    """

    def __init__(self, path: Path, *, every_s: float = EVERY_S) -> None:
        self._path = path
        self._every_s = every_s
        self._eyes: dict[Place, _Eye] = {}
        self._read()

    @property
    def is_well(self) -> bool:
        """No camera has a fault, and those that had one have shown enough clean parts since."""
        return all(not self.faults(place) and eye.clean_parts >= CLEAN_PARTS for place, eye in self._eyes.items())

    def faults(self, place: Place) -> Collection[SensorCheck]:
        """What is wrong enough that nothing may be learned from this camera."""
        watch = self._eyes[place].watch if place in self._eyes else None
        return () if watch is None else tuple(one for one in watch.faults if one in BLOCKING)

    def odd(self, place: Place) -> Collection[SensorCheck]:
        """What is outside its limits now."""
        return self._eyes[place].odd if place in self._eyes else ()

    def soft(self, place: Place) -> bool | None:
        """Are its pictures less sharp than healthy ones? None where none has been looked at."""
        watch = self._eyes[place].watch if place in self._eyes else None
        return None if watch is None else watch.is_soft

    def update(self, seen: Seen, *, at: float, healthy: bool) -> list[Place]:
        """Look at one picture of each place that is due; places that have just got a fault."""
        fallen = []
        for place, rows in places_of(seen).items():
            eye = self._eyes.setdefault(place, _Eye(clean_parts=CLEAN_PARTS))
            eye.clean_parts = 0 if self.faults(place) else eye.clean_parts + rows.size
            if seen.pixels is None or at - eye.looked_at < self._every_s:
                continue
            eye.looked_at = at
            before = bool(self.faults(place))
            self._look(place, eye, read_picture(seen.pixels[int(rows[0])]), healthy=healthy)
            if self.faults(place) and not before:
                fallen.append(place)
        return fallen

    def _look(self, place: Place, eye: _Eye, reading: SensorReading, *, healthy: bool) -> None:
        if eye.watch is not None:
            eye.odd = eye.watch.update(reading).odd
        elif healthy:
            eye.learning.append(reading)
            if len(eye.learning) >= MIN_PICTURES:
                eye.limits = learn_limits(eye.learning)
                eye.watch = SensorWatch(eye.limits)
                eye.learning.clear()
                self._write()
                log.info("a healthy picture is known", source=place[0], roi=place[1])

    def _read(self) -> None:
        try:
            kept = json.loads(self._path.read_bytes()) if self._path.is_file() else []
            for one in kept:
                limits = SensorLimits(tuple(one["low"]), tuple(one["high"]), int(one["identical"]))
                eye = _Eye(limits=limits, watch=SensorWatch(limits), clean_parts=CLEAN_PARTS)
                self._eyes[one["source"], one["roi"]] = eye
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("limits of healthy pictures are learned again", cause=f"{self._path}: {error}")

    def _write(self) -> None:
        kept = [
            {"source": source, "roi": roi, **asdict(eye.limits)}
            for (source, roi), eye in self._eyes.items()
            if eye.limits is not None
        ]
        try:
            write_atomic(self._path, content=json.dumps(kept).encode())
        except OSError as error:
            log.warning("limits of healthy pictures not kept", cause=f"{self._path}: {error.strerror}")
