"""The base class of the sections of a configuration."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of keys. A key that is not listed is an error; it is never silently ignored.

    Types are strict, so that `true` or "1" is not taken for 1; a whole number may be given for any.

    A key has a default in its model only if it came after the first results: there it is as if the
    key did not exist, so at this value it is not in a dump, a job's flags, a digest. All other
    defaults are those of default.yaml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the keys and values without later keys that have their default."""
        return super().model_dump(exclude_defaults=True, **options)
