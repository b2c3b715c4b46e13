"""A production line that never existed: seeded, scripted, any frame at random access."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.simulation.disturbances import Disturbance, check_mix, disturbed, mixed
from pipeline.simulation.parts import CLASSES
from pipeline.simulation.render import render_scene
from pipeline.simulation.style import LineStyle, build_stage
from pipeline.simulation.values import Scene, SimulatedFrame

_MIN_SIDE = 64  # below it a part is a handful of pixels
_TRAVEL = 0.16  # how far a part moves between the first and the last picture of it, in shorter sides
_ANY_TURN = frozenset(
    {"slim_bolt", "thick_bolt", "gear", "broken_gear", "washer", "nut", "bottle_cap", "bearing", "spring"}
)


def draw_scene(part: str, *, seed: tuple[int, ...], index: int) -> Scene:
    """Where and how the part lies in frame `index`, and the light of that moment."""
    rng = np.random.default_rng((*seed, index, 2))
    turn = rng.uniform(0, 360) if part in _ANY_TURN else rng.normal(0, 16) + (180.0 if rng.random() < 0.5 else 0.0)
    if part in {"labelled_carton", "crooked_label"}:
        turn = rng.normal(0, 7)
    return Scene(
        index=index,
        part=part,
        centre=(float(rng.uniform(-0.06, 0.06)), float(rng.uniform(-0.045, 0.045))),
        angle_deg=float(turn),
        scale=float(rng.uniform(0.94, 1.06)),
        gain=float(rng.uniform(0.92, 1.08)),
        motion=float(rng.uniform(0.0, 0.0035)),
        seed=(*seed, index),
    )


def later_view(scene: Scene, *, view: int, n_views: int) -> Scene:
    """The same part at the `view`th of `n_views` pictures: further along the belt, in the light of another moment.

    The part itself (its surface, its flaw, how it lies) stays; place, brightness, motion and noise change.
    """
    rng = np.random.default_rng((*scene.seed, 6, view))
    moved = _TRAVEL * (view / max(n_views - 1, 1) - 0.5)
    return replace(
        scene,
        centre=(scene.centre[0] + moved, scene.centre[1] + float(rng.normal(0, 0.004))),
        angle_deg=scene.angle_deg + float(rng.normal(0, 1.0)),
        gain=float(rng.uniform(0.92, 1.08)),
        motion=float(rng.uniform(0.0, 0.0035)),
        view=view,
        moved=moved,
    )


class SimulatedLine:
    """One camera over one belt: frame `index` is taken at `index / fps` seconds, one of each part by default.

    The same seed, size, script and index always give the same pixels, in any order of asking. Immutable after
    construction, so threads may share it. A line costs about 0.2 s and 40 MB to build at 1280x720.
    """

    def __init__(
        self,
        seed: int,
        *,
        width: int = 1280,
        height: int = 720,
        fps: float = 15.0,
        weights: Mapping[str, float] | None = None,
        disturbances: Sequence[Disturbance] = (),
        frames_per_part: int = 1,
    ) -> None:
        """`weights` are the shares of the classes, in any unit; left out, all of CLASSES come equally often.

        With `frames_per_part` k the frames n k to n k + k - 1 show the same part as it travels on.
        """
        if min(width, height) < _MIN_SIDE:
            raise ConfigError(f"simulated line {seed}: frames must be at least 64 pixels a side, got {width}x{height}")
        if not fps > 0:
            raise ConfigError(f"simulated line {seed}: fps must be above 0, got {fps}")
        if seed < 0:
            raise ConfigError(f"simulated line: seed must be 0 or more, got {seed}")
        self._weights = dict(weights) if weights else dict.fromkeys(CLASSES, 1.0)
        check_mix(self._weights, where=f"simulated line {seed}")
        if frames_per_part < 1:
            raise ConfigError(f"simulated line {seed}: frames_per_part must be 1 or more, got {frames_per_part}")
        self._n_views = frames_per_part
        self._seed = (seed,)
        self._fps = fps
        self._script = tuple(disturbances)
        self._stage = build_stage(seed, width=width, height=height)

    @property
    def style(self) -> LineStyle:
        """What this line's belt, lamp, lens and sensor are like."""
        return self._stage.style

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._stage.width, self._stage.height

    @property
    def fps(self) -> float:
        """Frames per second of the line's own time."""
        return self._fps

    def time_of(self, index: int) -> float:
        """When frame `index` is taken, seconds after the first."""
        return index / self._fps

    def index_at(self, time_s: float) -> int:
        """The first frame taken at or after that moment."""
        return math.ceil(time_s * self._fps - 1e-9)

    def dead_until(self, index: int) -> float | None:
        """When the camera comes back, seconds after the first frame, if it is dead at `index`, else None."""
        time_s, ends = self.time_of(index), [one for one in self._script if one.kind == "dead"]
        back_s = time_s
        while any(one.level_at(back_s) > 0 for one in ends):
            back_s = max(one.end_s for one in ends if one.level_at(back_s) > 0)
        return back_s if back_s > time_s else None

    def part_of(self, index: int) -> int:
        """The running number of the part under the camera."""
        return index // self._n_views

    def truth(self, index: int) -> str:
        """The class that lies under the camera, also while its picture is frozen or missing."""
        number = self.part_of(index)
        shares = mixed(self._weights, script=self._script, time_s=self.time_of(number * self._n_views))
        drawn = float(np.random.default_rng((*self._seed, number, 1)).random())
        total = 0.0
        for part, share in shares.items():
            total += share
            if drawn < total:
                return part
        return next(part for part, share in reversed(shares.items()) if share > 0)

    def scene(self, index: int) -> Scene:
        """What lies under the camera, and how."""
        scene = draw_scene(self.truth(index), seed=self._seed, index=self.part_of(index))
        if self._n_views == 1:
            return scene
        return later_view(scene, view=index % self._n_views, n_views=self._n_views)

    def disturbances_at(self, index: int) -> tuple[str, ...]:
        """The kinds at work, in the order of the script."""
        time_s = self.time_of(index)
        return tuple(dict.fromkeys(one.kind for one in self._script if one.level_at(time_s) > 0))

    def render(self, index: int) -> SimulatedFrame:
        """Frame `index`, its pixels the caller's own. Raises SourceUnavailable where the script says dead."""
        back_s = self.dead_until(index)
        if back_s is not None:
            until = f"until {back_s:g} s" if math.isfinite(back_s) else "for good"
            raise SourceUnavailable(f"simulated camera is dead at {self.time_of(index):g} s, {until}, as scripted")
        shown = self._shown(index)
        image = render_scene(self.scene(shown), stage=self._stage)
        image = disturbed(image, script=self._script, time_s=self.time_of(shown), seed=self._seed, index=shown)
        return SimulatedFrame(
            image=image,
            truth=self.truth(index),
            index=index,
            disturbances=self.disturbances_at(index),
            part=None if self._n_views == 1 else self.part_of(index),
        )

    def sample(self, part: str, *, number: int) -> SimulatedFrame:
        """The `number`th undisturbed picture of one class, apart from those `render` gives: for support sets."""
        check_mix({part: 1.0}, where="simulated line")
        scene = draw_scene(part, seed=(*self._seed, 5), index=number)
        image = render_scene(scene, stage=self._stage)
        return SimulatedFrame(image=image, truth=part, index=number, disturbances=())

    def _shown(self, index: int) -> int:
        """The frame whose picture is seen at `index`: an older one while frozen."""
        for one in self._script:
            if one.kind == "frozen" and one.level_at(self.time_of(index)) > 0:
                return min(self.index_at(one.start_s), index)
        return index
