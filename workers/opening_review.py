"""The review page of a line, from the section `review`; None where it is not to be served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from starlette.types import ASGIApp

from pipeline.adaptation.lifecycle.states import RunState
from pipeline.adaptation.support.store import SupportStore
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import ConfigError
from pipeline.heads import registry
from pipeline.interfaces import Clock, Head
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Roi
from workers.adaptation_files import AdaptationFiles
from workers.clock import SystemClock
from workers.config import ArchiveSinkConfig, LineConfig
from workers.config_cameras import CameraConfig
from workers.config_loading import read_secret
from workers.config_review import ReviewUserConfig
from workers.inference import LiveHead
from workers.opening_sinks import open_archive_reader
from workers.review.access import Access, Role, User, is_loopback, password_hash, token_hash
from workers.review.answers import Answers
from workers.review.app import review_app
from workers.review.first_pictures import FirstPictures
from workers.review.labelled_folder import LabelledFolder
from workers.review.line_backend import LineBackend, Picture
from workers.sinks.archive_reader import ArchiveReader
from workers.wall import Wall

log = structlog.get_logger()

DEFAULT_TEACH = 64


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


def open_review(
    config: LineConfig,
    *,
    encoder: EncoderBundle,
    wall: Wall,
    live: Callable[[], LiveHead],
    first: FirstPictures | None,
    sources: Callable[[], Mapping[str, Mapping[str, Any]]],
    state: Callable[[], RunState | None],
    clock: SystemClock,
) -> ASGIApp | None:
    """Raises ConfigError where it is wanted and may not be served."""
    access = _access(config, clock=clock)
    if access is None:
        return None
    head, adaptation = config.head, config.adaptation
    files = None if adaptation is None else AdaptationFiles(adaptation.folder)
    kept, archive = _kept_pictures(files), _archive(config)
    backend = LineBackend(
        wall=wall,
        sources=sources,
        live=live,
        state=state,
        answers=None if files is None else open_answers(config, encoder=encoder, clock=clock),
        first=first,
        picture=kept if first is None else first.picture,
        archived=(lambda _: None) if archive is None else archive.read,
        files=files,
        heads=head.registry / head.name,
        names={} if head.texts is None else {c.class_id: c.name for c in load_dictionary(head.texts).classes},
        good=frozenset(config.decision.good_classes),
        teach=DEFAULT_TEACH if adaptation is None else adaptation.labels.teach,
        clock=clock,
    )
    return review_app(backend, access=access, language=config.review.language, clock=clock)


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


def open_answers(config: LineConfig, *, encoder: EncoderBundle, clock: SystemClock) -> Answers:
    """Questions and labels of a line with adaptation, on a connection of their own. Raises ConfigError without it."""
    if config.adaptation is None:
        raise ConfigError("labels: expected the section adaptation, got none; see configs/example.yaml")
    files = AdaptationFiles(config.adaptation.folder)
    kept, archive = _kept_pictures(files), _archive(config)
    live = registry.load(config.head.registry / config.head.name, encoder=None)
    return Answers(
        SupportStore(files.support, encoder=encoder.image.info),
        classes=live.head.classes,
        knows_event=lambda event_id: kept(event_id) is not None,
        clock=clock,
        zone=None,
        on_labelled=(lambda _event_id: None) if archive is None else archive.pin,
    )


def _user(given: ReviewUserConfig) -> User:
    return User(
        given.name,
        Role[given.role.upper()],
        password_hash=None if given.password_file is None else password_hash(read_secret(given.password_file)),
        token_hash=None if given.token_file is None else token_hash(read_secret(given.token_file)),
    )
