"""Results by signed HTTP POST: where an outbox sends them when somebody else's service wants to know."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult, urlsplit

import orjson
import structlog

from pipeline.errors import SinkError
from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, Prediction
from workers.outbox.store import Parcel
from workers.sinks.event import letter_event, printable, rfc3339, to_event

log = structlog.get_logger()

TIMESTAMP_HEADER = "X-Clearline-Timestamp"  # seconds since 1970 at which this request was signed
SIGNATURE_HEADER = "X-Clearline-Signature"  # v1= and the hex HMAC-SHA256 of timestamp, a full stop, and the body
CONTENT_TYPE = "application/cloudevents-batch+json"
RESULT_TYPE = "clearline.result.v1"
LETTER_TYPE = "clearline.dead_letter.v1"
NEVER = (400, 413, 422)  # what another attempt would not change: this batch, or one event of it, is at fault
MAX_ANSWER_BYTES = 65_536  # read so that the connection can be used again; a longer answer ends it


class WebhookDestination:
    """One POST for a portion of events, as a CloudEvents 1.0 batch; the same event always has the same id.

    2xx is taken as received. 400, 413 and 422 are about the content: the batch is halved until the event at fault
    stands alone, which is put aside and `on_refused(1)` told. Everything else comes again later. Redirects are not
    followed. One thread.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        secret: Callable[[], str],
        timeout_s: float,
        clock: Clock,
        source: str = "/clearline",
        on_refused: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`url` and `secret` are asked anew for each request, and may raise ValueError; neither is ever shown."""
        self._url, self._secret = url, secret
        self._timeout_s = timeout_s
        self._clock = clock
        self._source = source
        self._on_refused = on_refused
        self._connection: http.client.HTTPConnection | None = None
        self._place = ("", "", 0)  # of the connection

    def pack(self, outcome: Prediction | DeadLetter) -> list[Parcel]:
        """One event."""
        if isinstance(outcome, DeadLetter):
            time, kind, body = rfc3339(self._clock.utc()), LETTER_TYPE, letter_event(outcome)
        else:
            body = to_event(outcome, clock_utc_offset=self._clock.utc() - self._clock.monotonic())
            time, kind = body["time"]["decided"], RESULT_TYPE
        event_id = printable(outcome.ref.event_id)
        event = {
            "specversion": "1.0",
            "type": kind,
            "source": self._source,
            "id": event_id,
            "time": time,
            "datacontenttype": "application/json",
            "data": body,
        }
        value = orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY)
        return [Parcel(key=b"", value=value, headers=(), topic="", event_id=event_id)]

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Raises SinkError; each wait for the receiver is at most `timeout_s`."""
        status = self._post(b"[" + b",".join(parcel.value for parcel in parcels) + b"]")
        if 200 <= status < 300:
            return
        if status not in NEVER:
            raise SinkError(f"{self._shown}: expected an answer 2xx, got {status}; {_advice(status)}")
        if len(parcels) == 1:
            log.warning("webhook refuses an event", receiver=self._shown, status=status, event_id=parcels[0].event_id)
            self._on_refused(1)
            return
        middle = len(parcels) // 2
        self.send(parcels[:middle])
        self.send(parcels[middle:])

    def interrupt(self) -> None:
        """Nothing to cut short: each wait ends after `timeout_s`."""

    def close(self) -> None:
        """Release the connection; may be called twice."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    @property
    def _shown(self) -> str:
        """Without path and query, which may hold a token."""
        return f"webhook {self._place[1]}:{self._place[2]}"

    def _post(self, body: bytes) -> int:
        """The status of the answer."""
        try:
            parts, secret = urlsplit(self._url()), self._secret()
        except ValueError as error:
            self.close()
            raise SinkError(f"webhook: expected its address and its key, got: {error}; restore the file") from error
        reused = self._connect(parts)
        try:
            return self._exchange(parts, body=body, secret=secret)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            if not (reused and isinstance(error, http.client.RemoteDisconnected | ConnectionError)):
                raise self._unreachable(error) from error
        self._connect(parts)  # the receiver had closed a connection that lay idle: no fault of either
        try:
            return self._exchange(parts, body=body, secret=secret)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise self._unreachable(error) from error

    def _connect(self, parts: SplitResult) -> bool:
        """Have a connection; was there one already? Nothing is sent yet."""
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        place = (scheme, host, parts.port or (443 if scheme == "https" else 80))
        if self._connection is not None and self._place == place:
            return True
        self.close()
        self._place = place
        if scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(host, place[2], timeout=self._timeout_s, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, place[2], timeout=self._timeout_s)
        return False

    def _exchange(self, parts: SplitResult, *, body: bytes, secret: str) -> int:
        assert self._connection is not None  # _connect has seen to it
        timestamp = str(int(self._clock.utc()))
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        headers = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": "clearline",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: signature(body, timestamp=timestamp, secret=secret),
        }
        self._connection.request("POST", path, body=body, headers=headers)
        answer = self._connection.getresponse()
        if len(answer.read(MAX_ANSWER_BYTES + 1)) > MAX_ANSWER_BYTES or answer.will_close:
            self.close()
        return answer.status

    def _unreachable(self, error: Exception) -> SinkError:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        return SinkError(f"{self._shown}: expected an answer, got: {reason}; is it up, and reachable from here?")


def signature(body: bytes, *, timestamp: str, secret: str) -> str:
    """What the receiver computes too, compares in constant time, and refuses where the timestamp is minutes old."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={mac.hexdigest()}"


def _advice(status: int) -> str:
    if status in (401, 403):
        return "the receiver refuses the signature: is it the same key on both sides, and are both clocks right?"
    if 300 <= status < 400:
        return "redirects are not followed: correct the address"
    if status in (404, 405, 410):
        return "nobody takes events there: correct the address"
    return "the receiver has trouble; results wait in the outbox"
