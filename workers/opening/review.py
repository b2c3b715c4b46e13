"""The review page of a line, from the section `review`; None where it is not to be served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from starlette.types import ASGIApp

from pipeline.adaptation.lifecycle.states import RunState
from pipeline.adaptation.support.replaying import RecordingReader
from pipeline.adaptation.support.store import SupportStore
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import ConfigError, DataError
from pipeline.heads.bundles import registry
from pipeline.interfaces import Clock, Head
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Decision, EncoderInfo, Prediction, Roi
from workers.adaptation.facts import FOUNDER
from workers.adaptation.files import AdaptationFiles
from workers.clock import SystemClock
from workers.config.adaptation import AdaptationConfig
from workers.config.cameras import CameraConfig
from workers.config.line import ArchiveSinkConfig, LineConfig
from workers.config.loading import read_secret
from workers.config.review import ReviewUserConfig
from workers.live_head import LiveHead
from workers.opening.sinks import open_archive_reader
from workers.review.access import Access, Role, User, is_loopback, password_hash, token_hash
from workers.review.answers import Answers
from workers.review.app import review_app
from workers.review.drift_facts import DriftFacts, Needs
from workers.review.first_pictures import FirstPictures
from workers.review.labelled_folder import LabelledFolder
from workers.review.line_backend import LineBackend, Picture
from workers.review.line_heads import LineHeads
from workers.review.reasons import Reasons, Recorded
from workers.sinks.archive_reader import ArchiveReader
from workers.wall import Wall

log = structlog.get_logger()

LOOK_BACK_S = 6 * 3600.0


def open_first_pictures(
    config: LineConfig, *, carried: Sequence[CameraConfig], head: Head, clock: Clock
) -> FirstPictures | None:
    """Where people label and no support store keeps what they say; `carried` cameras come over a topic.

    Raises ConfigError where the pictures cannot be kept.
    """
    if not config.asks_for_first_pictures:
        return None
    cameras = carried or config.cameras
    regions = {(camera.id, roi.id): roi.to_roi() for camera in cameras for roi in camera.rois}
    is_cut_by_fit = len({replace(roi, roi_id="") for roi in regions.values()}) == 1
    return FirstPictures(
        LabelledFolder(config.review.labelled, classes=head.classes),
        classes=head.classes,
        region=lambda ref: regions.get((ref.source_id, ref.roi_id), Roi()),
        is_cut_by_fit=is_cut_by_fit,
        n_wanted=config.review.per_class,
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class RunningLine:
    """What the page may ask of a line, and do to it."""

    wall: Wall
    live: Callable[[], LiveHead]
    sources: Callable[[], Mapping[str, Mapping[str, Any]]]  # /status's
    state: Callable[[], RunState | None]  # None without adaptation
    first: FirstPictures | None
    drift: DriftFacts
    by_hand: Callable[[int], None] | None  # makes a version live, where no loop does it


def open_review(config: LineConfig, *, encoder: EncoderBundle, line: RunningLine, clock: SystemClock) -> ASGIApp | None:
    """Raises ConfigError where it is wanted and may not be served."""
    access = _access(config, clock=clock)
    if access is None:
        return None
    backend = open_backend(config, encoder=encoder, line=line, clock=clock)
    return review_app(backend, access=access, language=config.review.language, clock=clock)


def open_backend(config: LineConfig, *, encoder: EncoderBundle, line: RunningLine, clock: Clock) -> LineBackend:
    """The page's side of a running line."""
    head, given, info = config.head, config.adaptation, encoder.image.info
    files = None if given is None else AdaptationFiles(given.folder)
    heads = LineHeads(
        head.registry / head.name,
        encoder=info,
        live=line.live,
        state=line.state,
        files=files,
        by_hand=line.by_hand,
        clock=clock,
    )
    picture, archive = _pictures(config, first=line.first), _archive(config)
    reasons = Reasons(
        wall=line.wall,
        live=line.live,
        bundle=heads.bundle,
        recorded=_recorded(files, info=info, clock=clock),
        decision=_archived_decision(archive),
        has_picture=lambda name: picture(name) is not None,
    )
    return LineBackend(
        wall=line.wall,
        sources=line.sources,
        live=line.live,
        state=line.state,
        answers=None if files is None else open_answers(config, encoder=encoder, clock=clock, wall=line.wall),
        first=line.first,
        picture=picture,
        archived=(lambda _: None) if archive is None else archive.read,
        reasons=reasons,
        drift=line.drift,
        needs=_needs(given),
        heads=heads,
        names={} if head.texts is None else {c.class_id: c.name for c in load_dictionary(head.texts).classes},
        good=frozenset(config.decision.good_classes),
        clock=clock,
    )


