"""Which chat endpoint may be asked for texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from workers.config.cameras import Positive, StrictModel


class GeneratorConfig(StrictModel):
    """Any endpoint that speaks OpenAI's chat completions."""

    base_url: str
    """Up to and without /chat/completions, e.g. http://127.0.0.1:8000/v1."""
    model: Annotated[str, Field(min_length=1)]
    """As the endpoint calls it."""
    api_key_file: Path | None = None
    """A file with the key on one line; null: no key is sent."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0: the same answer again, as far as the endpoint keeps to it."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    """Longest wait for one answer."""
    attempts: Positive = 3
    """How often one question is asked when the endpoint is busy."""
    cache: Path = Path("runs/cache/chat")
    """Folder of the answers; a question asked before is not sent again."""

    @field_validator("base_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")) or "@" in url:
            raise ValueError(
                "must start with http:// or https:// and hold no password; the key belongs in api_key_file"
            )
        return url.rstrip("/")
