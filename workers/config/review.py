"""The configuration of the review page: whether it is served, in which language, and who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workers.config.cameras import StrictModel, require_different
from workers.config.loading import read_secret


class ReviewUserConfig(StrictModel):
    """A person, or a machine that sends labels."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
    role: Literal["viewer", "labeller", "approver"]
    """Each may do what the ones before it may: look, label, decide about heads."""
    password_file: Path | None = None
    """A file that holds the password, for the form and for Basic authentication."""
    token_file: Path | None = None
    """A file that holds a random token of 32 characters or more, for `Authorization: Bearer`."""

    @model_validator(mode="after")
    def _has_a_secret(self) -> ReviewUserConfig:
        if self.password_file is None and self.token_file is None:
            raise ValueError("needs password_file or token_file, got none")
        for path in (self.password_file, self.token_file):
            if path is not None:
                read_secret(path)
        return self


class ReviewConfig(StrictModel):
    """The page at /review on the status port."""

    enabled: bool | None = None
    """null: served where only this machine can read it, or where there are users; true: refuse to start otherwise."""
    language: Literal["en", "ja"] = "en"
    users: tuple[ReviewUserConfig, ...] = ()
    """Without users the page is read-only, and for this machine only."""
    labelled: Path = Path("runs/labelled")
    """Pictures labelled on the page of a line without `adaptation`, a folder per class: what `head fit` takes."""
    per_class: Annotated[int, Field(ge=1)] = 8
    """Labelled pictures per class that the page asks for before the first fit."""

    @field_validator("users")
    @classmethod
    def _users_differ(cls, users: tuple[ReviewUserConfig, ...]) -> tuple[ReviewUserConfig, ...]:
        require_different((user.name for user in users), what="names")
        return users

    @property
    def may_label(self) -> bool:
        """Is there anybody who labels on the page?"""
        return self.enabled is not False and any(user.role != "viewer" for user in self.users)
