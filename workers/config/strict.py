"""What every section of the configuration is built from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class StrictModel(BaseModel):
    """A section of the file: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def require_different(values: Iterable[str], *, what: str) -> None:
    """Raise ValueError when one of `values` is there twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"must have different {what}, got {value!r} twice")
        seen.add(value)
