"""The review page of a line, from the section `review`; None where it is not to be served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from starlette.types import ASGIApp

from pipeline.adaptation.lifecycle.states import RunState
from pipeline.adaptation.support.store import SupportStore
from pipeline.encoders.build import EncoderBundle
from pipeline.heads import registry
from pipeline.texts.dictionary import load_dictionary
from workers.adaptation_files import AdaptationFiles
from workers.clock import SystemClock
from workers.config import LineConfig
from workers.config_loading import read_secret
from workers.config_review import ReviewUserConfig
from workers.review.access import Access, Role, User, is_loopback, password_hash, token_hash
from workers.review.answers import Answers
from workers.review.app import review_app
from workers.review.line_backend import LineBackend
from workers.wall import Wall

log = structlog.get_logger()

DEFAULT_TEACH = 64


def open_review(
    config: LineConfig,
    *,
    encoder: EncoderBundle,
    wall: Wall,
    sources: Callable[[], Mapping[str, Mapping[str, Any]]],
    state: Callable[[], RunState | None],
    clock: SystemClock,
) -> ASGIApp | None:
    """Raises ConfigError where it is wanted and may not be served."""
    given, head = config.review, config.head
    reachable = not is_loopback(config.server.host)
    if given.enabled is False or head.kind == "zero_shot":
        return None
    if given.enabled is None and reachable and not given.users:
        log.info("review page not served: other machines can reach this port, and review.users names nobody")
        return None
    access = Access([_user(one) for one in given.users], clock=clock)
    access.check_host(config.server.host)
    heads = head.registry / head.name
    live = registry.load(heads, encoder=None)
    names = {} if head.texts is None else {c.class_id: c.name for c in load_dictionary(head.texts).classes}
    adaptation = config.adaptation
    files = answers = None
    picture: Callable[[str], bytes | None] = lambda _event_id: None  # noqa: E731
    if adaptation is not None:
        from workers.adaptation.pictures import PictureStore

        files = AdaptationFiles(adaptation.folder)
        kept = PictureStore(files.folder / "pictures", max_bytes=0)
        picture = kept.read
        answers = Answers(
            SupportStore(files.support, encoder=encoder.image.info),
            classes=live.head.classes,
            knows_event=lambda event_id: kept.read(event_id) is not None,
            clock=clock,
            zone=None,
        )
    backend = LineBackend(
        wall=wall,
        sources=sources,
        state=state,
        answers=answers,
        picture=picture,
        files=files,
        heads=heads,
        names=names,
        good=frozenset(config.decision.good_classes),
        teach=DEFAULT_TEACH if adaptation is None else adaptation.labels.teach,
        clock=clock,
    )
    return review_app(backend, access=access, language=given.language, clock=clock)


def _user(given: ReviewUserConfig) -> User:
    return User(
        given.name,
        Role[given.role.upper()],
        password_hash=None if given.password_file is None else password_hash(read_secret(given.password_file)),
        token_hash=None if given.token_file is None else token_hash(read_secret(given.token_file)),
    )
