"""Labels and pictures from files into the support store, each judged, and counted per file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.adaptation.support.exchange import read_labels
from pipeline.adaptation.support.exemplars import Exemplar, SupportContext, as_fp16
from pipeline.adaptation.support.folders import read_label_file
from pipeline.adaptation.support.intake import QUARANTINED, LabelIntake, Outcome, Taken
from pipeline.adaptation.support.label_queue import LabelQueue
from pipeline.adaptation.support.replaying import RecordingReader
from pipeline.adaptation.support.store import SupportStore
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import BundleError, ConfigError
from pipeline.heads.bundles import registry
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import EncoderInfo
from workers.adaptation.files import AdaptationFiles
from workers.commands.adaptation_opening import head_folder
from workers.commands.head_support import OpenedSupport, Progress, open_support
from workers.config.line import LineConfig

MAX_REASONS = 10  # told per file; all of them are in the store's quarantine
TOGETHER = 256  # labels in one transaction: few waits for the disk, and a running line does not wait long for us
FOUNDERS = "founders"  # the source of exemplars that no camera of the line has seen
REGION = "full"

GOOD = (Outcome.ACCEPTED, Outcome.DOUBLE_LABELLED, Outcome.CORRECTED, Outcome.HONEYPOT)
UNKNOWN = (Outcome.UNKNOWN_EVENT, Outcome.UNKNOWN_CLASS, Outcome.UNKNOWN_STREAM)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file or folder."""

    path: str
    what: str  # labels, founders
    n_accepted: int
    n_duplicate: int
    n_contradiction: int
    n_unknown: int  # event, class or stream
    n_quarantined: int  # contradictions and unknown ones included
    outcomes: Mapping[str, int]
    reasons: tuple[str, ...]  # the first of them


def import_labels(
    path: Path, *, store: SupportStore, classes: Collection[str], files: AdaptationFiles, at: float
) -> Imported:
    """One file of labels: JSON lines, CSV or Parquet. Raises DataError where the file itself cannot be read."""
    rows = list(_rows(path))
    event_ids = {str(row.get("event_id")) for _, row in rows}
    recorded = _recorded(event_ids, files=files, encoder=store.database.encoder)
    queue = LabelQueue(store.database)

    def knows(event_id: str) -> bool:
        return event_id in recorded or queue.knows(event_id) or bool(store.labels.of(event_id))

    intake = LabelIntake(store, classes=classes, knows_event=knows)
    taken = list[Taken]()
    for begin in range(0, len(rows), TOGETHER):
        with store.writing():
            taken += [intake.take(row, at=at, where=where) for where, row in rows[begin : begin + TOGETHER]]
    return _counted(path, taken)


def import_founders(
    folder: Path,
    *,
    config: LineConfig,
    store: SupportStore,
    encoder: EncoderBundle,
    product: str,
    shots: int,
    at: float,
    progress: Progress,
) -> Imported:
    """A folder of pictures per class: encoded as `head fit` does, kept as exemplars that never change. Blocks."""
    opened = open_support(folder, config=config, shots=shots, encoder=encoder, progress=progress)
    founders = _founders(opened, product=product)
    added = store.add_founders(founders, at=at)
    bad, n_copies = opened.support.bad, len(opened.support.files) - len(founders)
    return Imported(
        path=str(folder),
        what="founders",
        n_accepted=added.n_added,
        n_duplicate=added.n_known + n_copies,
        n_contradiction=0,
        n_unknown=0,
        n_quarantined=len(bad),
        outcomes={"added": added.n_added, "known": added.n_known, "copies": n_copies, "unreadable": len(bad)},
        reasons=tuple(f"{one.path}: {one.reason}" for one in bad[:MAX_REASONS]),
    )


def _founders(opened: OpenedSupport, *, product: str) -> list[Exemplar]:
    """One per picture; a copy of a picture teaches nothing new. Named as the running line names its own."""
    info, labelled = opened.encoder.image.info, opened.support.features
    context = SupportContext(FOUNDERS, REGION, product, info.sha256, info.preprocessing_sha256)
    found: dict[int, Exemplar] = {}
    for row, path in enumerate(opened.support.files):
        name = f"{path.parent.name}/{path.name}"
        if int(labelled.groups[row]) not in found:
            found[row] = Exemplar(
                event_id=f"founder-{name}",
                label=labelled.classes[int(labelled.labels[row])],
                context=context,
                embedding=as_fp16(labelled.features.image[row]),
                part=name,
            )
    return list(found.values())


def known_classes(config: LineConfig) -> tuple[str, ...]:
    """Of the live head and of the texts: a class with texts may be labelled before a head knows it."""
    found: set[str] = set()
    try:
        found |= set(registry.load(head_folder(config), encoder=None).head.classes)
    except BundleError:
        if config.head.texts is None:
            raise
    if config.head.texts is not None:
        found |= set(load_dictionary(config.head.texts).class_ids)
    if not found:
        raise ConfigError("labels: expected classes of a live head or of head.texts, got none; fit a head first")
    return tuple(sorted(found))


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix.lower() != ".parquet":
        return read_label_file(path)
    return ((f"{path}: row {number}", label.to_json()) for number, label in enumerate(read_labels(path)))


def _recorded(event_ids: set[str], *, files: AdaptationFiles, encoder: EncoderInfo) -> frozenset[str]:
    if not files.recording.is_dir():
        return frozenset()
    return frozenset(RecordingReader(files.recording, encoder=encoder).find(event_ids))


def _counted(path: Path, taken: list[Taken]) -> Imported:
    counts = Counter(one.outcome for one in taken)
    return Imported(
        path=str(path),
        what="labels",
        n_accepted=sum(counts[one] for one in GOOD),
        n_duplicate=counts[Outcome.DUPLICATE],
        n_contradiction=counts[Outcome.CONTRADICTION],
        n_unknown=sum(counts[one] for one in UNKNOWN),
        n_quarantined=sum(counts[one] for one in QUARANTINED),
        outcomes={outcome.value: n for outcome, n in sorted(counts.items())},
        reasons=tuple(one.reason for one in taken if one.quarantined)[:MAX_REASONS],
    )
