"""Why one picture got its label: rival, confusion removed, and what each text and labelled image adds to the margin.

What comes from texts is exact. A zero-shot prior is linear in its class vectors, and those are combinations of
their class's texts; it counts with the weight the head gives it (1 in a deconfusion head, whose logits are the
prior less the confusion). Each text counts less what all classes' texts get on average, which cancels in a margin.
CODER's texts have their votes, less what they say about every part.

What comes from images is exact where images are multiplied: kernel times coefficient (kernel ridge, Tip-Adapter),
the votes of CODER-Adapter, the products of an image-prototype head. Where a matrix or a network was fitted to
images (affine heads, the deconfusion network, image prototypes as a prior) no image has a share by arithmetic: what
is left of a class's logit, less the mean over classes, goes to that class's images by a softmax of their cosines,
the winner's for and the rival's against the margin. That is an attribution, and `support_is_exact` says so.

Blends are weighted sums of their parts. What has no evidence, and CODER's second stage, is in `other`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from pipeline.attribution import Question, Shares, SupportShare, TextShare, shares_of
from pipeline.decision.probabilities import softmax
from pipeline.errors import DataError
from pipeline.heads.bundles.evidence import Evidence
from pipeline.heads.fitted import AnyHead
from pipeline.types import Features

TOP_K = 5  # texts and images shown

Share = TypeVar("Share", TextShare, SupportShare)


@dataclass(frozen=True, slots=True)
class Rest:
    """All that is not listed one by one."""

    n: int
    contribution: float  # logit units


@dataclass(frozen=True, eq=False)
class Explanation:
    """Winner against rival, logit units: margin = texts + other_texts + support + other_support + other."""

    winner: str
    rival: str  # the second best
    zero_shot: str  # the winner before
    confidence: float  # calibrated probability of the winner
    rival_confidence: float
    margin: float  # winner minus rival, after
    raw_margin: float  # the same for the prior alone
    removed: float  # margin - raw_margin
    confusion: dict[str, float]  # taken off each class's logit, less the mean over classes
    texts: tuple[TextShare, ...]  # at most top_k, the largest first whatever their sign
    other_texts: Rest
    support: tuple[SupportShare, ...]  # at most top_k of those with a share, the nearest first
    other_support: Rest
    support_is_exact: bool  # False: shared out by likeness
    other: float  # neither text nor image

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def explain(
    head: AnyHead, *, features: Features, temperature: float, evidence: Evidence, top_k: int = TOP_K
) -> Explanation:
    """One row of features against the head that scores it; raises DataError on more rows or fewer than two classes.

    The rules of attribution stand at the top of this module; they are exact but where `support_is_exact` is False.
    """
    if features.image.shape[0] != 1 or len(head.classes) < 2:
        raise DataError(
            f"explanation: expected one row of features and at least two classes, got {features.image.shape[0]} rows "
            f"and {len(head.classes)} classes; hand over one picture at a time"
        )
    scores = head.score(features)
    logits, zero_shot = scores.logits[0].astype(np.float64), scores.zero_shot[0].astype(np.float64)
    winner, rival = np.argsort(-logits, kind="stable")[:2].tolist()
    margin, raw_margin = float(logits[winner] - logits[rival]), float(zero_shot[winner] - zero_shot[rival])
    probabilities = softmax(scores.logits / np.float32(temperature))[0]
    removed = zero_shot - logits
    shares = shares_of(head, question=Question(features, winner, rival), evidence=evidence)
    texts, other_texts = _first(sorted(shares.texts, key=lambda text: -abs(text.contribution)), top_k=top_k)
    support, other_support = _first(sorted(shares.support, key=lambda image: -image.cosine), top_k=top_k)
    return Explanation(
        winner=head.classes[winner],
        rival=head.classes[rival],
        zero_shot=head.classes[int(scores.zero_shot[0].argmax())],
        confidence=float(probabilities[winner]),
        rival_confidence=float(probabilities[rival]),
        margin=margin,
        raw_margin=raw_margin,
        removed=margin - raw_margin,
        confusion=dict(zip(head.classes, (removed - removed.mean()).tolist(), strict=True)),
        texts=texts,
        other_texts=other_texts,
        support=support,
        other_support=other_support,
        support_is_exact=shares.exact,
        other=margin - _total(shares),
    )


def _first(ranked: Sequence[Share], *, top_k: int) -> tuple[tuple[Share, ...], Rest]:
    rest = ranked[top_k:]
    return tuple(ranked[:top_k]), Rest(len(rest), float(sum(share.contribution for share in rest)))


def _total(shares: Shares) -> float:
    return sum(text.contribution for text in shares.texts) + sum(image.contribution for image in shares.support)
