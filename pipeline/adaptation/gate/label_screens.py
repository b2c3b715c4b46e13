"""Is a batch of labels fit to be believed? One that is not goes to quarantine, with reasons, to be labelled twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.adaptation.gate.values import LabelBatch, LabelledPart


@dataclass(frozen=True, slots=True)
class ScreenSettings:
    """Limits; counts are labels, shares are of the labels that a screen speaks about."""

    max_honeypot_errors: int = 1  # all-OK batches miss 7 of 8, a swap of two classes 2
    parts_per_honeypot: int = 9
    max_class_share: float = 0.9
    class_share_surprise: float = 0.3  # above what the heads decided on the same parts
    max_labeller_share: float = 0.6
    confident: float = 0.95
    max_contradictions: float = 0.1  # of what the champion is confident of
    max_unbacked: float = 0.25  # labels that neither a head nor the nearest support parts back
    swap_share: float = 0.5  # of one class's parts that carry one same other label
    min_swapped: int = 3
    max_entropy_change: float = 0.6  # nats, against the heads' decisions
    labeller_chance: float = 0.001  # that a labeller as good as the others errs this often
    min_second_agreement: float = 0.9
    min_parts: int = 10  # below that a share says nothing


@dataclass(frozen=True, slots=True)
class ScreenReport:
    """Whether the batch may be used; `reasons` are for the operator, in plain words."""

    batch_id: str
    reasons: tuple[str, ...]
    honeypot_errors: int
    n_honeypots: int

    @property
    def quarantined(self) -> bool:
        """True when at least one screen objects."""
        return bool(self.reasons)


def screen_batch(batch: LabelBatch, *, settings: ScreenSettings | None = None) -> ScreenReport:
    """All screens over one batch. A batch labelled twice is held only for honeypots and for labellers who differ."""
    limits = settings or ScreenSettings()
    wrong = sum(one.answer != one.truth for one in batch.honeypots)
    found = [_honeypots(batch, wrong=wrong, limits=limits)]
    if batch.double_labelled:
        found.append(_second_opinion(batch.parts, limits=limits))
    else:
        found.append(_one_labeller_did_most(batch, limits=limits))
        if len(batch.parts) >= limits.min_parts:
            found += [
                _one_class(batch.parts, limits=limits),
                _entropy(batch.parts, limits=limits),
                _contradictions(batch.parts, limits=limits),
                _unbacked(batch.parts, limits=limits),
                _swap(batch.parts, limits=limits),
                _odd_labeller(batch, limits=limits),
            ]
    return ScreenReport(batch.batch_id, tuple(one for one in found if one), wrong, len(batch.honeypots))


def _honeypots(batch: LabelBatch, *, wrong: int, limits: ScreenSettings) -> str | None:
    due = math.ceil(len(batch.parts) / limits.parts_per_honeypot)
    if len(batch.honeypots) < due:
        return f"honeypots: {len(batch.honeypots)} came back of {due} due for {len(batch.parts)} labels"
    if wrong > limits.max_honeypot_errors:
        return f"honeypots: {wrong} of {len(batch.honeypots)} known parts are labelled wrong"
    return None


def _second_opinion(parts: tuple[LabelledPart, ...], *, limits: ScreenSettings) -> str | None:
    share = sum(part.truth == part.second for part in parts) / len(parts)
    if share < limits.min_second_agreement:
        return f"second opinion: the two labellers agree on {share:.0%} only"
    return None


def _one_labeller_did_most(batch: LabelBatch, *, limits: ScreenSettings) -> str | None:
    if not batch.parts:
        return None
    name, n = Counter(part.labeller for part in batch.parts).most_common(1)[0]
    if n / len(batch.parts) > limits.max_labeller_share:
        return f"one labeller: {name} gave {n} of {len(batch.parts)} labels"
    return None


def _backed(part: LabelledPart) -> bool:
    """Whether a head or the support set says what the labeller says; parts were chosen because some of them err."""
    return part.truth in (part.champion, part.challenger, part.neighbour)


def _one_class(parts: tuple[LabelledPart, ...], *, limits: ScreenSettings) -> str | None:
    label, n = Counter(part.truth for part in parts).most_common(1)[0]
    share = n / len(parts)
    expected = sum(label in (part.champion, part.challenger) for part in parts) / len(parts)
    if share > limits.max_class_share and share - expected > limits.class_share_surprise:
        return f"one class: {share:.0%} of the labels are class {label}, a head says so of {expected:.0%}"
    return None


def _entropy(parts: tuple[LabelledPart, ...], *, limits: ScreenSettings) -> str | None:
    given = entropy(part.truth for part in parts)
    heads = [entropy(part.champion for part in parts)]
    if all(part.challenger is not None for part in parts):
        heads.append(entropy(part.challenger for part in parts if part.challenger is not None))
    if given > max(heads) + limits.max_entropy_change or given < min(heads) - limits.max_entropy_change:
        way = "far more even" if given > max(heads) else "far more alike"
        said = " and ".join(f"{one:.2f}" for one in heads)
        return f"label entropy: labels are {way} than the decisions on the same parts ({given:.2f} against {said} nats)"
    return None


def _contradictions(parts: tuple[LabelledPart, ...], *, limits: ScreenSettings) -> str | None:
    sure = [part for part in parts if part.champion_confidence >= limits.confident]
    n = sum(not _backed(part) for part in sure)
    if len(sure) >= limits.min_parts and n > limits.max_contradictions * len(sure):
        return f"contradictions: {n} of {len(sure)} labels contradict a live head that is sure, and nothing backs them"
    return None


def _unbacked(parts: tuple[LabelledPart, ...], *, limits: ScreenSettings) -> str | None:
    near = [part for part in parts if part.neighbour is not None]
    n = sum(not _backed(part) for part in near)
    if len(near) >= limits.min_parts and n > limits.max_unbacked * len(near):
        return f"neighbours: {n} of {len(near)} labels are neither a head's nor those of the nearest support parts"
    return None


def _swap(parts: tuple[LabelledPart, ...], *, limits: ScreenSettings) -> str | None:
    by_neighbour = Counter(part.neighbour for part in parts if part.neighbour is not None)
    pairs = Counter((p.neighbour, p.truth) for p in parts if p.neighbour is not None and not _backed(p))
    for (here, there), n in pairs.most_common():
        if n >= limits.min_swapped and n > limits.swap_share * by_neighbour[here]:
            return f"class swap: {n} of {by_neighbour[here]} parts among class {here} are labelled class {there}"
    return None


def _odd_labeller(batch: LabelBatch, *, limits: ScreenSettings) -> str | None:
    """One person against the rest, by what the heads, the support set and the honeypots say."""
    asked: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    answers = [(part.labeller, _backed(part)) for part in batch.parts]
    for name, right in answers + [(one.labeller, one.answer == one.truth) for one in batch.honeypots]:
        asked[name] += 1
        wrong[name] += not right
    for name, n in asked.items():
        others = asked.total() - n
        rate = max((wrong.total() - wrong[name]) / others if others else 0.0, 0.05)
        if others and binomial_tail(n, at_least=wrong[name], chance=rate) < limits.labeller_chance:
            return f"odd labeller: {name} errs on {wrong[name]} of {n} parts, the others on {rate:.0%} at most"
    return None


def entropy(labels: Iterable[int]) -> float:
    """Shannon entropy of the shares, nats."""
    counts = Counter(labels)
    n = counts.total()
    return -sum(count / n * math.log(count / n) for count in counts.values())


def binomial_tail(n: int, *, at_least: int, chance: float) -> float:
    """P(X >= at_least) for X ~ Binomial(n, chance)."""
    return sum(math.comb(n, k) * chance**k * (1.0 - chance) ** (n - k) for k in range(at_least, n + 1))
