"""One request as the pages see it, and the gate that every request passes before a page sees it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from pipeline.errors import ClearlineError, DataError
from pipeline.interfaces import Clock
from workers.review.access import Access, Role, User, Visitor, is_loopback
from workers.review.limits import Rate, RateLimit
from workers.review.wording import LANGUAGES, Words

log = structlog.get_logger()

SESSION_COOKIE = "clearline_session"
VISITOR_COOKIE = "clearline_visitor"  # what the token of the login form hangs on
LANGUAGE_COOKIE = "clearline_language"
MAX_BODY = 1_048_576  # bytes; a thousand labels are some 200,000
LOGIN_RATE = Rate(per_s=5 / 60, burst=5)  # wrong secrets from one address
CHANGE_RATE = Rate(per_s=5, burst=60)  # changes by one user: labelling at five parts a second
_KEEP_LANGUAGE_S = 365 * 86_400


class Refusal(Exception):
    """A request that gets no page, and why: the key of a sentence with its values."""

    def __init__(self, code: int, key: str, *, wait_s: float = 0.0, **values: object) -> None:
        super().__init__(key)
        self.code = code
        self.key = key
        self.values = values
        self.wait_s = wait_s  # before another try makes sense


@dataclass(frozen=True)
class Visit:
    """Who asks for what, in which language; access, form token and rate are checked."""

    user: User
    role_needed: Role | None
    words: Words
    base: str  # path that the pages are mounted at
    path: str  # within
    now: float  # UTC, seconds since 1970
    client: str  # address
    token: str  # for this visitor's forms
    wants_json: bool = False
    is_open: bool = False  # there are no users
    is_secure: bool = False  # came over https
    arguments: Mapping[str, str] = field(default_factory=dict)  # of the path
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    content: Any = None  # of a JSON body
    session: str = ""
    visitor_cookie: str = ""

    def may(self, role: Role) -> bool:
        """Is this user at least that?"""
        return self.user.role >= role


Handler = Callable[[Visit], Response]
RefusalPage = Callable[[Visit, Refusal], Response]


class Door:
    """Turns requests into visits: who is it, may he, does the form token fit, is he too fast. Immutable but limits."""

    def __init__(
        self, access: Access, *, clock: Clock, words: Mapping[str, Words], language: str, refuse: RefusalPage
    ) -> None:
        self._access = access
        self._clock = clock
        self._words = words
        self._language = language
        self._refuse = refuse
        self._guesses = RateLimit(LOGIN_RATE, clock=clock)
        self._changes = RateLimit(CHANGE_RATE, clock=clock)

    def endpoint(self, handler: Handler, *, role: Role | None) -> Callable[[Request], Awaitable[Response]]:
        """What Starlette calls. `role` None lets everybody in; handlers run in a thread, so they may take a moment."""

        async def answer(request: Request) -> Response:
            visit = self._stranger(request, role=role)
            try:
                body = await _body(request)
                return await run_in_threadpool(self._admit, request, visit, body, handler)
            except Refusal as refusal:
                return self._refuse(visit, refusal)
            except ClearlineError as error:
                log.warning("review request refused", path=visit.path, error=str(error))
                code = 422 if isinstance(error, DataError) else 409
                return self._refuse(visit, Refusal(code, "refused_by_line", reason=str(error)))

        return answer

    def may_guess(self, client: str) -> None:
        """Raises Refusal where too many secrets from this address were wrong."""
        _slow_down(self._guesses.wait_s(client))

    def guessed_wrong(self, client: str) -> None:
        """Count it."""
        self._guesses.spend(client)

    def charge(self, visit: Visit, *, n: float) -> None:
        """Count `n` changes; raises Refusal when there were too many."""
        client = f"{visit.user.name}@{visit.client}"
        _slow_down(self._changes.wait_s(client))
        self._changes.spend(client, n=n)

    def _admit(self, request: Request, visit: Visit, body: bytes, handler: Handler) -> Response:
        """Runs in a thread: hashing a password takes 40 ms, a handler may read a file."""
        if self._access.is_open and not is_loopback(request.url.hostname or ""):
            raise Refusal(421, "refused_host")  # another name for this machine, on a page that trusts the machine
        visitor = self._visitor(request, client=visit.client)
        if visitor is None and visit.role_needed is not None:
            return _to_login(request, visit)
        form, content = _parsed(body, kind=request.headers.get("content-type", ""))
        key = visitor.key if visitor else f"visitor:{visit.visitor_cookie}"
        if request.method == "POST" and key is not None:
            self._check_origin(request, key=key, token=form.get("token") or request.headers.get("x-csrf-token", ""))
        user = visitor.user if visitor else visit.user
        if visit.role_needed is not None and user.role < visit.role_needed:
            raise Refusal(403, "refused_role", role=user.role, needed=visit.role_needed)
        visit = self._complete(visit, user=user, key=key, form=form, content=content)
        if request.method == "POST" and visit.role_needed is not None:
            self.charge(visit, n=1.0)
        return handler(visit)

    def _visitor(self, request: Request, *, client: str) -> Visitor | None:
        header = request.headers.get("authorization", "")
        if header:
            self.may_guess(client)
            found = self._access.by_header(header)
            if found is None:
                self.guessed_wrong(client)
                raise Refusal(401, "login_wrong")
            return found
        return self._access.by_session(request.cookies.get(SESSION_COOKIE, "")) or self._access.anybody()

    def _check_origin(self, request: Request, *, key: str, token: str) -> None:
        """Raises Refusal for a form that another site's page has sent with this browser's cookies."""
        is_foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if is_foreign or not self._access.is_form_token(token, key=key):
            raise Refusal(403, "refused_token")

    def _stranger(self, request: Request, *, role: Role | None) -> Visit:
        base = request.scope.get("root_path", "")
        path = request.url.path.removeprefix(base)
        return Visit(
            user=User("", Role.VIEWER),
            role_needed=role,
            words=self._words[self._lang(request)],
            base=base,
            path=path,
            now=self._clock.utc(),
            client=request.client.host if request.client else "",
            token="",
            wants_json="application/json" in request.headers.get("accept", "") or path.endswith(".json"),
            is_open=self._access.is_open,
            is_secure=request.url.scheme == "https",
            arguments=dict(request.path_params),
            query=dict(request.query_params),
            session=request.cookies.get(SESSION_COOKIE, ""),
            visitor_cookie=request.cookies.get(VISITOR_COOKIE, "") or secrets.token_urlsafe(16),
        )

    def _complete(self, visit: Visit, *, user: User, key: str | None, form: Mapping[str, str], content: Any) -> Visit:
        token = self._access.form_token(key) if key else ""
        return replace(visit, user=user, token=token, form=form, content=content)

    def _lang(self, request: Request) -> str:
        asked = (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE), self._language)
        return next(lang for lang in asked if lang is not None and lang in LANGUAGES)


def _slow_down(wait_s: float) -> None:
    if wait_s > 0:
        raise Refusal(429, "refused_rate", wait_s=wait_s, seconds=math.ceil(wait_s))


def keep_language(response: Response, *, visit: Visit) -> None:
    """Remember a language that was chosen on this page."""
    if visit.query.get("lang") == visit.words.lang:
        response.set_cookie(
            LANGUAGE_COOKIE, visit.words.lang, max_age=_KEEP_LANGUAGE_S, path=visit.base or "/", samesite="strict"
        )


def _to_login(request: Request, visit: Visit) -> Response:
    if visit.wants_json or request.method != "GET":
        raise Refusal(401, "log_in")
    return RedirectResponse(f"{visit.base}/login", status_code=303)


async def _body(request: Request) -> bytes:
    """At most MAX_BODY bytes, however long it claims to be."""
    parts, size = list[bytes](), 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                raise Refusal(413, "refused_body", why=f"> {MAX_BODY} bytes")
            parts.append(part)
    except ClientDisconnect as error:
        raise Refusal(400, "refused_body", why="disconnected") from error
    return b"".join(parts)


def _parsed(body: bytes, *, kind: str) -> tuple[dict[str, str], Any]:
    """Form fields, or the content of a JSON body."""
    if not body:
        return {}, None
    try:
        if kind.startswith("application/json"):
            return {}, orjson.loads(body)
        if kind.startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(body.decode(), max_num_fields=32, keep_blank_values=True)), None
    except ValueError as error:
        raise Refusal(400, "refused_body", why=str(error)) from error
    raise Refusal(415, "refused_body", why=f"expected application/json, got {kind[:64] or 'none'}")
