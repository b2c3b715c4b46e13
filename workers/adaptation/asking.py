"""What people are asked and what they answered: questions for three streams, labels in, exemplars into the store."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog

from pipeline.adaptation.support.choosing import (
    HONEYPOTS_PER_LABEL,
    Choice,
    TeachPool,
    choose_teach,
    class_runs,
    mix_honeypots,
)
from pipeline.adaptation.support.exemplars import Exemplar, SupportContext, as_fp16
from pipeline.adaptation.support.label_queue import LabelQueue, Quotas, Request
from pipeline.adaptation.support.labels import Stream
from pipeline.adaptation.support.store import SupportStore
from pipeline.types import Decision, EncoderInfo, Float32Array, UInt8Array
from workers.adaptation.pictures import PictureStore
from workers.adaptation.questions import Answers, Drawn, Questions
from workers.adaptation.tap import Decided, Seen

log = structlog.get_logger()

RECENT_FRAMES = 4096  # from which frames to teach with are chosen
RECENT_BYTES = 64_000_000  # of their pictures in memory
HOUR_S = 3600.0
SHIFT_HOURS = 8  # of labelling a day
AUDIT_QUOTA = 0.25  # of the questions; the rest is for runs, which somebody waits for
KNOWN_S = 14 * 86_400.0  # events asked about longer ago do not come again
_EVENT_ID = re.compile(r"(.+)-(\d+)-(\d+)-(.+)")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A decided frame that may be asked about."""

    prediction: Decided
    embedding: Float32Array  # (D,)
    picture: UInt8Array | None  # (S, S, 3) RGB
    margin: float = 0.0
    novelty: float = 0.0


