"""Heads of a running line for the review page: what there is, and what an approver may do about it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pipeline.adaptation.gate.values import Check, GateDecision, GateReport
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.errors import BundleError, DataError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.interfaces import Clock
from pipeline.types import EncoderInfo
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.requests import RequestKind, product_name, submit
from workers.live_head import LiveHead
from workers.review.backend import HeadRow, Heads, HeadStatus

NO_LOOP = "expected adaptation in the configuration, got none, so nothing changes by itself; see configs/example.yaml"


class LineHeads:
    """Any thread may call. With adaptation its loop is asked, which moves heads within about a second."""

    def __init__(
        self,
        folder: Path,
        *,
        encoder: EncoderInfo,
        live: Callable[[], LiveHead],
        state: Callable[[], RunState | None],
        files: AdaptationFiles | None,
        by_hand: Callable[[int], None] | None,
        clock: Clock,
    ) -> None:
        """`by_hand` makes a version live where no loop does it."""
        self.folder, self._encoder, self._live, self._state = folder, encoder, live, state
        self._files, self._by_hand, self._clock = files, by_hand, clock
        self._bundles: dict[int, HeadBundle | None] = {}  # they never change
        self._moving = threading.Lock()

    def bundle(self, version: int) -> HeadBundle | None:
        """None for one that does not fit this line, or is gone."""
        if version not in self._bundles:
            try:
                self._bundles[version] = registry.load(self.folder, encoder=self._encoder, version=version)
            except BundleError:
                self._bundles[version] = None
        return self._bundles[version]

    def heads(self) -> Heads:
        """Versions in the registry, the newest first."""
        state, live = self._state(), self._live().decider.identity.version
        back = self._back(state)
        rows = [self._row(n, live=live, back=back, state=state) for n in reversed(registry.versions(self.folder))]
        frozen = state is not None and state.state is State.HOLD
        by, _, why = ("" if state is None else state.hold_reason).partition(": ")
        return Heads(
            tuple(row for row in rows if row is not None),
            live,
            back,
            frozen=frozen,
            frozen_by=by,
            frozen_reason=why,
            may_freeze=state is not None,
        )

    def approve(self, version: int, *, who: str) -> None:
        """Raises DataError where that version does not wait for approval."""
        state = self._state()
        if state is None or state.state is not State.APPROVAL or state.candidate != version:
            raise DataError(f"head {version}: expected one that waits for approval, got another state; load the page")
        self._submit(RequestKind.APPROVE, who=who, run=state.run or "")

    def promote(self, version: int, *, who: str) -> None:
        """Raises DataError for a version that may not be live."""
        row = next((one for one in self.heads().rows if one.version == version), None)
        if row is None or not row.may_promote:
            raise DataError(f"head {version}: expected one that may be promoted now, got none; load the page of heads")
        if self._files is not None:
            self._submit(RequestKind.PROMOTE, who=who, version=version)
            return
        self._move(version)

    def roll_back(self, who: str) -> None:
        """Raises DataError where nothing was live before."""
        back = self._back(self._state())
        if back is None:
            raise DataError("roll back: expected a head that was live before this one, got none; promote one")
        if self._files is not None:
            self._submit(RequestKind.ROLLBACK, who=who, reason="asked for on the review page")
            return
        self._move(back)

    def _move(self, version: int) -> None:
        assert self._by_hand is not None  # without adaptation there is no loop that would do it
        with self._moving:
            self._by_hand(version)

    def freeze(self, who: str) -> None:
        """Raises DataError without adaptation."""
        self._submit(RequestKind.FREEZE, who=who, reason="asked for on the review page")

    def thaw(self, who: str) -> None:
        """Raises DataError without adaptation."""
        self._submit(RequestKind.THAW, who=who)

    def change_product(self, product: str, *, who: str) -> None:
        """Raises DataError without adaptation, or for a name that is none."""
        self._submit(RequestKind.CHANGEOVER, who=who, product=product_name(product))

    def _submit(self, kind: RequestKind, *, who: str, **values: str | int) -> None:
        if self._files is None:
            raise DataError(f"heads: {NO_LOOP}")
        submit(self._files, kind=kind, by=who, at=self._clock.utc(), **values)

    def _back(self, state: RunState | None) -> int | None:
        """What a rollback goes back to."""
        if state is not None:
            return state.previous
        if not self._live().decider.identity.version:
            return None  # the texts alone decide, as the configuration says
        return next(iter(reversed(registry.versions_before(self.folder))), None)

    def _row(self, number: int, *, live: int, back: int | None, state: RunState | None) -> HeadRow | None:
        bundle = self.bundle(number)
        if bundle is None:
            return None
        status = _status(number, live=live, back=back, state=state)
        fits = self._files is None or not bundle.head.n_levels
        held = state is not None and state.state is State.HOLD
        return HeadRow(
            number,
            status,
            bundle.head.name,
            datetime.fromisoformat(bundle.manifest.provenance["created_at"]).timestamp(),
            None if state is None or state.candidate != number else self._gate(state.run),
            may_approve=status is HeadStatus.AWAITS_APPROVAL,
            may_promote=bool(live) and number != live and fits and not held,
        )

    def _gate(self, run: str | None) -> GateReport | None:
        if run is None or self._files is None:
            return None
        try:
            return gate_report(self._files.gate(run).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _status(number: int, *, live: int, back: int | None, state: RunState | None) -> HeadStatus:
    if number == live:
        return HeadStatus.PROBATION if state is not None and state.on_probation else HeadStatus.LIVE
    if state is not None and state.candidate == number:
        return HeadStatus.AWAITS_APPROVAL if state.state is State.APPROVAL else HeadStatus.SHADOW
    return HeadStatus.RETIRED if number < live or number == back else HeadStatus.CANDIDATE


def gate_report(text: str) -> GateReport:
    """What `GateReport.to_json` wrote."""
    fields = json.loads(text)
    checks = tuple(Check(**one) for one in fields.pop("checks"))
    decision = GateDecision(fields.pop("decision"))
    screens = {name: tuple(why) for name, why in fields.pop("screens").items()}
    return GateReport(**fields, checks=checks, decision=decision, screens=screens)
