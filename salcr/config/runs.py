"""The folders of results, for the workflow and the stages that read many results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

JOBS = "jobs"
"""The folder with what is known about the jobs of a round or a run."""


class Span(NamedTuple):
    """Rounds that one job computes, from the first to the last."""

    first: int
    last: int


class Run(NamedTuple):
    """One variant: its name, the variant whose stage one it uses, and its rounds of stage two."""

    variant: str
    owner: str
    """The variant whose stage one it continues; itself, if it trains its own."""
    rounds: int

    @classmethod
    def parse(cls, text: str) -> Run:
        """Return the run that is written as `variant:owner:rounds`.

        Raises:
            ValueError: it is written otherwise.
        """
        match = re.fullmatch(r"([\w-]+):([\w-]+):(\d{1,3})", text, re.ASCII)
        if match is None:
            raise ValueError("must be VARIANT:OWNER:ROUNDS, with two names and a number")
        return cls(match[1], match[2], int(match[3]))

    def __str__(self) -> str:
        """Return `variant:owner:rounds`."""
        return f"{self.variant}:{self.owner}:{self.rounds}"

    def folder(self, root: Path, trial: int, round_: int) -> Path:
        """Return the folder of one round; round 0 is the owner's stage one."""
        return root / self.of_round(round_) / trial_name(trial) / round_name(round_)

    def of_round(self, round_: int) -> str:
        """Return the variant to which a round belongs: round 0 is the owner's stage one."""
        return self.variant if round_ else self.owner

    def evaluated(self, every: int) -> Iterator[int]:
        """Yield the rounds that are evaluated: 0, each `every`-th, and the last; none for 0."""
        if every:
            yield from (r for r in range(self.rounds + 1) if r % every == 0 or r == self.rounds)


def trial_name(trial: int) -> str:
    """Return the folder name of a trial, such as trial01."""
    return f"trial{trial:02d}"


def round_name(round_: int) -> str:
    """Return the folder name of a round, such as round07."""
    return f"round{round_:02d}"


def span_file(folder: Path, span: Span) -> Path:
    """Return the json in which the job of a span records that it has begun, in a run's folder."""
    return folder / JOBS / f"rounds{span.first:02d}-{span.last:02d}.json"


def shown(names: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """Return the variants that figures compare: the `wanted` ones, or the first four of `names`."""
    return list(wanted) or list(dict.fromkeys(names))[:4]