class Asking:
    """One thread. Other processes may read and answer the questions: they are in the store's file."""

    def __init__(
        self,
        store: SupportStore,
        *,
        pictures: PictureStore,
        encoder: EncoderInfo,
        product: str,
        product_since: float,
        teach: int,
        per_hour: int,
        expire_s: float,
        audit_accepted: float,
        audit_rejected: float,
        seed: int,
    ) -> None:
        self.store = store
        self.queue = LabelQueue(store.database, quotas=Quotas(per_hour=per_hour, per_day=SHIFT_HOURS * per_hour))
        self.product, self.product_since = product, product_since  # on the belt now; UTC seconds
        self._pictures = pictures
        self._encoder = encoder
        self._teach = teach
        self._expire_s = expire_s
        self._audit_rates = {Decision.ACCEPT: audit_accepted, Decision.REJECT: audit_rejected}
        self._audits = deque[float](maxlen=max(1, int(AUDIT_QUOTA * per_hour)))  # when the last ones were asked
        self._rng = np.random.default_rng(seed)
        self._recent: deque[Part] = deque(maxlen=RECENT_FRAMES)

    @property
    def n_recent(self) -> int:
        """Frames to choose from."""
        return len(self._recent)

    @property
    def has_known_parts(self) -> bool:
        """Are there pictures of parts whose class is known, to hide among questions?"""
        return bool(self._known_parts())

    def change_product(self, product: str, *, at: float) -> None:
        """Another product on the belt."""
        self.product, self.product_since = product, at
        self.forget_recent()

    def forget_recent(self) -> None:
        """What comes from now on is another stream."""
        self._recent.clear()

    def remember(self, seen: Seen) -> None:
        """Keep the batch for choosing from."""
        if seen.pixels is not None and self._recent.maxlen == RECENT_FRAMES:
            fit = max(256, RECENT_BYTES // seen.pixels[0].nbytes)
            self._recent = deque(self._recent, maxlen=min(RECENT_FRAMES - 1, fit))
        ordered = np.sort(seen.probabilities, axis=1)
        margins = (ordered[:, -1] - ordered[:, -2]).tolist()
        for row, one in enumerate(seen.predictions):
            novelty = 0.0 if seen.novelty is None else float(seen.novelty[row])
            picture = None if seen.pixels is None else seen.pixels[row]
            self._recent.append(Part(one, seen.image[row], picture, margins[row], novelty))

    def audit(self, seen: Seen, *, at: float, denser: float = 1.0) -> int:
        """Draw parts for the audit by a coin of stated probability, as long as its share of the questions goes."""
        coins = self._rng.random(len(seen.predictions))
        n_asked = 0
        most = denser * max(self._audit_rates.values())
        for row in np.flatnonzero(coins < most).tolist():
            one = seen.predictions[row]
            rate = min(1.0, denser * self._audit_rates.get(one.decision, 0.0))
            full = len(self._audits) == self._audits.maxlen and at - self._audits[0] < HOUR_S
            if coins[row] >= rate or full:
                continue
            why = "accepted" if one.decision is Decision.ACCEPT else "rejected"
            choice = Choice(one.ref.event_id, Stream.AUDIT, why, rate)
            part = Part(one, seen.image[row], None if seen.pixels is None else seen.pixels[row])
            self._audits.append(at)
            n_asked += len(self._ask([choice], parts={choice.event_id: part}, at=at))
        return n_asked

    def teach(self, *, name: str, index: Mapping[str, int], seed: int, at: float) -> Questions:
        """Ask about the frames that teach most, among those remembered."""
        recent = list(self._recent)
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
        choices = choose_teach(
            pool,
            seed=seed,
            asked=self.known(at=at),
            n_margin=half,
            n_novelty=quarter,
            n_random=self._teach - half - quarter,
        )
        parts = {one.prediction.ref.event_id: one for one in recent}
        self._recent.clear()  # their pictures will be on disk, those of the others are not needed
        asked = self.ask(name=name, choices=choices, parts=parts, seed=seed, at=at)
        decided = {
            one: replace(drawn, champion=index[parts[one].prediction.label]) for one, drawn in asked.parts.items()
        }
        return replace(asked, parts=decided)

    def ask(
        self, *, name: str, choices: Sequence[Choice], parts: Mapping[str, Part], seed: int, at: float
    ) -> Questions:
        """Hide parts of known class among the choices and ask; `parts` of the result are still without decisions."""
        known = self._known_parts()
        fits = sum(map(len, known.values())) >= HONEYPOTS_PER_LABEL * len(choices) > 0
        if not fits and choices:
            log.warning("questions without parts of known class among them", batch=name, n_known=len(known))
        mixed = mix_honeypots(choices, known=known, seed=seed) if fits else choices
        asked = self._ask(mixed, parts=parts, at=at)
        return Questions(
            name=name,
            asked_at=at,
            expires_at=at + self._expire_s,
            parts={one.event_id: _undecided(one) for one in asked if one.truth is None},
            honeypots={one.event_id: one.truth for one in asked if one.truth is not None},
        )

    def answers(self, questions: Questions, *, at: float) -> Answers | None:
        """None while some are open and there is time."""
        if at < questions.expires_at and any(map(self._is_open, (*questions.parts, *questions.honeypots))):
            return None
        labels = self.store.labels
        heard = {one: labels.standing(one).labels for one in questions.parts}
        known = {
            one: tuple(label for label in labels.of(one) if label.labelled_at >= questions.asked_at)
            for one in questions.honeypots
        }
        return Answers({one: said for one, said in heard.items() if said}, {one: said for one, said in known.items()})

    def second_opinion(self, questions: Questions, *, at: float) -> None:
        """Another person has to say the same before any of it counts."""
        for one in questions.parts:
            self.store.database.execute(
                "UPDATE requests SET n_labellers = 2, expires_at = ? WHERE event_id = ? AND n_labellers = 1",
                at + self._expire_s,
                one,
            )

    def known(self, *, at: float) -> frozenset[str]:
        """Events that were asked about."""
        return self.queue.asked_since(at - KNOWN_S)

    def learn(self, event_ids: Collection[str], *, at: float) -> int:
        """Labels of these events, where they may teach, become exemplars; how many came in."""
        exemplars = []
        for standing in self.store.labels.waiting_to_teach(at=at):
            embedding = self.queue.embedding(standing.event_id)
            if standing.event_id not in event_ids or embedding is None or standing.label is None:
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
        """Where a part was seen: an event id is source, epoch, sequence and region."""
        found = _EVENT_ID.fullmatch(event_id)
        source, roi = (found[1], found[4]) if found else (event_id, "full")
        return SupportContext(source, roi, self.product, self._encoder.sha256, self._encoder.preprocessing_sha256)

    def _known_parts(self) -> dict[str, list[str]]:
        """Founders, and what two people agree on, as far as there are pictures of them."""
        known: dict[str, list[str]] = {}
        for event_id, label in self.store.database.execute(
            "SELECT event_id, label FROM exemplars WHERE removed_at IS NULL AND role IN ('founder', 'hard')"
        ):
            if self._pictures.has(str(event_id)):
                known.setdefault(str(label), []).append(str(event_id))
        return known

    def _is_open(self, event_id: str) -> bool:
        rows = self.store.database.execute(
            "SELECT n_labellers, (SELECT count(*) FROM answers WHERE request_id = requests.id) FROM requests "
            "WHERE event_id = ? ORDER BY id DESC LIMIT 1",
            event_id,
        )
        if not rows:
            return False
        needed, n_answers = map(int, rows[0])
        return n_answers < needed and len({one.labeller for one in self.store.labels.of(event_id)}) < needed

    def _ask(self, choices: Sequence[Choice], *, parts: Mapping[str, Part], at: float) -> Sequence[Choice]:
        """The choices that the quotas had room for."""
        requests = [self._request(choice, parts.get(choice.event_id)) for choice in choices]
        if not requests:
            return ()
        done = self.queue.ask(requests, at=at, expires_after_s=self._expire_s)
        asked = choices[: done.n_asked] if not done.n_known else ()
        for one in asked:
            part = parts.get(one.event_id)
            if part is not None and part.picture is not None:
                self._pictures.keep(one.event_id, image=part.picture)
            self._pictures.pin(one.event_id)
        return asked

    def _request(self, choice: Choice, part: Part | None) -> Request:
        pictured = self._pictures.has(choice.event_id) or (part is not None and part.picture is not None)
        return Request(
            choice,
            model_label=None if part is None else part.prediction.label,
            evidence=choice.event_id if pictured else None,
            embedding=None if part is None else as_fp16(part.embedding),
        )


def _undecided(choice: Choice) -> Drawn:
    return Drawn(champion=0, challenger=None, confidence=0.0, inclusion=choice.inclusion_probability)
