"""One OpenAI-compatible chat endpoint, its answers kept on disk by the hash of what was asked."""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, DataError
from pipeline.heads.bundles.atomic import write_atomic
from pipeline.interfaces import Clock

MAX_ANSWER_BYTES = 1_000_000  # a list of phrases has a few thousand
BUSY = (429, 500, 502, 503, 504)
BUSY_WAIT_S = 2.0  # before the second attempt; doubled each time

Message = dict[str, str]


class _Busy(Exception):
    """The endpoint asks to come again."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class ChatEndpoint:
    """Asks one question at a time; one thread calls it. The key is in no message, file or log."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        clock: Clock,
        cache: Path,
        api_key: str | None = None,
        temperature: float = 0.0,
        timeout_s: float = 60.0,
        attempts: int = 3,
    ) -> None:
        self._url = f"{base_url}/chat/completions"
        self._model = model
        self._clock = clock
        self._cache = cache
        self._headers = {"Content-Type": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._temperature = temperature
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._opener = urllib.request.build_opener(_NoRedirect)
        self.n_sent = 0  # requests that left this machine; answers from disk are not among them

    def ask(self, messages: Sequence[Message]) -> str:
        """The text of the answer, from disk where the same was asked before. Blocks at most attempts * timeout.

        Raises ConfigError when the endpoint cannot be used, DataError when its answer is none.
        """
        body = {"model": self._model, "messages": list(messages), "temperature": self._temperature}
        asked = json.dumps({"url": self._url, **body}, sort_keys=True, ensure_ascii=False)
        path = self._cache / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
        kept = _kept(path)
        if kept is not None:
            return kept
        answer = self._send(json.dumps(body, ensure_ascii=False).encode())
        content = json.dumps({"asked": json.loads(asked), "answer": answer}, indent=1, ensure_ascii=False)
        write_atomic(path, content=content.encode(), durable=False)
        return answer

    def _send(self, body: bytes) -> str:
        wait_s = BUSY_WAIT_S
        for attempt in range(1, self._attempts + 1):
            try:
                return self._once(body)
            except _Busy as error:
                if attempt == self._attempts:
                    raise ConfigError(
                        f"{self._url}: expected an answer, got HTTP {error.status} {attempt} times; try again later"
                    ) from error
            if self._clock.wait(wait_s):
                break
            wait_s *= 2.0
        raise ConfigError(f"{self._url}: expected an answer, got none before the end")

    def _once(self, body: bytes) -> str:
        request = urllib.request.Request(self._url, data=body, headers=self._headers, method="POST")
        self.n_sent += 1
        try:
            with self._opener.open(request, timeout=self._timeout_s) as reply:
                content = reply.read(MAX_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            if error.code in BUSY:
                raise _Busy(error.code) from error
            raise ConfigError(
                f"{self._url}: expected an answer, got HTTP {error.code}; {_advice(error.code)}"
            ) from None
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            raise ConfigError(
                f"{self._url}: expected a chat endpoint, got {reason}; check base_url and the network"
            ) from error
        return self._text(content)

    def _text(self, content: bytes) -> str:
        if len(content) > MAX_ANSWER_BYTES:
            raise DataError(f"{self._url}: expected an answer of at most {MAX_ANSWER_BYTES} bytes, got more")
        try:
            text = json.loads(content)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"{self._url}: expected JSON with choices[0].message.content, got {content[:80]!r}"
            ) from error
        if not isinstance(text, str):
            raise DataError(f"{self._url}: expected a text as answer, got {type(text).__name__}")
        return text


def _kept(path: Path) -> str | None:
    """The answer on disk; a damaged file counts as none."""
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))["answer"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if isinstance(answer, str) else None


def _advice(status: int) -> str:
    if status in (401, 403):
        return "check api_key_file"
    if status == 404:
        return "check base_url and model"
    if 300 <= status < 400:
        return "give the address it redirects to as base_url"
    return "check model and the endpoint's own log"
