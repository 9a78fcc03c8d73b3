"""The base class of the sections of a configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of keys. A key that is not listed is an error; it is never silently ignored.

    Types are strict, so that `true` or "1" is not taken for 1; a whole number may be given for any.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)
