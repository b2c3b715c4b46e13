"""The only authority over a new head: nothing goes live that has not passed here."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pipeline.adaptation.gate.conditions import GateSettings, fact_checks
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.eprocess import log_e_accuracy
from pipeline.adaptation.gate.evidence import Evidence
from pipeline.adaptation.gate.label_screens import ScreenReport, ScreenSettings, screen_batch
from pipeline.adaptation.gate.values import (
    CandidateFacts,
    Check,
    GateDecision,
    GateReport,
    LabelBatch,
    LabelStream,
)

_SECONDS_PER_HOUR = 3600.0


class Gate:
    """Judges one challenger against one champion in one run.

    Promised: P(promote | the challenger does not cost less) <= alpha, if labels are right, gate frames are drawn at
    random from the shadow's whole pool of disagreements, and the line does not change meanwhile. Taken as they come,
    parts of one product run follow one another, and the promise is lost (tests/benchmarks/GATE.md has by how much).
    Wrong labels are answered by the screens, the rest by probation. A quarantined batch is never dropped: it is
    labelled twice, or the run ends without promotion; leaving out labels for what they say would break the promise.

    State over time; one thread. It survives a restart by being fed the same labels and counts again.
    """

    def __init__(
        self,
        costs: CostMatrix,
        *,
        run: str,
        champion: int,
        challenger: int,
        opened_at: float,
        settings: GateSettings | None = None,
        screens: ScreenSettings | None = None,
        screening: bool = True,
    ) -> None:
        self._settings = settings or GateSettings()
        self._screens = screens or ScreenSettings()
        self._screening = screening
        self._run, self._champion, self._challenger = run, champion, challenger
        self._opened_at = opened_at
        self._quarantine: dict[str, tuple[str, ...]] = {}
        self._taken: set[str] = set()
        self._honeypots = [0, 0]  # wrong, total
        self._evidence = Evidence(
            costs,
            floor=min(self._settings.inclusion_floor, self._settings.accept_inclusion_floor),
            accept_floor=self._settings.accept_inclusion_floor,
            streams=frozenset({LabelStream.GATE}),
            barred=self._settings.barred_labellers,
        )

    def agreed(self, n: int) -> None:
        """`n` more frames were decided alike by both heads."""
        self._evidence.agreed(n)

    def passed_over(self, n: int) -> None:
        """`n` more disagreements were not drawn for labelling."""
        self._evidence.passed_over(n)

    def drawn(self, event_ids: Iterable[str]) -> None:
        """These disagreements go out to labellers; labels of others do not count."""
        self._evidence.drawn(event_ids)

    def add(self, batch: LabelBatch) -> ScreenReport:
        """Screen a batch and, if it is fit, take its labels; else hold it until it comes back labelled twice."""
        report = screen_batch(batch, settings=self._screens)
        if batch.batch_id in self._taken:
            self._evidence.ignored["batch sent twice"] += len(batch.parts)
            return report
        self._honeypots[0] += report.honeypot_errors
        self._honeypots[1] += report.n_honeypots
        if report.quarantined and self._screening:
            self._quarantine[batch.batch_id] = report.reasons
            return report
        self._quarantine.pop(batch.batch_id, None)
        self._taken.add(batch.batch_id)
        for part in batch.parts:
            self._evidence.add(part)
        return report

    def decide(self, facts: CandidateFacts, *, now: float) -> GateReport:
        """Look, as often as one likes. `now` and `opened_at` are on the same clock, seconds."""
        checks = [*fact_checks(facts, settings=self._settings), *self._evidence_checks(facts)]
        failed = [check for check in checks if check.passed is False]
        waiting = [check for check in checks if check.passed is None]
        used_up = self._used_up(now=now)
        if failed:
            decision, reason = GateDecision.REJECT, _say(failed)
        elif not waiting:
            decision, reason = GateDecision.PROMOTE, "all conditions hold: " + self._evidence_in_words()
        elif used_up:
            decision, reason = GateDecision.REJECT, f"{used_up}, and still open: {_say(waiting)}"
        else:
            decision, reason = GateDecision.CONTINUE, _say(waiting)
        return self._report(facts, checks=checks, decision=decision, reason=reason)

    def _evidence_checks(self, facts: CandidateFacts) -> list[Check]:
        limits, seen = self._settings, self._evidence
        needed = math.log(facts.n_candidates / limits.alpha)
        worse = seen.worse.log_e >= -math.log(limits.worse_alpha)
        better = seen.better.log_e >= needed
        bound = self._escape_bound()
        held = "; ".join(f"batch {name}: {', '.join(why)}" for name, why in self._quarantine.items())
        flips_known = seen.n_frames >= limits.min_frames
        return [
            Check("G2/G3 labels", None if held else True, held or "no label batch is in quarantine"),
            Check(
                "G6 cost",
                False if worse else (better or None),
                f"log evidence {seen.better.log_e:.2f} of {needed:.2f} that it costs less"
                + (", and proof that it costs more" if worse else ""),
            ),
            Check(
                "G7 escapes",
                bound <= limits.escape_limit or None,
                f"{seen.n_introduced} escapes introduced, {seen.n_removed} removed, at most "
                f"{bound:.2%} of frames more, limit {limits.escape_limit:.2%}",
            ),
            Check(
                "G9 shadow",
                (flips_known and facts.class_cycle_seen) or None,
                f"{seen.n_frames} frames of {limits.min_frames}, class cycle "
                + ("seen" if facts.class_cycle_seen else "open"),
            ),
            Check(
                "answers",
                seen.answered_share >= limits.min_answered or None,
                f"{seen.answered_share:.0%} of {seen.n_drawn} drawn are answered, {limits.min_answered:.0%} are needed",
            ),
            Check(
                "flip rate",
                seen.flip_rate <= limits.max_flip_rate if flips_known else None,
                f"{seen.flip_rate:.1%} of decisions change, limit {limits.max_flip_rate:.0%}",
            ),
        ]

    def _escape_bound(self) -> float:
        return self._evidence.escape_bound(alpha=self._settings.escape_alpha)

    def _used_up(self, *, now: float) -> str:
        """G10."""
        if self._evidence.n_labelled >= self._settings.max_labels:
            return f"the budget of {self._settings.max_labels} labels is used"
        if now - self._opened_at >= self._settings.max_hours * _SECONDS_PER_HOUR:
            return f"{self._settings.max_hours:g} hours are over"
        return ""

    def _evidence_in_words(self) -> str:
        seen = self._evidence
        return (
            f"{seen.n_labelled} labels among {seen.n_disagreements} disagreements in {seen.n_frames} frames, "
            f"evidence {seen.better.log_e:.2f} that it costs less, at most {self._escape_bound():.2%} more escapes"
        )

    def _report(self, facts: CandidateFacts, *, checks: list[Check], decision: GateDecision, reason: str) -> GateReport:
        seen = self._evidence
        golden = facts.golden.classes if facts.golden else {}
        return GateReport(
            run=self._run,
            champion=self._champion,
            challenger=self._challenger,
            frames=seen.n_frames,
            disagreements=seen.n_disagreements,
            labelled=seen.n_labelled,
            ignored=dict(seen.ignored),
            log_e_cost=seen.better.log_e,
            log_e_worse=seen.worse.log_e,
            log_e_needed=math.log(facts.n_candidates / self._settings.alpha),
            log_e_acc=log_e_accuracy(wins=seen.wins, losses=seen.losses),
            cost_gain=seen.mean_gain,
            escape_introduced=seen.n_introduced,
            escape_removed=seen.n_removed,
            escape_bound=self._escape_bound(),
            flip_rate=seen.flip_rate,
            golden={
                k: 100.0 * (one.challenger_right - one.champion_right) / max(one.n, 1) for k, one in golden.items()
            },
            honeypot={"wrong": self._honeypots[0], "total": self._honeypots[1]},
            screens=dict(self._quarantine),
            checks=tuple(checks),
            decision=decision,
            reason=reason,
            labels_sha=seen.labels_sha,
        )


def _say(checks: list[Check]) -> str:
    return "; ".join(f"{check.name}: {check.said}" for check in checks)
