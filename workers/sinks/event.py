"""A prediction as the body of a result event, schema 1.0 (`result-1.0.schema.json` beside this file)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import orjson

from pipeline.types import DeadLetter, Prediction

SCHEMA_VERSION = "1.0"
_DIGITS = 6  # of probabilities and logit margins: float32 holds no more, and lines stay short


def to_event(prediction: Prediction, *, clock_utc_offset: float) -> dict[str, Any]:
    """The body that stands alone: identity, times, verdict, why, and what made it.

    `clock_utc_offset` is UTC minus the monotonic clock, seconds; it turns the monotonic instants into UTC.
    """
    ref = prediction.ref
    event: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "event_id": ref.event_id,
        "source_id": ref.source_id,
        "roi_id": ref.roi_id,
        "frame": {
            "epoch": ref.epoch,
            "seq": ref.sequence,
            "width": ref.width,
            "height": ref.height,
            "ref": None if ref.name is None else printable(ref.name),
        },
        "time": {
            "captured": rfc3339(ref.captured_at),
            "capture_time_source": ref.capture_time_source,
            "received": rfc3339(ref.received_at + clock_utc_offset),
            "decided": rfc3339(prediction.decided_at + clock_utc_offset),
        },
        **_verdict(prediction),
    }
    if ref.part is not None:
        event["part"] = {"id": printable(ref.part), "n_frames": len(prediction.refs)}
    if ref.truth is not None:
        event["truth"] = ref.truth
    return event


def _verdict(prediction: Prediction) -> dict[str, Any]:
    """What was decided, why, and what decided it."""
    timing, why = prediction.timing, prediction.confusion
    return {
        "result": {
            "label": prediction.label,
            "confidence": round(prediction.confidence, _DIGITS),
            "decision": prediction.decision.value,
            "probabilities": {label: round(p, _DIGITS) for label, p in prediction.probabilities.items()},
            "zero_shot": prediction.zero_shot_label,
        },
        "confusion": {
            "rival": why.rival,
            "margin": round(why.margin, _DIGITS),
            "raw_margin": round(why.raw_margin, _DIGITS),
            "removed": round(why.removed, _DIGITS),
        },
        "model": {
            "encoder": prediction.encoder,
            "bundle_sha256": prediction.bundle_sha256,
            "head": prediction.head,
            "head_version": prediction.head_version,
        },
        "batch": {
            "size": timing.size,
            "valid": timing.n_real,
            "queue_ms": round(timing.queue_s * 1e3, 3),
            "infer_ms": round(timing.infer_s * 1e3, 3),
        },
    }


def letter_event(letter: DeadLetter) -> dict[str, Any]:
    """The body for an item that could not be decided, with its bytes."""
    return {
        "schema_version": SCHEMA_VERSION,
        "event_id": printable(letter.ref.event_id),
        "source_id": letter.source_id,
        "reason": letter.reason,
        "message": printable(letter.message),
        "n_bytes": len(letter.original),
        "original_base64": base64.b64encode(letter.original).decode(),
    }


def to_line(event: dict[str, Any]) -> bytes:
    """One line of UTF-8 JSON with its newline; a number that is not finite becomes null."""
    return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def rfc3339(utc: float) -> str:
    """Seconds since 1970 as 2026-01-31T08:15:14.870Z."""
    return datetime.fromtimestamp(utc, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def printable(text: str) -> str:
    """File names may hold bytes that are no text; they are shown escaped, since JSON cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode()
