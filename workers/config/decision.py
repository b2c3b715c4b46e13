"""The configuration of decisions: what is accepted, what errors cost, what is promised, what counts as unknown."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from workers.config.cameras import ClassId, Share, StrictModel, require_different

Cost = Annotated[float, Field(ge=0)]
Portion = Annotated[float, Field(gt=0, lt=1)]


class CostsConfig(StrictModel):
    """What an error costs, in money per part: then the cheapest action decides instead of a bare probability."""

    escape: Cost = 10.0
    """A defect that is accepted."""
    overkill: Cost = 1.0
    """A good part that is rejected."""
    mix_up: Cost = 1.0
    """A wrong class on the right side of accept and reject."""
    review: Cost = 0.2
    """A person looks."""
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
    pairs: dict[ClassId, dict[str, Cost]] = Field(default_factory=dict)
    """Exceptions: {true class: {decided class or review: cost}}."""
    use_line_mix: bool = False
    """Weigh classes as `line_mix` has them instead of as the support set does: fewer reviews, more escapes."""


class GuaranteeConfig(StrictModel):
    """What is promised from labelled rows that no fit has seen; it holds while the line is as it was then."""

    max_escape: Portion | None = None
    """Share of defects among accepted parts, e.g. 0.005; parts below the probability that keeps it go to review."""
    confidence: Portion = 0.95
    """That the share is kept."""
    set_alpha: Portion | None = None
    """Parts whose conformal set (which holds the truth but for this share of parts) has two verdicts go to review."""


class UnknownConfig(StrictModel):
    """What share of known parts may be called unknown; the limit follows from the held-out rows."""

    novelty_budget: Portion | None = None
    """By distance from all known images; replaces unknown_novelty."""
    text_budget: Portion | None = None
    """By how little the nearest class text stands out; only with texts."""


class DecisionConfig(StrictModel):
    """What the line should do with a part."""

    good_classes: Annotated[tuple[ClassId, ...], Field(min_length=1)]
    """Labels of parts to accept; every other label is a reject."""
    thresholds: dict[ClassId, Share] = Field(default_factory=dict)
    """Per class: below this calibrated probability a label goes to review; replaces review_below."""
    review_below: Share = 0.55
    """Below this calibrated probability a part goes to review; not used with `costs`."""
    unknown_novelty: Annotated[float, Field(gt=0)] | None = 1.0
    """At this distance from all known classes a part is unknown (1: the edge of the support set); null: never."""
    costs: CostsConfig | None = None
    """null: thresholds alone decide."""
    guarantee: GuaranteeConfig | None = None
    unknown: UnknownConfig | None = None
    line_mix: dict[ClassId, Cost] = Field(default_factory=dict)
    """How often each class comes on the line, in any unit; empty: as in the support set."""

    @field_validator("good_classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        require_different(classes, what="classes")
        return classes

    @model_validator(mode="after")
    def _mix_is_given(self) -> DecisionConfig:
        if self.costs is not None and self.costs.use_line_mix and not self.line_mix:
            raise ValueError("must have line_mix with costs.use_line_mix, got none")
        if self.line_mix and not sum(self.line_mix.values()) > 0:
            raise ValueError(f"must have a share above 0 in line_mix, got {self.line_mix}")
        return self
