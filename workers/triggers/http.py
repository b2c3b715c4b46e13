"""POST /trigger/CAMERA on the status port: a part is there."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.interfaces import Clock
from workers.review.limits import Rate, RateLimit
from workers.triggers.queue import Fire, TriggerRefused

MAX_BODY_BYTES = 4096
WRONG_TOKENS = Rate(per_s=0.2, burst=10.0)  # of one address: then it waits, right or wrong
_CODES = {"unknown_camera": 404, "part": 422, "overflow": 503}


@dataclass(frozen=True, slots=True)
class HttpTrigger:
    """Who may trigger a camera, and how often."""

    token: bytes | None  # None: whoever reaches the port, which then has to be loopback
    per_s: float  # triggers; the burst is one second's worth


def trigger_app(cameras: Mapping[str, HttpTrigger], *, fire: Fire, clock: Clock) -> Starlette:
    """To be mounted at /trigger. Answers {"camera", "part"} with 202, or {"error"}.

    Without a token a request that names an Origin is refused: it comes from a page in somebody's browser.
    """
    desk = _Desk(cameras, fire=fire, clock=clock)

    async def trigger(request: Request) -> Response:
        code, answer = await desk.answer(request)
        return Response(
            orjson.dumps(answer),
            status_code=code,
            media_type="application/json",
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )

    return Starlette(routes=[Route("/{camera}", trigger, methods=["POST"])])


class _Desk:
    """Looks at one request after the other."""

    def __init__(self, cameras: Mapping[str, HttpTrigger], *, fire: Fire, clock: Clock) -> None:
        self._cameras = cameras
        self._fire = fire
        self._wrong = RateLimit(WRONG_TOKENS, clock=clock)
        self._limits = {
            name: RateLimit(Rate(per_s=one.per_s, burst=max(1.0, one.per_s)), clock=clock)
            for name, one in cameras.items()
        }

    async def answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        name = request.path_params["camera"]
        camera = self._cameras.get(name)
        refused = self._stranger(request, camera=camera)
        if refused is not None:
            return refused
        if camera is None:
            return 404, {"error": f"expected a camera with trigger type http, got {name[:100]!r}"}
        if self._limits[name].wait_s(name) > 0.0:
            return 429, {"error": f"expected at most {camera.per_s:g} triggers per second (trigger.per_s)"}
        try:
            part = await _part(request)
            part = self._fire(name, part)
        except (ValueError, ClientDisconnect) as error:
            return 422, {"error": str(error) or "the request broke off"}
        except TriggerRefused as error:
            return _CODES[error.reason], {"error": str(error)}
        self._limits[name].spend(name)
        return 202, {"camera": name, "part": part}

    def _stranger(self, request: Request, *, camera: HttpTrigger | None) -> tuple[int, dict[str, Any]] | None:
        """Why this request may not trigger. An unknown camera is answered as a wrong token: names are not told."""
        tokens = [camera.token] if camera is not None else [one.token for one in self._cameras.values()]
        if None in tokens:
            if "origin" in request.headers:
                return 403, {"error": "expected a program of this machine, got a page in a browser; set trigger.token"}
            return None
        client = "" if request.client is None else request.client.host
        if self._wrong.wait_s(client) > 0.0:
            return 429, {"error": "too many requests with a wrong token; wait"}
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if camera is not None and hmac.compare_digest(given, camera.token or b""):
            return None
        self._wrong.spend(client)
        return 401, {"error": "expected Authorization: Bearer with the camera's trigger token"}


async def _part(request: Request) -> str | None:
    """The part id of the body; None for an empty body. Raises ValueError."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"expected at most {MAX_BODY_BYTES} bytes")
    if not body.strip():
        return None
    told = orjson.loads(body)  # its JSONDecodeError is a ValueError
    part = told.get("part") if isinstance(told, dict) else told
    if not isinstance(told, dict) or set(told) - {"part"} or not (part is None or isinstance(part, str)):
        raise ValueError('expected {"part": "ID"} or nothing, got something else')
    return part
