"""What people are asked and what they answered: questions for three streams, labels in, exemplars into the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.adaptation.support.choosing import Choice, TeachPool, choose_teach, class_runs
from pipeline.adaptation.support.exemplars import Exemplar, SupportContext, as_fp16
from pipeline.adaptation.support.label_queue import LabelQueue, Quotas, Request
from pipeline.adaptation.support.labels import Label, Stream
from pipeline.adaptation.support.store import SupportStore
from pipeline.types import Decision, EncoderInfo, Float32Array, Prediction
from workers.adaptation.pictures import PictureStore
from workers.adaptation.tap import Seen

RECENT_FRAMES = 4096  # from which frames to teach with are chosen
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class _Recent:
    prediction: Prediction
    embedding: Float32Array  # (D,)
    margin: float
    novelty: float


class Asking:
    """One thread. Other processes may read and answer the questions: they are in the store's file."""

    def __init__(
        self,
        store: SupportStore,
        *,
        pictures: PictureStore,
        encoder: EncoderInfo,
        product: str,
        teach: int,
        per_hour: int,
        expire_s: float,
        audit_accepted: float,
        audit_rejected: float,
        seed: int,
    ) -> None:
        self.store = store
        self.queue = LabelQueue(store.database, quotas=Quotas(per_hour=per_hour))
        self._pictures = pictures
        self._encoder = encoder
        self.product = product
        self._teach = teach
        self._expire_s = expire_s
        self._audit_rates = {Decision.ACCEPT: audit_accepted, Decision.REJECT: audit_rejected}
        self._rng = np.random.default_rng(seed)
        self._recent: deque[_Recent] = deque(maxlen=RECENT_FRAMES)

    def remember(self, seen: Seen, *, pictures: bool) -> None:
        """Keep the batch for choosing from, with its pictures where they are wanted."""
        ordered = np.sort(seen.probabilities, axis=1)
        margins = (ordered[:, -1] - ordered[:, -2]).tolist()
        for row, one in enumerate(seen.predictions):
            novelty = 0.0 if seen.novelty is None else float(seen.novelty[row])
            self._recent.append(_Recent(one, seen.image[row], margins[row], novelty))
            if pictures and seen.pixels is not None:
                self._pictures.keep(one.ref.event_id, image=seen.pixels[row])

    def audit(self, seen: Seen, *, at: float, denser: float = 1.0) -> int:
        """Draw parts for the audit by a coin of stated probability; how many were asked."""
        coins = self._rng.random(len(seen.predictions))
        requests = []
        for row, one in enumerate(seen.predictions):
            rate = min(1.0, denser * self._audit_rates.get(one.decision, 0.0))
            if coins[row] < rate:
                if seen.pixels is not None:
                    self._pictures.keep(one.ref.event_id, image=seen.pixels[row])
                why = "accepted" if one.decision is Decision.ACCEPT else "rejected"
                choice = Choice(one.ref.event_id, Stream.AUDIT, why, rate)
                requests.append(self._request(choice, one, seen.image[row]))
        return self._ask(requests, at=at)

    def teach(self, *, seed: int, at: float) -> tuple[str, ...]:
        """Ask about the frames that teach most; their event ids."""
        recent = [one for one in self._recent if self._pictures.has(one.prediction.ref.event_id)] or list(self._recent)
        if not recent:
            return ()
        pool = TeachPool(
            event_ids=[one.prediction.ref.event_id for one in recent],
            embeddings=np.stack([one.embedding for one in recent]),
            margins=np.array([one.margin for one in recent], np.float32),
            novelty=np.array([one.novelty for one in recent], np.float32),
            runs=class_runs(
                [one.prediction.ref.source_id for one in recent], labels=[one.prediction.label for one in recent]
            ),
        )
        half, quarter = self._teach // 2, self._teach // 4
        asked = self.queue.asked_since(0.0)
        choices = choose_teach(
            pool, seed=seed, asked=asked, n_margin=half, n_novelty=quarter, n_random=self._teach - half - quarter
        )
        by_id = {one.prediction.ref.event_id: one for one in recent}
        self._ask([self._request(c, by_id[c.event_id].prediction, by_id[c.event_id].embedding) for c in choices], at=at)
        return tuple(choice.event_id for choice in choices)

    def gate(self, choices: Sequence[tuple[Choice, Prediction, Float32Array]], *, at: float) -> None:
        """Ask about drawn disagreements."""
        self._ask([self._request(choice, one, embedding) for choice, one, embedding in choices], at=at)

    def answered(self, event_ids: Sequence[str]) -> dict[str, Label]:
        """Those with a label that stands, with their newest label."""
        found = {}
        for event_id in event_ids:
            labels = self.store.labels.of(event_id)
            if labels and self.store.labels.standing(event_id).label is not None:
                found[event_id] = labels[-1]
        return found

    def learn(self, *, at: float) -> int:
        """Labels that may teach become exemplars; how many came in."""
        exemplars = []
        for standing in self.store.labels.waiting_to_teach(at=at):
            embedding = self.queue.embedding(standing.event_id)
            if embedding is None or standing.label is None:
                continue
            exemplars.append(
                Exemplar(
                    event_id=standing.event_id,
                    label=standing.label,
                    context=self.context_of(standing.event_id),
                    embedding=embedding,
                    evidence=standing.event_id if self._pictures.has(standing.event_id) else None,
                )
            )
            self._pictures.pin(standing.event_id)
        return self.store.add(exemplars, at=at).n_added if exemplars else 0

    def context_of(self, event_id: str) -> SupportContext:
        """Where a part was seen: an event id ends in epoch, sequence and region."""
        source, _, _, roi = [*event_id.rsplit("-", 3), "", "", ""][:4]
        return SupportContext(source, roi, self.product, self._encoder.sha256, self._encoder.preprocessing_sha256)

    def _request(self, choice: Choice, one: Prediction, embedding: Float32Array) -> Request:
        self._pictures.pin(choice.event_id)
        known = self._pictures.has(choice.event_id)
        return Request(
            choice,
            model_label=one.label,
            evidence=choice.event_id if known else None,
            embedding=as_fp16(embedding),
        )

    def _ask(self, requests: Sequence[Request], *, at: float) -> int:
        return self.queue.ask(requests, at=at, expires_after_s=self._expire_s).n_asked if requests else 0
