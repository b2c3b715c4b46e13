"""The sequences behind the gate: labelled disagreements and counted agreements turned into evidence."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.eprocess import MixtureEProcess
from pipeline.adaptation.gate.escapes import EscapeSequence
from pipeline.adaptation.gate.values import LabelledPart, LabelStream


class Evidence:
    """What random labels say about challenger against champion. Labels that may not speak are counted by reason.

    A part of inclusion probability pi weighs floor / pi: the stake per frame is then the same whatever pi, so what
    is bet on is the mean over all disagreements.
    """

    def __init__(
        self,
        costs: CostMatrix,
        *,
        floor: float,
        accept_floor: float,
        streams: frozenset[LabelStream],
        barred: frozenset[str],
    ) -> None:
        self._costs = costs
        self._floor = floor
        self._accept_floor = accept_floor
        self._streams = streams
        self._barred = barred
        self._open: set[str] = set()  # drawn, no answer that counts yet
        self._answered: set[str] = set()
        self._sha = hashlib.sha256()
        self._gain_sum = 0.0
        self.better = MixtureEProcess()  # for "the challenger costs less"
        self.worse = MixtureEProcess()
        self.escapes = EscapeSequence(floor=accept_floor)
        self.ignored: Counter[str] = Counter()
        self.n_agreed = 0
        self.n_passed_over = 0
        self.n_introduced = 0
        self.n_removed = 0
        self.wins = 0  # only the challenger is right
        self.losses = 0

    @property
    def n_labelled(self) -> int:
        """Labels that counted."""
        return self.better.n

    @property
    def n_disagreements(self) -> int:
        """Frames the heads decide differently, drawn or not."""
        return self.n_passed_over + self.n_drawn

    @property
    def n_drawn(self) -> int:
        """Disagreements that labellers were asked about."""
        return len(self._open) + len(self._answered)

    @property
    def answered_share(self) -> float:
        """Of the disagreements drawn, those with a label that counts; 0 before the first."""
        return len(self._answered) / self.n_drawn if self.n_drawn else 0.0

    @property
    def n_frames(self) -> int:
        """All frames counted."""
        return self.n_agreed + self.n_disagreements

    @property
    def flip_rate(self) -> float:
        """Share of frames on which the decision changes."""
        return self.n_disagreements / self.n_frames if self.n_frames else 0.0

    @property
    def mean_gain(self) -> float:
        """Mean saving per labelled disagreement, share of the largest cost."""
        return self._gain_sum / self.n_labelled if self.n_labelled else 0.0

    @property
    def labels_sha(self) -> str:
        """SHA-256 over the labels that counted, in order."""
        return self._sha.hexdigest()

    def agreed(self, n: int) -> None:
        """`n` frames were decided alike."""
        self.n_agreed += n

    def passed_over(self, n: int) -> None:
        """`n` disagreements were not drawn for labelling."""
        self.n_passed_over += n

    def drawn(self, event_ids: Iterable[str]) -> None:
        """These disagreements go out to labellers."""
        self._open.update(set(event_ids) - self._answered)

    def escape_bound(self, *, alpha: float) -> float:
        """Upper bound on net introduced escapes per frame.

        Frames without a label speak only in the share in which drawn ones were answered: else a gate that looks before
        the answers are back would take silence for innocence.
        """
        n_silent = int((self.n_agreed + self.n_passed_over) * self.answered_share)
        return self.escapes.upper_bound(alpha=alpha, n_silent=n_silent)

    def add(self, part: LabelledPart) -> bool:
        """Take one label; False where it may not speak. Of two labels the one worse for the challenger counts."""
        why = self._objection(part)
        if why is not None:
            self.ignored[why] += 1
            return False
        assert part.challenger is not None
        self._open.remove(part.event_id)
        self._answered.add(part.event_id)
        self._sha.update(json.dumps(asdict(part), sort_keys=True).encode())
        truths = {part.truth, part.truth if part.second is None else part.second}
        champion, challenger = part.champion, part.challenger
        gain, truth = min((self._costs.gain(t, champion=champion, challenger=challenger), t) for t in truths)
        self._gain_sum += gain
        weighted = gain * self._floor / part.inclusion
        self.better, self.worse = self.better.bet(weighted), self.worse.bet(-weighted)
        self._count_right(truth, champion=champion, challenger=challenger)
        self._count_escape(truth, part=part, challenger=challenger)
        return True

    def _objection(self, part: LabelledPart) -> str | None:
        if part.stream not in self._streams:
            return f"stream {part.stream}"
        if part.challenger is None or part.challenger == part.champion:
            return "no disagreement"
        accepts = self._costs.accepts(part.challenger) and not self._costs.accepts(part.champion)
        floor = self._accept_floor if accepts else self._floor
        for refused, why in (
            (not part.blind, "labeller saw the model's answer"),
            (part.labeller in self._barred, "labeller barred"),
            (part.event_id in self._answered, "duplicate"),
            (part.event_id not in self._open | self._answered, "never drawn"),
            (not floor - 1e-9 <= part.inclusion <= 1.0, "inclusion probability outside what was declared"),
        ):
            if refused:
                return why
        return None

    def _count_right(self, truth: int, *, champion: int, challenger: int) -> None:
        self.wins += challenger == truth
        self.losses += champion == truth

    def _count_escape(self, truth: int, *, part: LabelledPart, challenger: int) -> None:
        before = self._costs.escapes(truth, decided=part.champion)
        after = self._costs.escapes(truth, decided=challenger)
        if after and not before:
            self.n_introduced += 1
            self.escapes.introduced(inclusion=part.inclusion)
        elif before and not after:
            self.n_removed += 1
            self.escapes.removed(inclusion=part.inclusion)
        else:
            self.escapes.still(1)
