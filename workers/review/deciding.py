"""What an approver does to heads: every change is asked about on a page of its own, but freezing."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from workers.review.backend import HeadRow, Heads, ReviewBackend
from workers.review.pages import gate_tools
from workers.review.rendering import Renderer
from workers.review.visit import Handler, Refusal, Visit


class Deciding:
    """Handlers; any thread may call them."""

    def __init__(self, backend: ReviewBackend, *, renderer: Renderer) -> None:
        self._backend = backend
        self._renderer = renderer

    def asking(self, action: str) -> Handler:
        """The page that asks before `action`: approve, promote, roll_back or thaw."""

        def handler(visit: Visit) -> Response:
            heads, row = self._offered(visit, action=action)
            version = row.version if row else heads.roll_back_to
            return self._renderer.page(
                visit,
                template="confirm.html",
                tab="heads",
                action=action,
                path=visit.path,
                version=version,
                live=heads.live,
                row=row,
                names={one.class_id: one.name for one in self._backend.classes()},
                **gate_tools(visit.words),
            )

        return handler

    def doing(self, action: str) -> Handler:
        """What happens after the answer; refused where the live head is no longer the one that the person saw.

        Freezing always works.
        """

        def handler(visit: Visit) -> Response:
            heads, row = self._offered(visit, action=action)
            if action != "freeze" and visit.form.get("live") != str(heads.live):
                raise Refusal(409, "moved_on")
            self._calls(row.version if row else 0, who=visit.user.name)[action]()
            version = row.version if row else heads.roll_back_to or heads.live
            query = urlencode({"done": action, "version": version})
            return RedirectResponse(f"{visit.base}/heads?{query}", status_code=303)

        return handler

    def _calls(self, version: int, *, who: str) -> dict[str, Callable[[], None]]:
        backend = self._backend
        return {
            "approve": lambda: backend.approve(version, who=who),
            "promote": lambda: backend.promote(version, who=who),
            "roll_back": lambda: backend.roll_back(who),
            "freeze": lambda: backend.freeze(who),
            "thaw": lambda: backend.thaw(who),
        }

    def _offered(self, visit: Visit, *, action: str) -> tuple[Heads, HeadRow | None]:
        """Raises Refusal where the action is not on offer now."""
        heads = self._backend.heads()
        if heads.frozen and action in {"approve", "promote"}:
            raise Refusal(409, "frozen_now")
        row = next((one for one in heads.rows if str(one.version) == str(visit.arguments.get("version"))), None)
        on_offer = {
            "approve": row is not None and row.may_approve,
            "promote": row is not None and row.may_promote,
            "roll_back": heads.roll_back_to is not None,
            "freeze": heads.may_freeze and not heads.frozen,
            "thaw": heads.frozen,
        }
        if not on_offer[action]:
            raise Refusal(409, "not_offered")
        return heads, row
