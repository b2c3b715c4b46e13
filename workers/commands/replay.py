"""`clearline replay`: what a head would have said of what the line has seen, beside another head or the line itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

import typer

from pipeline.adaptation.gate.ab import ComparisonReport
from pipeline.adaptation.gate.costs import CostMatrix, build_costs
from pipeline.adaptation.support.labels import Label, Stream, standing_of
from pipeline.adaptation.support.replaying import RecordedFrames
from pipeline.adaptation.support.store import SupportStore
from pipeline.decision import Decider, HeadIdentity
from pipeline.errors import BundleError, ConfigError
from pipeline.heads.bundles import registry
from pipeline.types import EncoderInfo
from workers.adaptation.files import AdaptationFiles
from workers.commands.adaptation_opening import ConfigOption, JsonOption, adaptation_of, head_folder, opened_store, say
from workers.commands.recorded import recorded_segments
from workers.commands.replay_scoring import Change, Judge, Known, Tally, Verdict, compare, label_union
from workers.config.line import LineConfig, load_config
from workers.opening.decision import decision_policy
from workers.opening.line import open_encoder

MAX_SHOWN = 10  # kinds of change, and examples
ERRORS_COST_ONE = "no decision.costs: every error and every review counts 1"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found; `against` None: compared with what the line said then."""

    head: int
    against: int | None
    n_frames: int
    labels: Mapping[str, int]
    decisions: Mapping[str, int]
    against_labels: Mapping[str, int]
    against_decisions: Mapping[str, int]
    n_changed: int
    changes: tuple[tuple[str, str, int], ...]  # before, after, how often
    examples: tuple[Change, ...]
    known: Known | None
    against_known: Known | None
    streams: Mapping[str, int]  # why the known parts were labelled
    comparison: ComparisonReport | None
    unit: str  # of the comparison


