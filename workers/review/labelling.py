"""The review queue: one part at a time, one key each."""

from __future__ import annotations

import string
from typing import Any

import orjson
from starlette.responses import RedirectResponse, Response

from workers.review.backend import ClassRow, Queue, QueueItem, ReviewBackend
from workers.review.pages import checked_event_id
from workers.review.rendering import Renderer, as_json
from workers.review.visit import Refusal, Visit

KEYS = "123456789" + "0" + string.ascii_lowercase  # of the classes, in their order; later ones have arrows and Enter
_BATCH = 16  # questions that a page holds ahead
_MAX_LABEL = 256


class Labelling:
    """Handlers; any thread may call them. What the line said of a blind question never leaves this class."""

    def __init__(self, backend: ReviewBackend, *, renderer: Renderer) -> None:
        self._backend = backend
        self._renderer = renderer

    def page(self, visit: Visit) -> Response:
        """The first question; works without a script too."""
        queue = self._backend.queue(visit.user.name, limit=_BATCH)
        classes = self._backend.classes()
        names = {row.class_id: row.name for row in classes}
        questions = [_question(item, names=names, visit=visit) for item in queue.items]
        return self._renderer.page(
            visit,
            template="queue.html",
            tab="queue",
            classes=_keyed(classes),
            first=questions[0] if questions else None,
            queue=queue,
            is_enough=all(queue.n_labelled.get(row.class_id, 0) >= queue.n_wanted for row in classes),
            start=orjson.dumps(_state(queue, questions=questions)).decode(),
            texts=orjson.dumps(_texts(visit)).decode(),
        )

    def questions(self, visit: Visit) -> Response:
        """What comes next, for the script."""
        queue = self._backend.queue(visit.user.name, limit=_BATCH)
        names = {row.class_id: row.name for row in self._backend.classes()}
        return as_json(_state(queue, questions=[_question(item, names=names, visit=visit) for item in queue.items]))

    def answer(self, visit: Visit) -> Response:
        """A class was chosen. What others said of this part stays with the backend: it would not be blind."""
        label = visit.form.get("label", "")
        if not 0 < len(label) <= _MAX_LABEL:
            raise Refusal(422, "refused_body", why="label")
        self._backend.answer(checked_event_id(visit.form.get("event_id", "")), label=label, labeller=visit.user.name)
        return self._next(visit)

    def skip(self, visit: Visit) -> Response:
        """The next one, please."""
        self._backend.skip(checked_event_id(visit.form.get("event_id", "")), labeller=visit.user.name)
        return self._next(visit)

    def _next(self, visit: Visit) -> Response:
        if not visit.wants_json:
            return RedirectResponse(f"{visit.base}/queue", status_code=303)
        queue = self._backend.queue(visit.user.name, limit=0)
        return as_json({"taken": True, "n_labelled": queue.n_labelled} if queue.n_wanted else {"taken": True})


def _state(queue: Queue, *, questions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"items": questions, "n_waiting": queue.n_waiting, "n_labelled": queue.n_labelled}


def _question(item: QueueItem, *, names: dict[str, str], visit: Visit) -> dict[str, Any]:
    shown: dict[str, Any] = {"event_id": item.event_id, "camera": item.camera, "blind": item.blind}
    shown["time"] = visit.words.clock(item.captured_at, now=visit.now)
    shown["picture"] = f"{visit.base}/pictures/{item.event_id}"
    if not item.blind and item.model_label is not None:
        shown["model_label"] = item.model_label
        shown["model_text"] = names.get(item.model_label, item.model_label)
        shown["model_confidence"] = visit.words.percent(item.model_confidence)
    return shown


def _keyed(classes: tuple[ClassRow, ...]) -> list[tuple[ClassRow, str]]:
    return [(row, KEYS[place] if place < len(KEYS) else "") for place, row in enumerate(classes)]


def _texts(visit: Visit) -> dict[str, str]:
    """Sentences that the script fills in: it replaces the braces."""
    names = (
        *("queue_left", "queue_done", "queue_pace", "queue_again", "queue_picture", "queue_taken"),
        *("queue_skipped", "queue_not_saved", "queue_slow_down", "queue_count", "queue_classes_done", "lost"),
    )
    return {name: visit.words.table[name] for name in names}
