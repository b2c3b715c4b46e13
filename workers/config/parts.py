"""The configuration of parts: how frames become one decision, and what says that a part is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from workers.config.loading import read_secret
from workers.config.strict import Positive, Share, StrictModel

DEFAULT_FRAMES = 8  # of a part whose number of frames nothing says
MOST_FRAMES = 64  # features of so many frames are kept per open part
SHORTEST_TOKEN = 16  # characters

Frames = Annotated[int, Field(ge=1, le=MOST_FRAMES)]


class PartsConfig(StrictModel):
    """One decision per part: its frames' logits are averaged and sharpened by what so many frames are worth."""

    by: Literal["trigger", "header", "window"]
    """trigger: the frames of one trigger; header: those with the same part id; window: those taken close together."""
    max_frames: Frames | None = None
    """A part is closed by this many; further ones are dropped and counted. null: trigger.frames, or else 8."""
    close_after_ms: Positive = 1000
    """After its first frame a part waits so long for the others."""
    window_ms: Positive | None = None
    """Only with by: window: frames taken this long after the first belong to the part."""
    correlation: Share | None = None
    """Of the errors of a part's frames: 1, they say no more than one; 0, each counts. null: measured on the stream,
    1 until 100 parts were seen."""

    @model_validator(mode="after")
    def _window_fits(self) -> PartsConfig:
        if (self.by == "window") != (self.window_ms is not None):
            raise ValueError(f"must have window_ms exactly with by: window, got by: {self.by}")
        if self.window_ms is not None and self.window_ms > self.close_after_ms:
            got = f"{self.close_after_ms}, window_ms {self.window_ms}"
            raise ValueError(f"must have close_after_ms of at least window_ms, got {got}")
        return self


class _TriggerConfig(StrictModel):
    """What all triggers have."""

    frames: Frames = 1
    """Pictures taken for each trigger."""
    timeout_ms: Positive = 1000
    """A trigger without a picture for so long is missed and counted; no later picture is taken for it."""
    queue: Positive = 8
    """Triggers that may wait for pictures; further ones are refused and counted."""


class MqttTriggerConfig(_TriggerConfig):
    """A message on the topic <prefix>/trigger/<camera>, with the part id or empty, on the broker of the sink mqtt."""

    type: Literal["mqtt"]


class OpcUaTriggerConfig(_TriggerConfig):
    """A write to the node Clearline/<camera>/Trigger, with the part id or "", on the server of the sink opcua."""

    type: Literal["opcua"]


class HttpTriggerConfig(_TriggerConfig):
    """POST /trigger/<camera> on the status port says that a part is there."""

    type: Literal["http"]
    token: SecretStr | None = None
    """What Authorization: Bearer must hold; better ${TRIGGER_TOKEN}, or the next. Needed unless on loopback."""
    token_file: Path | None = None
    """A file that holds the token, 16 characters or more."""
    per_s: Annotated[float, Field(gt=0, le=1000)] = 50.0
    """Triggers accepted per second."""

    @model_validator(mode="after")
    def _token_is_one(self) -> HttpTriggerConfig:
        if self.token is not None and self.token_file is not None:
            raise ValueError("must have token or token_file, got both: keep one")
        if (token := self.read_token()) is not None and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"must have a token of {SHORTEST_TOKEN} characters or more, got {len(token)}")
        return self

    def read_token(self) -> str | None:
        """The token; None where none is asked for."""
        if self.token_file is not None:
            return read_secret(self.token_file)
        return None if self.token is None else self.token.get_secret_value()


TriggerConfig = Annotated[HttpTriggerConfig | MqttTriggerConfig | OpcUaTriggerConfig, Field(discriminator="type")]


def frames_per_part(parts: PartsConfig | None, *, trigger: TriggerConfig | None) -> int | None:
    """By how many a part is closed; None where each frame is decided alone."""
    if parts is None or parts.max_frames is not None:
        return None if parts is None else parts.max_frames
    return DEFAULT_FRAMES if trigger is None else trigger.frames


def require_fitting_trigger(
    trigger: TriggerConfig | None, *, parts: PartsConfig | None, source_type: str, policy: str | None
) -> None:
    """Raise ValueError where a camera's trigger does not go with the rest of it."""
    if trigger is None:
        if parts is not None and parts.by == "trigger":
            raise ValueError("must have trigger with parts.by: trigger, got none")
        return
    if source_type in ("kafka", "replay"):
        raise ValueError(f"must have a source that makes pictures with trigger, got source.type {source_type}")
    if policy == "drop_oldest":
        raise ValueError("must have policy: block with trigger, since each part has to be seen, got drop_oldest")
    most = frames_per_part(parts, trigger=trigger)
    if most is not None and trigger.frames > most:
        raise ValueError(f"must have parts.max_frames of at least trigger.frames ({trigger.frames}), got {most}")
