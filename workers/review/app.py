"""The review page as one Starlette application, to be mounted under a path of the status server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import tzinfo

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from pipeline.interfaces import Clock
from workers.review.access import SESSION_S, Access, Role
from workers.review.backend import ReviewBackend
from workers.review.deciding import Deciding
from workers.review.labelling import Labelling
from workers.review.labels_api import LabelsApi
from workers.review.pages import Pages
from workers.review.product_api import ProductApi
from workers.review.rendering import SECURITY_HEADERS, Renderer, SecurityHeaders, keep_visitor
from workers.review.visit import SESSION_COOKIE, Door, Handler, Refusal, Visit
from workers.review.wording import LANGUAGES, Words, words

Routes = Mapping[tuple[str, str], tuple[Handler, Role | None]]  # (method, path) -> who may call what


def review_app(
    backend: ReviewBackend, *, access: Access, language: str, clock: Clock, zone: tzinfo | None = None
) -> Starlette:
    """Build it; `zone` None shows the machine's own time. Raises ConfigError for an unknown language."""
    tables: dict[str, Words] = {lang: words(lang, zone=zone) for lang in (language, *LANGUAGES)}
    renderer = Renderer()
    door = Door(access, clock=clock, words=tables, language=language, refuse=renderer.refuse)
    routes: Routes = {
        **_for_all(renderer, access=access, door=door),
        **_for_viewers(Pages(backend, renderer=renderer)),
        **_for_labellers(backend, renderer=renderer, door=door),
        **_for_approvers(Deciding(backend, renderer=renderer), product=ProductApi(backend)),
    }
    return Starlette(
        routes=[
            Route(path, door.endpoint(handler, role=role), methods=[method])
            for (method, path), (handler, role) in routes.items()
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: _not_found(door), Exception: _broken},
    )


def _for_all(renderer: Renderer, *, access: Access, door: Door) -> Routes:
    def form(visit: Visit) -> Response:
        return keep_visitor(renderer.page(visit, template="login.html", wrong=False), visit=visit)

    def log_in(visit: Visit) -> Response:
        door.may_guess(visit.client)
        session = access.log_in(visit.form.get("name", ""), password=visit.form.get("password", ""))
        if session is None:
            door.guessed_wrong(visit.client)
            return keep_visitor(renderer.page(visit, template="login.html", code=401, wrong=True), visit=visit)
        answer = RedirectResponse(f"{visit.base}/", status_code=303)
        answer.set_cookie(
            SESSION_COOKIE,
            session,
            max_age=int(SESSION_S),
            path=visit.base or "/",
            httponly=True,
            samesite="strict",
            secure=visit.is_secure,
        )
        return answer

    def log_out(visit: Visit) -> Response:
        access.log_out(visit.session)
        answer = RedirectResponse(f"{visit.base}/login", status_code=303)
        answer.delete_cookie(SESSION_COOKIE, path=visit.base or "/")
        return answer

    return {
        ("GET", "/login"): (form, None),
        ("POST", "/login"): (log_in, None),
        ("POST", "/logout"): (log_out, None),
        ("GET", "/static/{name}"): (lambda visit: renderer.static_file(visit.arguments["name"]), None),
    }


def _for_viewers(pages: Pages) -> Routes:
    return {
        ("GET", "/"): (pages.wall, Role.VIEWER),
        ("GET", "/wall.json"): (pages.wall_json, Role.VIEWER),
        ("GET", "/pictures/{event_id:path}"): (pages.picture, Role.VIEWER),
        ("GET", "/why/{event_id:path}"): (pages.why, Role.VIEWER),
        ("GET", "/confusion"): (pages.confusion, Role.VIEWER),
        ("GET", "/drift"): (pages.drift, Role.VIEWER),
        ("GET", "/heads"): (pages.heads, Role.VIEWER),
    }


def _for_labellers(backend: ReviewBackend, *, renderer: Renderer, door: Door) -> Routes:
    labelling, labels = Labelling(backend, renderer=renderer), LabelsApi(backend, door=door)
    return {
        ("GET", "/queue"): (labelling.page, Role.LABELLER),
        ("GET", "/queue.json"): (labelling.questions, Role.LABELLER),
        ("POST", "/queue/answer"): (labelling.answer, Role.LABELLER),
        ("POST", "/queue/skip"): (labelling.skip, Role.LABELLER),
        ("POST", "/labels"): (labels.take, Role.LABELLER),
    }


def _for_approvers(deciding: Deciding, *, product: ProductApi) -> Routes:
    asked = {
        "approve": "/heads/{version:int}/approve",
        "promote": "/heads/{version:int}/promote",
        "roll_back": "/heads/roll-back",
        "thaw": "/heads/thaw",
    }
    routes: dict[tuple[str, str], tuple[Handler, Role | None]] = {
        ("POST", "/heads/freeze"): (deciding.doing("freeze"), Role.APPROVER),
        ("POST", "/product"): (product.change, Role.APPROVER),
    }
    for action, path in asked.items():
        routes["GET", path] = (deciding.asking(action), Role.APPROVER)
        routes["POST", path] = (deciding.doing(action), Role.APPROVER)
    return routes


def _not_found(door: Door) -> Callable[[Request, Exception], Awaitable[Response]]:
    def missing(_: Visit) -> Response:
        raise Refusal(404, "refused_missing")

    async def handler(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 404:
            return await door.endpoint(missing, role=None)(request)
        code = error.status_code if isinstance(error, HTTPException) else 500
        return PlainTextResponse(str(code), status_code=code)

    return handler


async def _broken(_: Request, __: Exception) -> Response:
    """Starlette logs the cause and raises it again; the headers are added here, outside the middleware."""
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    return PlainTextResponse(
        "\n".join(table["refused_broken"] for table in LANGUAGES.values()), status_code=500, headers=headers
    )