def _needs(given: AdaptationConfig | None) -> Needs:
    if given is None:
        return Needs(0, 0, 0, 0)
    gate, labels = given.gate, given.labels
    return Needs(labels.teach, labels.gate, given.drift.advisory_parts, gate.probation_parts)


def _pictures(config: LineConfig, *, first: FirstPictures | None) -> Picture:
    """By event id: what people label, what adaptation keeps; by class/name: what a head was fitted on."""
    kept = _kept_pictures(None if config.adaptation is None else AdaptationFiles(config.adaptation.folder))

    def read(event_id: str) -> bytes | None:
        found = (None if first is None else first.picture(event_id)) or kept(event_id) or kept(f"{FOUNDER}{event_id}")
        return _labelled(config.review.labelled, name=event_id) if found is None else found

    return read


def _labelled(folder: Path, *, name: str) -> bytes | None:
    path = (folder / name).resolve()
    if "/" not in name or not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    return path.read_bytes()


def _archived_decision(archive: ArchiveReader | None) -> Callable[[str], Decision | None]:
    def find(event_id: str) -> Decision | None:
        kept = None if archive is None else archive.event(event_id)
        return None if kept is None else Decision(kept.decision)

    return find


def _recorded(files: AdaptationFiles | None, *, info: EncoderInfo, clock: Clock) -> Callable[[str], Recorded | None]:
    """Of the last hours: older ones would take long to find."""
    if files is None:
        return lambda _event_id: None
    reader = RecordingReader(files.recording, encoder=info)

    def find(event_id: str) -> Recorded | None:
        try:
            found = reader.find([event_id], since=clock.utc() - LOOK_BACK_S).get(event_id)
        except (DataError, OSError):
            return None
        if found is None:
            return None
        return Recorded(
            captured_at=float(found.captured_at[0]),
            confidence=float(found.confidences[0]),
            head_version=int(found.head_versions[0]),
            embedding=found.embeddings[0],
        )

    return find


def _access(config: LineConfig, *, clock: SystemClock) -> Access | None:
    """Who may enter; None where the page is not served."""
    given = config.review
    if given.enabled is False:
        return None
    if given.enabled is None and not is_loopback(config.server.host) and not given.users:
        log.info("review page not served: other machines can reach this port, and review.users names nobody")
        return None
    access = Access([_user(one) for one in given.users], clock=clock)
    access.check_host(config.server.host)
    return access


def _kept_pictures(files: AdaptationFiles | None) -> Picture:
    """Pictures by event id, of those that adaptation keeps."""
    if files is None:
        return lambda _event_id: None
    from workers.adaptation.pictures import PictureStore

    return PictureStore(files.folder / "pictures", max_bytes=0).read


def _archive(config: LineConfig) -> ArchiveReader | None:
    """Where the line keeps whole pictures."""
    given = next((sink for sink in config.sinks if isinstance(sink, ArchiveSinkConfig)), None)
    return None if given is None else open_archive_reader(given)


def open_answers(config: LineConfig, *, encoder: EncoderBundle, clock: Clock, wall: Wall | None = None) -> Answers:
    """Questions and labels of a line with adaptation, on a connection of their own. Raises ConfigError without it."""
    if config.adaptation is None:
        raise ConfigError("labels: expected the section adaptation, got none; see configs/example.yaml")
    files = AdaptationFiles(config.adaptation.folder)
    kept, archive = _kept_pictures(files), _archive(config)
    live = registry.load(config.head.registry / config.head.name, encoder=None)

    def seen(event_id: str) -> Prediction | None:
        shown = None if wall is None else wall.shown(event_id)
        return None if shown is None else shown.prediction

    return Answers(
        SupportStore(files.support, encoder=encoder.image.info),
        classes=live.head.classes,
        knows_event=lambda event_id: seen(event_id) is not None or kept(event_id) is not None,
        clock=clock,
        zone=None,
        on_labelled=(lambda _event_id: None) if archive is None else archive.pin,
        seen=seen,
    )


def _user(given: ReviewUserConfig) -> User:
    return User(
        given.name,
        Role[given.role.upper()],
        password_hash=None if given.password_file is None else password_hash(read_secret(given.password_file)),
        token_hash=None if given.token_file is None else token_hash(read_secret(given.token_file)),
    )
