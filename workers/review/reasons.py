"""Why a part got its label: what was decided then, explained with the head that decided it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import ClearlineError
from pipeline.explain import Explanation, explain
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.heads.bundles.evidence import NO_EVIDENCE
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.types import Decision, Features, Float32Array
from workers.live_head import LiveHead
from workers.review.backend import NearPicture, NearText, Why
from workers.wall import Wall


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A part as the recording has it."""

    captured_at: float  # UTC
    confidence: float
    head_version: int
    embedding: Float32Array  # (D,)


class Reasons:
    """Any thread may call; reads what it needs of the recording."""

    def __init__(
        self,
        *,
        wall: Wall,
        live: Callable[[], LiveHead],
        bundle: Callable[[int], HeadBundle | None],
        recorded: Callable[[str], Recorded | None],
        decision: Callable[[str], Decision | None],
        has_picture: Callable[[str], bool],
    ) -> None:
        """`decision` is what was made of a part that is no longer on the wall, where somebody has kept it."""
        self._wall, self._live, self._bundle = wall, live, bundle
        self._recorded, self._decision, self._has_picture = recorded, decision, has_picture

    def of(self, event_id: str, *, camera: str) -> Why | None:
        """None where nothing is known of it any more."""
        shown = self._wall.shown(event_id)
        if shown is not None:
            one = shown.prediction
            told = self._explained(shown.features, version=one.head_version)
            if told is None:
                return None
            why = self._why(told, event_id=event_id, camera=one.ref.source_id, version=one.head_version)
            return replace(
                why,
                captured_at=one.ref.captured_at,
                label=one.label,
                confidence=one.confidence,
                decision=one.decision,
                rival=one.confusion.rival,
                rival_confidence=one.probabilities[one.confusion.rival],
                margin=one.confusion.margin,
                raw_margin=one.confusion.raw_margin,
            )
        return self._of_recording(event_id, camera=camera)

    def _of_recording(self, event_id: str, *, camera: str) -> Why | None:
        found = self._recorded(event_id)
        if found is None:
            return None
        image = found.embedding / max(float(np.linalg.norm(found.embedding)), 1e-6)
        told = self._explained(Features(image=image[None].astype(np.float32)), version=found.head_version)
        if told is None:
            return None
        why = self._why(told, event_id=event_id, camera=camera, version=found.head_version)
        return replace(
            why,
            captured_at=found.captured_at,
            confidence=found.confidence,
            decision=self._decision(event_id),
        )

    def _explained(self, features: Features, *, version: int) -> Explanation | None:
        """With exactly that version; None where it is gone."""
        bundle, live = (self._bundle(version) if version else None), self._live()
        try:
            if bundle is not None:
                return explain(bundle.head, features=features, temperature=bundle.temperature, evidence=bundle.evidence)
            if version == 0 and isinstance(live.head, ZeroShotHead):
                temperature = live.decider.temperature
                return explain(live.head, features=features, temperature=temperature, evidence=NO_EVIDENCE)
        except ClearlineError:
            return None
        return None

    def _why(self, told: Explanation, *, event_id: str, camera: str, version: int) -> Why:
        return Why(
            event_id=event_id,
            camera=camera,
            captured_at=0.0,
            label=told.winner,
            confidence=told.confidence,
            decision=None,
            rival=told.rival,
            rival_confidence=told.rival_confidence,
            margin=told.margin,
            raw_margin=told.raw_margin,
            head_version=version,
            texts=tuple(NearText(t.phrase, t.class_id, t.cosine, t.contribution) for t in told.texts),
            support=tuple(
                NearPicture(s.name if self._has_picture(s.name) else None, s.class_id, s.cosine, s.contribution)
                for s in told.support
            ),
            support_is_exact=told.support_is_exact,
        )
