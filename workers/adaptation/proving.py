"""A challenger before the gate, and a new head on probation: frames and labels in, a verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.adaptation.gate.conditions import GateSettings
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.gate import Gate
from pipeline.adaptation.gate.label_screens import ScreenSettings, screen_batch
from pipeline.adaptation.gate.probation import Probation, ProbationReport, ProbationSettings
from pipeline.adaptation.gate.values import CandidateFacts, GateReport, LabelBatch
from workers.adaptation.asking import Asking
from workers.adaptation.book import RunBook
from workers.adaptation.sampling import Sampling
from workers.adaptation.tap import Seen
from workers.adaptation.trial import Trial
from workers.live_head import LiveHead

PROBATION_POOLS = 10  # rounds of questions at least
PROBATION_DIFFERING = 60  # disagreements of a round at most: a very bad head is not to wait for a hundred answers
NO_KNOWN_PARTS = 10**9  # labels per part of known class, where there are none to hide


class GateRun:
    """One challenger in the shadow of the live head. One thread."""

    def __init__(
        self,
        challenger: LiveHead,
        *,
        champion: LiveHead,
        run: str,
        classes: Sequence[str],
        costs: CostMatrix,
        settings: GateSettings,
        facts: CandidateFacts,
        asking: Asking,
        book: RunBook,
        opened_at: float,
    ) -> None:
        versions = champion.decider.identity.version, challenger.decider.identity.version
        self._gate = Gate(
            costs,
            run=run,
            champion=versions[0],
            challenger=versions[1],
            opened_at=opened_at,
            settings=settings,
            screens=screens_for(asking),
        )
        trial = Trial(champion, challenger, n_classes=len(classes), pool_frames=settings.min_frames, seed=versions[1])
        self._facts = facts
        self.sampling = Sampling(
            trial,
            kind="gate",
            judge=self._gate,
            add=lambda batch: not self._gate.add(batch).quarantined,
            asking=asking,
            book=book,
            index={name: number for number, name in enumerate(classes)},
        )

    def take(self, seen: Seen, *, at: float) -> None:
        """Decide a batch twice; ask about a draw when the pool is full."""
        self.sampling.take(seen, at=at)

    def look(self, *, at: float) -> GateReport:
        """Feed new labels, and decide."""
        self.sampling.look(at=at)
        return self._gate.decide(replace(self._facts, class_cycle_seen=self.sampling.n_rounds > 0), now=at)


class ProbationRun:
    """The new head decides, the old one watches from the shadow. One thread."""

    def __init__(
        self,
        previous: LiveHead,
        *,
        new: LiveHead,
        classes: Sequence[str],
        costs: CostMatrix,
        settings: ProbationSettings,
        gate_flip_rate: float,
        asking: Asking,
        book: RunBook,
        opened_at: float,
    ) -> None:
        self._probation = Probation(costs, gate_flip_rate=gate_flip_rate, opened_at=opened_at, settings=settings)
        self._screens = screens_for(asking)
        pool = max(1, settings.min_parts // PROBATION_POOLS)
        trial = Trial(
            previous,
            new,
            n_classes=len(classes),
            pool_frames=pool,
            seed=new.decider.identity.version,
            pool_differing=PROBATION_DIFFERING,
        )
        self.sampling = Sampling(
            trial,
            kind="probation",
            judge=self._probation,
            add=self._add,
            asking=asking,
            book=book,
            index={name: number for number, name in enumerate(classes)},
        )

    def take(self, seen: Seen, *, at: float) -> None:
        """Decide a batch twice; ask about a draw when the pool is full."""
        self.sampling.take(seen, at=at)

    def alarm(self, reason: str) -> None:
        """Something else condemns the new head."""
        self._probation.alarm(reason)

    def look(self, *, at: float) -> ProbationReport:
        """Feed new labels, and judge."""
        self.sampling.look(at=at)
        return self._probation.judge(now=at)

    def _add(self, batch: LabelBatch) -> bool:
        """Doubted batches are labelled twice; then they count, for leaving them out would be choosing."""
        if screen_batch(batch, settings=self._screens).quarantined and not batch.double_labelled:
            return False
        for part in batch.parts:
            self._probation.add(part)
        return True


def screens_for(asking: Asking) -> ScreenSettings:
    """Without pictures of parts of known class none can be hidden, and none may be missed."""
    return ScreenSettings() if asking.has_known_parts else ScreenSettings(parts_per_honeypot=NO_KNOWN_PARTS)
