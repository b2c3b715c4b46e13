"""From a scene to pixels: shading, shadow, light, lens and sensor."""

import cv2
import numpy as np

from pipeline.simulation.parts import draw_part
from pipeline.simulation.style import LineStyle, Stage
from pipeline.simulation.values import Pixels, Relief, Scene

_AMBIENT = 0.42
_LOBE = 0.016  # width of the lamp's reflection, as 1 - cos of the half angle


def shade(relief: Relief, *, style: LineStyle, angle_deg: float, tilt: tuple[float, float]) -> Pixels:
    """The part's colours under the line's lamp, (h, w, 3) float32 in 0..1 and a little above.

    Blinn (1977): the half vector lies in the plane of lamp and viewer, so one slope along the lamp's azimuth serves
    both the diffuse and the mirrored light.
    """
    azimuth = style.azimuth + np.deg2rad(angle_deg)
    flat = float(np.sqrt(1.0 - style.lift**2))
    along_x = cv2.Sobel(relief.height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125) + np.float32(tilt[0])
    along_y = cv2.Sobel(relief.height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125) + np.float32(tilt[1])
    slope = along_x * np.float32(np.cos(azimuth)) + along_y * np.float32(np.sin(azimuth))
    steep = 1.0 / np.sqrt(1.0 + along_x * along_x + along_y * along_y)
    diffuse = np.maximum((np.float32(style.lift) - np.float32(flat) * slope) * steep, 0.0)
    reach = float(np.sqrt(2.0 + 2.0 * style.lift))
    mirrored = (np.float32((1.0 + style.lift) / reach) - np.float32(flat / reach) * slope) * steep
    lobe = cv2.exp((mirrored - 1.0) * np.float32(1.0 / _LOBE)) + 0.25 * cv2.exp((mirrored - 1.0) * np.float32(7.0))
    lit = np.float32(_AMBIENT) + np.float32((1.0 - _AMBIENT) / style.lift) * diffuse
    colours: Pixels = relief.albedo * lit[..., None]
    colours += (np.float32(relief.gloss * 0.55) * lobe)[..., None]
    return colours


def _placed(relief: Relief, *, scene: Scene, stage: Stage) -> tuple[Pixels, tuple[int, int, int, int]]:
    """The turn that lays the part into its window, and the window (left, top, right, bottom) in the frame."""
    h, w = relief.alpha.shape
    reach = int(0.5 * np.hypot(h, w) * scene.scale + 0.10 * stage.side) + 2
    at = (scene.centre[0] * stage.side + stage.width / 2, scene.centre[1] * stage.side + stage.height / 2)
    left, top = max(int(at[0]) - reach, 0), max(int(at[1]) - reach, 0)
    right, bottom = min(int(at[0]) + reach, stage.width), min(int(at[1]) + reach, stage.height)
    turn = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), scene.angle_deg, scene.scale)
    turn[:, 2] += (at[0] - left - (w - 1) / 2, at[1] - top - (h - 1) / 2)
    return turn, (left, top, right, bottom)


def _shadow(alpha: Pixels, *, stage: Stage, thickness: float) -> Pixels:
    """How much lamp light the part takes from the belt: a soft cast shadow and a tight one where it touches."""
    size = (max(alpha.shape[1] // 4, 1), max(alpha.shape[0] // 4, 1))
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    unit = stage.side / 4
    throw = thickness * unit * np.sqrt(1.0 - stage.style.lift**2) / stage.style.lift * 1.5
    turn = np.array([[1, 0, -throw * np.cos(stage.style.azimuth)], [0, 1, -throw * np.sin(stage.style.azimuth)]])
    cast = cv2.GaussianBlur(cv2.warpAffine(small, turn, size), (0, 0), 0.006 * unit + 0.35 * thickness * unit + 0.3)
    contact = cv2.GaussianBlur(small, (0, 0), 0.012 * unit + 0.3)
    dark = np.minimum(0.58 * cast + 0.30 * contact, 0.80)
    return cv2.resize(dark, (alpha.shape[1], alpha.shape[0]), interpolation=cv2.INTER_LINEAR)


def _lay(frame: Pixels, *, scene: Scene, stage: Stage) -> None:
    """Draws the scene's part and its shadow into the frame, (H, W, 3) uint8."""
    rng = np.random.default_rng((*scene.seed, 3))
    relief = draw_part(scene.part, rng=rng, side=stage.side, textures=stage.textures)
    if relief is None:
        return
    tilt = (float(rng.normal(0, 0.035)), float(rng.normal(0, 0.035)))
    colours: Pixels = shade(relief, style=stage.style, angle_deg=scene.angle_deg, tilt=tilt) * relief.alpha[..., None]
    turn, (left, top, right, bottom) = _placed(relief, scene=scene, stage=stage)
    size = (right - left, bottom - top)
    colours = cv2.warpAffine(colours, turn, size, flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(relief.alpha, turn, size, flags=cv2.INTER_LINEAR)
    through = (1.0 - alpha) * (1.0 - _shadow(alpha, stage=stage, thickness=relief.thickness))
    window = frame[top:bottom, left:right]
    laid = colours * np.float32(255.0) + window * through[..., None]
    window[:] = np.minimum(laid, np.float32(255.0)).astype(np.uint8)


def render_scene(scene: Scene, *, stage: Stage) -> Pixels:
    """One frame of the line, (H, W, 3) uint8 BGR."""
    rng = np.random.default_rng((*scene.seed, 4, scene.view) if scene.view else (*scene.seed, 4))
    period = stage.belt.shape[1] - stage.width
    offset = int((scene.index * stage.style.travel - scene.moved) * stage.side) % period
    frame = stage.belt[:, offset : offset + stage.width].copy()
    if stage.rails is not None:
        deep = stage.rails[0].shape[0]
        frame[:deep], frame[-deep:] = stage.rails
        frame[deep : 2 * deep] = frame[deep : 2 * deep] * np.linspace(0.5, 1, deep, dtype=np.float32)[:, None, None]
    _lay(frame, scene=scene, stage=stage)
    soft = max(stage.style.softness * stage.side, 0.3)
    frame = cv2.GaussianBlur(frame, (0, 0), max(soft + scene.motion * stage.side / 2, 0.3), sigmaY=soft)
    lit = cv2.multiply(frame, stage.light, scale=scene.gain, dtype=cv2.CV_32F)
    top, left = (int(value) for value in rng.integers(0, 48, 2))
    noise = stage.noise[top : top + stage.height, left : left + stage.width]
    return cv2.scaleAdd(noise, stage.style.noise, lit).clip(0, 255).astype(np.uint8)
