"""What a kind of file holds, so that a file of another kind is refused by name where it is read.

The kinds are in json_kinds.py, table_kinds.py and checkpoint_kinds.py. A check changes no value, so
none of this counts in the hash of a stage's code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import pandas as pd
from pandas.api.types import is_bool_dtype, is_integer_dtype, is_numeric_dtype
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic import StrictStr as Text

from salcr.errors import SalcrError

Whole = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Number = Annotated[float, Field(strict=True)]
Sections = dict[Text, dict[Text, Any]]
"""Section -> key -> value of a configuration."""


class Content(BaseModel):
    """What a json file or a checkpoint holds. Keys that are not listed are not checked."""

    model_config = ConfigDict(allow_inf_nan=False, defer_build=True)
    title: ClassVar[str]
    """Such a file, and the stage that writes it."""

    @classmethod
    def check(cls, path: Path, value: Any, hint: str) -> None:
        """Refuse a value that is something else.

        Args:
            path: file that it was read from.
            value: of plain values; for a checkpoint, also tensors.
            hint: what to do if the file is damaged.

        Raises:
            SalcrError: a key is missing or has another type; the message names the first.
        """
        try:
            cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f"{part}." for part in first["loc"]).removesuffix(".")
            message = first["msg"].removeprefix("Value error, ")
            raise _refusal(path, cls.title, f"{place}: {message}", hint) from None


class Table(NamedTuple):
    """The columns of a csv that are read. Others are not checked."""

    title: str
    """Such a file, and the stage that writes it."""
    words: Collection[str] = ()
    """Read as text, since a variant may be called 1; none is missing."""
    others: Collection[str] = ()
    """Of any type."""
    numbers: Collection[str] = ()
    """A number may be missing."""
    optional: Collection[str] = ()
    """Such numbers, of columns that are there together or not at all."""
    wholes: Collection[str] = ()
    choices: Mapping[str, Collection[str]] = {}
    """Column -> the words that it may hold."""
    may_be_empty: bool = False

    def check(self, path: Path, table: pd.DataFrame, hint: str) -> None:
        """Refuse another table.

        Args:
            path: file that it was read from.
            table: its content.
            hint: what to do if the file is damaged.

        Raises:
            SalcrError: a column is missing or holds something else, or there are no lines.
        """
        if (complaint := next(self._complaints(table), None)) is not None:
            raise _refusal(path, self.title, complaint, hint)

    def _complaints(self, table: pd.DataFrame) -> Iterator[str]:
        numbers = [*self.numbers]
        if any(name in table for name in self.optional):
            numbers += self.optional
        columns = [*self.words, *self.others, *numbers, *self.wholes, *self.choices]
        yield from (f"has no column {name}" for name in columns if name not in table)
        if table.empty:
            yield from () if self.may_be_empty else ("has no lines",)
            return
        for name in self.words:
            if table[name].isna().any():
                yield f"column {name} lacks a word"
        for name in numbers:
            if not is_numeric_dtype(table[name]) or is_bool_dtype(table[name]):
                yield f"column {name} does not hold numbers"
            elif name.endswith("_std") and (table[name] < 0).any():
                yield f"column {name} holds negative numbers"
        for name in self.wholes:
            if not is_integer_dtype(table[name]):
                yield f"column {name} does not hold whole numbers"
        for name, words in self.choices.items():
            if not table[name].isin(list(words)).all():
                yield f"column {name} holds something else than {' and '.join(words)}"


def _refusal(path: Path, title: str, complaint: str, hint: str) -> SalcrError:
    return SalcrError(
        f"{path}: is not {title} ({complaint}); give that file, or, if it should be this one, "
        f"{hint}"
    )