def replay(
    *,
    config: ConfigOption,
    head: Annotated[int, typer.Option(min=1, help="Version of the head that is asked.")],
    against: Annotated[
        int | None, typer.Option(min=1, help="Another version; default: what the line said then.")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="ISO 8601 with a zone, e.g. 2026-01-31T08:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="ISO 8601 with a zone.")] = None,
    source: Annotated[str | None, typer.Option(help="One camera; default: all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Score recorded embeddings again: counts, changed decisions, and who is right where people have said it."""
    begin = -math.inf if since is None else _instant(since, option="--from")
    end = math.inf if until is None else _instant(until, option="--to")
    done = replay_recording(load_config(config), head=head, against=against, since=begin, until=end, source=source)
    say(asdict(done), text=_told(done), as_json=as_json)


def replay_recording(
    config: LineConfig,
    *,
    head: int,
    against: int | None = None,
    since: float = -math.inf,
    until: float = math.inf,
    source: str | None = None,
    encoder: EncoderInfo | None = None,
) -> Replayed:
    """Everything `replay` does but print; opens the configured encoder unless its identity is handed in. Blocks.

    Raises ConfigError for heads that need more than the recorded embedding.
    """
    _, files = adaptation_of(config)
    info = encoder or open_encoder(config).image.info
    judge = _judge(config, version=head, encoder=info)
    other = None if against is None else _judge(config, version=against, encoder=info)
    labels = _labels(files, encoder=info)
    tally = Tally(frozenset(config.decision.good_classes), {event: label for event, (label, _) in labels.items()})
    beside = _Then(config) if other is None else other
    for frames in recorded_segments(files.recording, encoder=info, since=since, until=until, source=source):
        tally.add(frames, ours=judge.verdicts(frames), others=beside.verdicts(frames))
    return _replayed(tally, config=config, judge=judge, other=other, labels=labels)


class _Then:
    """What the line said: labels are recorded as numbers of the head that decided, decisions are not."""

    def __init__(self, config: LineConfig) -> None:
        self._folder = head_folder(config)
        self._classes: dict[int, tuple[str, ...]] = {}

    def verdicts(self, frames: RecordedFrames) -> list[Verdict | None]:
        """Labels by name; None where that head is no longer there."""
        versions, labels = frames.head_versions.tolist(), frames.labels.tolist()
        known = {version: self._of(version) for version in set(versions)}
        return [
            (known[version][label], None) if 0 <= label < len(known[version]) else None
            for version, label in zip(versions, labels, strict=True)
        ]

    def _of(self, version: int) -> tuple[str, ...]:
        if version not in self._classes:
            try:
                self._classes[version] = registry.load(self._folder, encoder=None, version=version).head.classes
            except BundleError:
                self._classes[version] = ()
        return self._classes[version]


def _judge(config: LineConfig, *, version: int, encoder: EncoderInfo) -> Judge:
    bundle = registry.load(head_folder(config), encoder=encoder, version=version)
    if bundle.head.n_levels:
        raise ConfigError(
            f"replay: expected heads that use the embedding alone, got {bundle.head.name} version {version} with "
            f"{bundle.head.n_levels} levels; fit it again with `clearline head fit` and adaptation on"
        )
    classes = bundle.head.classes
    policy = decision_policy(
        config.decision, classes=classes, held_out=bundle.evidence.held_out, temperature=bundle.temperature
    )
    identity = HeadIdentity(config.head.name, version, bundle.sha256, encoder.name)
    decider = Decider(classes=classes, temperature=bundle.temperature, policy=policy.policy, identity=identity)
    return Judge(version, bundle.head, decider)


def _labels(files: AdaptationFiles, *, encoder: EncoderInfo) -> dict[str, tuple[str, Stream]]:
    """The label that stands and why it was asked for, by event."""
    if not files.support.is_file():
        return {}
    with opened_store(files, encoder=encoder) as store:
        return _standing(store)


def _standing(store: SupportStore) -> dict[str, tuple[str, Stream]]:
    by_event: dict[str, list[Label]] = {}
    for one in store.labels.since(0.0):
        by_event.setdefault(one.event_id, []).append(one)
    found = {}
    for event_id, given in by_event.items():
        standing = standing_of(given, event_id=event_id)
        if standing.label is not None:
            found[event_id] = (standing.label, standing.labels[0].stream)
    return found


def _replayed(
    tally: Tally, *, config: LineConfig, judge: Judge, other: Judge | None, labels: Mapping[str, tuple[str, Stream]]
) -> Replayed:
    comparison, unit = None, ""
    if other is not None and tally.known:
        classes = label_union(judge.head.classes, other.head.classes, tally.truth.values())
        matrix, unit = _costs(config, classes=classes)
        comparison = compare(tally, costs=matrix, classes=classes)
    return Replayed(
        head=judge.version,
        against=None if other is None else other.version,
        n_frames=tally.n_frames,
        labels=dict(tally.labels),
        decisions=dict(tally.decisions),
        against_labels=dict(tally.against_labels),
        against_decisions=dict(tally.against_decisions),
        n_changed=tally.n_changed,
        changes=tuple((*pair, n) for pair, n in tally.changes.most_common()),
        examples=tuple(tally.examples),
        known=tally.figures(),
        against_known=tally.figures(of_other=True),
        streams=dict(Counter(labels[event_id][1].value for event_id in tally.known)),
        comparison=comparison,
        unit=unit,
    )


def _costs(config: LineConfig, *, classes: tuple[str, ...]) -> tuple[CostMatrix, str]:
    """Of the configuration, else all errors alike; exceptions for single pairs are left out."""
    given, good = config.decision.costs, config.decision.good_classes
    known = [name for name in good if name in classes]
    if given is None:
        alike = build_costs(classes, good_classes=known, escape=1.0, overkill=1.0, mix_up=1.0, review=1.0)
        return alike, ERRORS_COST_ONE
    matrix = build_costs(
        classes,
        good_classes=known,
        escape=given.escape,
        overkill=given.overkill,
        mix_up=given.mix_up,
        review=given.review,
    )
    return matrix, given.currency


def _instant(text: str, *, option: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: expected ISO 8601, e.g. 2026-01-31T08:00Z, got: {error}") from error
    if moment.tzinfo is None:
        raise ConfigError(f"{option} {text}: expected a zone, got none; add Z for UTC")
    return moment.timestamp()


def _told(done: Replayed) -> Iterator[str]:
    other = "what the line said then" if done.against is None else f"head {done.against}"
    yield f"{done.n_frames:,} frames under head {done.head}: {_counts(done.labels)}; {_counts(done.decisions)}"
    if done.against_labels:
        told = "; ".join(filter(None, (_counts(done.against_labels), _counts(done.against_decisions))))
        yield f"under {other}: {told}"
    yield f"{done.n_changed:,} are decided otherwise than by {other}"
    yield from (f"  {n:,} times {before} became {after}" for before, after, n in done.changes[:MAX_SHOWN])
    for one in done.examples[:MAX_SHOWN]:
        yield f"  {one.event_id}: {one.before} became {one.after}" + (f", truly {one.truth}" if one.truth else "")
    for name, known in ((f"head {done.head}", done.known), (other, done.against_known)):
        if known is not None:
            yield f"{name}: {_figures(known)}"
    if done.streams and set(done.streams) - {Stream.AUDIT.value}:
        yield f"labelled for: {_counts(done.streams)}; only audit labels are a fair sample of the line"
    if done.comparison is not None:
        saved = done.comparison
        interval = f"{saved.saved_low:+.1f} to {saved.saved_high:+.1f}"
        verdict = saved.verdict.replace("second", f"head {done.head}").replace("first", f"head {done.against}")
        yield f"saved per 1000 known parts: {saved.saved:+.1f} ({interval}; {done.unit}): {verdict}"


def _figures(known: Known) -> str:
    return (
        f"{known.n_right} of {known.n} labels right, {known.n_escaped} of {known.n_defect} defects accepted, "
        f"{known.n_overkilled} of {known.n_good} good parts rejected, {known.n_review} to review"
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))
