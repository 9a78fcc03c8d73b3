"""The whole rounds of a job of several, kept until the job ends.

Snakemake deletes the files of a job that was stopped. Hard links in a folder that it does not know
keep them, at no cost of disk space, so that the repeated job continues after its last whole round.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from salcr import files
from salcr.atomic import atomic_path
from salcr.config.runs import round_name
from salcr.errors import SalcrError
from salcr.log import say, warn

_INDEX = "kept.json"
STATE = "optimizer.pt"


class KeptRounds:
    """The kept rounds of one run.

    Args:
        folder: of the run, with a folder for each round.
        key: of what the rounds follow from, by `resume_key`; those of another key are not used.
        all_states: whether to keep the optimizer's state of each round, not only of the last.
    """

    def __init__(self, folder: Path, key: str, *, all_states: bool) -> None:
        self.folder, self.kept = folder, folder / "kept"
        self._all_states = all_states
        self._key = key
        self._checksums: dict[str, dict[str, str]] = {}

    def restore(self, first: int, last: int) -> int:
        """Put the kept rounds back into place; return the last one, or first - 1 if there is none.

        Rounds that are damaged, of another key, or past the last are not used, with a message.
        """
        try:
            self._checksums = self._read(first, last)
            for round_, checksums in self._checksums.items():
                for name in checksums:
                    _link(self.kept / round_ / name, self.folder / round_ / name)
        except SalcrError as error:
            warn(f"{error}; starting from round {first}")
            self._checksums = {}
        if not self._checksums:
            self.finish()
        return first + len(self._checksums) - 1

    def keep(self, round_: int, names: list[str]) -> None:
        """Keep the files of a round, and delete the state before it if it is no longer needed."""
        name = round_name(round_)
        for file in names:
            _link(self.folder / name / file, self.kept / name / file)
        checksums = {file: files.crc32(self.kept / name / file) for file in names}
        before = round_name(round_ - 1)
        if not self._all_states and before in self._checksums:
            del self._checksums[before][STATE]
        self._checksums[name] = checksums
        files.write_json(self.kept / _INDEX, {"key": self._key, "rounds": self._checksums})
        if not self._all_states and before in self._checksums:
            for folder in (self.kept, self.folder):
                (folder / before / STATE).unlink(missing_ok=True)

    def finish(self) -> None:
        """Delete what is kept, once the job's last round is whole."""
        shutil.rmtree(self.kept, ignore_errors=True)

    def _read(self, first: int, last: int) -> dict[str, dict[str, str]]:
        """Return round -> file -> checksum of the kept rounds, all of which are whole."""
        path = self.kept / _INDEX
        if not path.exists():
            return {}
        index = files.read_json(path)
        if index["key"] != self._key:
            say(f"{path}: of other settings, code or data; starting from round {first}")
            return {}
        rounds: dict[str, dict[str, str]] = index["rounds"]
        wanted = [round_name(round_) for round_ in range(first, last + 1)]
        if list(rounds) != wanted[: len(rounds)]:
            say(f"{path}: of other rounds than {first} to {last}; starting from round {first}")
            return {}
        for round_, checksums in rounds.items():
            for name, checksum in checksums.items():
                if files.crc32(self.kept / round_ / name) != checksum:
                    raise SalcrError(f"{self.kept / round_ / name}: is damaged")
        return rounds


def _link(source: Path, target: Path) -> None:
    """Make the target a hard link to the source, or a copy where the file system has no links."""
    with atomic_path(target) as temporary:
        temporary.unlink()
        with suppress(OSError):
            os.link(source, temporary)
            return
        shutil.copyfile(source, temporary)
