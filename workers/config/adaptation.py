"""The configuration of adaptation: what is recorded, when drift alarms, who labels, what a new head has to prove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from workers.config.cameras import Positive, StrictModel

Portion = Annotated[float, Field(gt=0, lt=1)]
Above0 = Annotated[float, Field(gt=0)]


class RecordingConfig(StrictModel):
    """Embeddings of all parts, about 1 KB each, for references, pools and time travel."""

    max_gb: Above0 = 4.0
    """Beyond it (GB = 10^9 bytes) the oldest go."""
    max_age_days: Above0 = 14.0


class DriftConfig(StrictModel):
    """Charts against a reference that `clearline drift reference` makes from the recording."""

    false_alarms: Above0 = 1.0
    """So many false alarms, per camera, in false_alarm_days."""
    false_alarm_days: Above0 = 30.0
    advisory_parts: Positive = 20_000
    """A shorter reference is refused."""
    active_parts: Positive = 100_000
    """A shorter reference draws charts but calls nobody."""
    mix_active_parts: Positive = 300_000
    """The same for the chart of the class mix, which remembers longest."""
    correlation_times: Above0 = 300.0
    """A reference must be so many times as long as the line's own slow wander."""
    gather_parts: Positive = 64
    """Parts of one camera that are charted together."""


class LabelsConfig(StrictModel):
    """What people are asked."""

    teach: Positive = 64
    """Frames to label before a challenger is fitted."""
    gate: Positive = 300
    """Disagreements to label at most before the gate gives up."""
    per_hour: Positive = 120
    expire_hours: Above0 = 24.0
    audit_accepted: Portion = 0.005
    """Share of accepted parts that are looked at again, drawn at random."""
    audit_rejected: Portion = 0.1


class GateConfig(StrictModel):
    """What a challenger has to prove before it may go live."""

    auto_promote: bool = False
    """true: after five approvals in a row that agreed with the gate, it promotes by itself."""
    alpha: Portion = 0.05
    """Chance of promoting a head that is not better; 0.01 is advised with auto_promote."""
    escape_limit: Portion = 0.001
    """More escapes per part than now are shown to be less than this."""
    min_frames: Positive = 2000
    """In the shadow, before it may be promoted."""
    max_hours: Above0 = 24.0
    probation_parts: Positive = 5000
    probation_hours: Above0 = 8.0
    cooldown_minutes: Above0 = 30.0
    """After a run that ended without a new head; doubles each time."""


class AdaptationConfig(StrictModel):
    """The loop that keeps a head fit to its line; needs a head of a kind that uses the embedding alone."""

    folder: Path = Path("runs/adaptation")
    """Recording, support store, references, state, audit log."""
    product: str = "default"
    """Its references are its own: a changeover is no drift."""
    recording: RecordingConfig = RecordingConfig()
    drift: DriftConfig = DriftConfig()
    labels: LabelsConfig = LabelsConfig()
    gate: GateConfig = GateConfig()
