"""What goes wrong on a simulated line: scripted by time, each with a ramp, each a small value and a pure function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.errors import ConfigError
from pipeline.simulation.parts import CLASSES, NOVEL_CLASSES
from pipeline.simulation.values import Pixels

KINDS: tuple[str, ...] = ("lighting", "blur", "shake", "dirt", "class_mix", "novel", "frozen", "dead")
_ON_OR_OFF = frozenset({"frozen", "dead"})


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One fault from `start_s` to `end_s`, seconds after the first frame.

    `strength` is 0 (nothing to be seen) to 1 (as bad as it gets), reached after `ramp_s`; `frozen` (the same picture
    again) and `dead` (no pictures) know only on and off. `mix` holds the shares of the classes for `class_mix`
    (default: defects only) and `novel` (default: the classes no training picture shows).
    """

    kind: str
    start_s: float = 0.0
    end_s: float = math.inf
    strength: float = 0.5
    ramp_s: float = 2.0
    mix: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"disturbance kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not 0 <= self.start_s < self.end_s:
            raise ConfigError(f"disturbance {self.kind} must end after it starts, got {self.start_s} to {self.end_s} s")
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"disturbance {self.kind}: strength must be 0 to 1, got {self.strength}")
        if self.ramp_s < 0:
            raise ConfigError(f"disturbance {self.kind}: ramp must not be negative, got {self.ramp_s} s")
        check_mix(self.mix, where=f"disturbance {self.kind}")

    def level_at(self, time_s: float) -> float:
        """How strong it is at that moment, 0 to 1."""
        if not self.start_s <= time_s < self.end_s:
            return 0.0
        if self.kind in _ON_OR_OFF:
            return 1.0
        return self.strength * (min((time_s - self.start_s) / self.ramp_s, 1.0) if self.ramp_s > 0 else 1.0)


def check_mix(mix: Mapping[str, float], *, where: str) -> None:
    """Raise ConfigError for a class nobody can draw, a negative share, or shares that are all zero."""
    unknown = sorted(set(mix) - set(CLASSES) - set(NOVEL_CLASSES))
    if unknown:
        known = ", ".join((*CLASSES, *NOVEL_CLASSES))
        raise ConfigError(f"{where}: classes must be among {known}; got {', '.join(unknown)}")
    if any(share < 0 for share in mix.values()) or (mix and sum(mix.values()) <= 0):
        raise ConfigError(f"{where}: shares must be 0 or more and not all 0, got {dict(mix)}")


def mixed(weights: Mapping[str, float], *, script: Sequence[Disturbance], time_s: float) -> dict[str, float]:
    """The shares of the classes at that moment, summing to 1."""
    shares = _to_one(weights)
    for one in script:
        level = one.level_at(time_s)
        if level <= 0 or one.kind not in {"class_mix", "novel"}:
            continue
        default = NOVEL_CLASSES if one.kind == "novel" else _defects(weights)
        target = _to_one(one.mix or dict.fromkeys(default, 1.0))
        shares = {
            name: (1 - level) * shares.get(name, 0.0) + level * target.get(name, 0.0)
            for name in dict.fromkeys((*shares, *target))
        }
    return shares


def _to_one(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: share / total for name, share in weights.items()}


def _defects(weights: Mapping[str, float]) -> tuple[str, ...]:
    words = ("scratched", "dented", "stained", "crooked", "broken")
    return tuple(name for name in weights if name.startswith(words)) or tuple(weights)


def disturbed(
    image: Pixels, *, script: Sequence[Disturbance], time_s: float, seed: tuple[int, ...], index: int
) -> Pixels:
    """The picture after everything in the script that changes pixels; (H, W, 3) uint8."""
    for order, one in enumerate(script):
        level = one.level_at(time_s)
        if level <= 0:
            continue
        if one.kind == "lighting":
            image = dimmed(image, level=level)
        elif one.kind == "blur":
            image = defocused(image, level=level)
        elif one.kind == "shake":
            image = shaken(image, level=level, rng=np.random.default_rng((*seed, index, 31, order)))
        elif one.kind == "dirt":
            image = dirtied(image, level=level, rng=np.random.default_rng((*seed, 32, order)))
    return image


def dimmed(image: Pixels, *, level: float) -> Pixels:
    """A lamp that fails: darker, and warmer as it cools down."""
    gains = 1.0 - level * np.array((0.78, 0.66, 0.54), np.float32)  # BGR
    return np.asarray(image * gains, np.float32).astype(np.uint8)


def defocused(image: Pixels, *, level: float) -> Pixels:
    """A lens that slipped out of focus."""
    return cv2.GaussianBlur(image, (0, 0), max(level * 0.022 * min(image.shape[:2]), 0.1))


def shaken(image: Pixels, *, level: float, rng: np.random.Generator) -> Pixels:
    """A camera on a loose bracket: every frame is shifted, turned and smeared a little."""
    height, width = image.shape[:2]
    side = min(height, width)
    turn: Pixels = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.normal(0, 5.0 * level)), 1.0)
    turn[:, 2] += rng.normal(0, 0.05 * level * side, 2)
    moved = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    smear = 1 + int(abs(rng.normal(0, 0.035 * level * side)))
    return cv2.blur(moved, (smear, 1) if rng.random() < 0.5 else (1, smear))


def dirtied(image: Pixels, *, level: float, rng: np.random.Generator) -> Pixels:
    """Oil and dust on the front glass: out of focus, so each speck is a soft dark disc that never moves."""
    height, width = image.shape[:2]
    scale = 4  # the specks are soft: a quarter of the size is enough
    veil = np.zeros((max(height // scale, 1), max(width // scale, 1)), np.float32)
    side = min(veil.shape)
    for _ in range(14):
        at = rng.normal(0.5, 0.16, 2) * (side, side) + ((veil.shape[1] - side) / 2, (veil.shape[0] - side) / 2)
        radius = max(int(rng.uniform(0.02, 0.085) * side), 1)
        cv2.circle(veil, (int(at[0]), int(at[1])), radius, float(rng.uniform(0.35, 0.9)), -1, cv2.LINE_AA)
    veil = cv2.GaussianBlur(veil, (0, 0), max(0.022 * side, 0.3))
    share = np.clip(cv2.resize(veil, (width, height)) * level, 0, 0.9)[..., None]
    haze = np.array((44, 56, 62), np.float32)  # BGR of a thin film of oil in the lamp's light
    return np.asarray(image * (1.0 - share) + haze * share, np.float32).astype(np.uint8)
