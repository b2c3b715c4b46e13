"""Templates, static files and headers: everything that leaves this package as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import orjson
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.review.access import Role
from workers.review.visit import VISITOR_COOKIE, Refusal, Visit, keep_language
from workers.review.wording import LANGUAGES

_FOLDER = Path(__file__).parent
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_PICTURE_KINDS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
}
_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#17507f"/>'
    b'<path d="M6 16h20" stroke="#fff" stroke-width="4"/><circle cx="16" cy="16" r="6" fill="#17507f" stroke="#fff" '
    b'stroke-width="4"/></svg>'
)
_NOT_KEPT = "no-store"  # pictures and labels of a plant stay out of a tablet's cache
_KEPT = "private, max-age=86400, immutable"  # static files: their address has their hash
_TABS = (
    ("wall", "/", Role.VIEWER),
    ("queue", "/queue", Role.LABELLER),
    ("confusion", "/confusion", Role.VIEWER),
    ("drift", "/drift", Role.VIEWER),
    ("heads", "/heads", Role.VIEWER),
)


class SecurityHeaders:
    """Puts the headers on every answer of the app, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", _NOT_KEPT)
            await send(message)

        await self._app(scope, receive, send_safe)


class Renderer:
    """Pages from templates; reads all files once. Any thread may call it."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        files = sorted(path for path in (_FOLDER / "static").iterdir() if path.suffix in _KINDS)
        self._static = {path.name: path.read_bytes() for path in files} | {"icon.svg": _ICON}
        self._hashes = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in self._static.items()}

    def page(self, visit: Visit, *, template: str, tab: str = "", code: int = 200, **values: Any) -> Response:
        """One page in the visitor's language."""
        body = self._templates.get_template(template).render(
            visit=visit,
            words=visit.words,
            url=lambda path: visit.base + path,
            static=lambda name: f"{visit.base}/static/{name}?v={self._hashes[name]}",
            tab=tab,
            tabs=[(name, path) for name, path, role in _TABS if visit.may(role) and not self._locked_out(visit)],
            role_word=visit.words("role_" + visit.user.role.name.lower()),
            other_languages=[
                (lang, table["lang_name"]) for lang, table in LANGUAGES.items() if lang != visit.words.lang
            ],
            **values,
        )
        response = Response(body, status_code=code, media_type="text/html")
        keep_language(response, visit=visit)
        return response

    def refuse(self, visit: Visit, refusal: Refusal) -> Response:
        """Why there is no page, as JSON where a program asked."""
        values = {key: _in_words(visit, value) for key, value in refusal.values.items()}
        text = visit.words(refusal.key, **values)
        if visit.wants_json:
            response = as_json({"error": text}, code=refusal.code)
        else:
            response = self.page(
                visit, template="message.html", code=refusal.code, title=visit.words("refused_title"), text=text
            )
        if refusal.code == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="clearline"'
        if refusal.wait_s:
            response.headers["Retry-After"] = str(max(1, round(refusal.wait_s + 0.5)))
        return response

    def static_file(self, name: str) -> Response:
        """By its exact name; raises Refusal."""
        if name not in self._static:
            raise Refusal(404, "refused_missing")
        kind = _KINDS[Path(name).suffix]
        return Response(self._static[name], media_type=kind, headers={"Cache-Control": _KEPT})

    @staticmethod
    def _locked_out(visit: Visit) -> bool:
        return not visit.is_open and not visit.user.name


def keep_visitor(response: Response, *, visit: Visit) -> Response:
    """Set the cookie that the token of the login form hangs on."""
    response.set_cookie(
        VISITOR_COOKIE,
        visit.visitor_cookie,
        path=visit.base or "/",
        httponly=True,
        samesite="strict",
        secure=visit.is_secure,
    )
    return response


def as_json(content: Mapping[str, Any], *, code: int = 200) -> Response:
    """Compact."""
    return Response(orjson.dumps(content), status_code=code, media_type="application/json")


def as_picture(content: bytes | None) -> Response:
    """JPEG or PNG and nothing else; raises Refusal."""
    kind = next((kind for start, kind in _PICTURE_KINDS if content and content.startswith(start)), None)
    if kind is None:
        raise Refusal(404, "no_picture")
    return Response(content, media_type=kind)


def _in_words(visit: Visit, value: object) -> object:
    return visit.words("role_" + value.name.lower()) if isinstance(value, Role) else value
