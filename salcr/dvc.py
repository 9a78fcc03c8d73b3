"""What DVC tracks and is not here: it is to be pulled, not trained again.

Snakemake only knows that a file is missing, and would create it. Imported by the workflow.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from salcr.errors import SalcrError
from salcr.files import read_yaml
from salcr.log import FINISHED

_LOCK = Path("dvc.lock")
_RECORDS = Path(".snakemake/metadata")
_INCOMPLETE = Path(".snakemake/incomplete")

_WHAT_TO_DO = f"""
  dvc pull
(`dvc pull --force` if files were changed here and may be overwritten). To compute everything
again on purpose, delete {_LOCK}."""


def raw_files(root: Path, split_files: str, missing: Callable[[Path], str]) -> list[str]:
    """Return the files that say which raw images there are: what the first stage waits for.

    Args:
        root: folder of the raw images.
        split_files: pattern of the files in it that list the images.
        missing: returns the message for a folder without them.

    Returns:
        The split files, sorted, and DVC's record of the folder if it has one: an image may change
        while its split files do not, and `dvc add` hashes every image.

    Raises:
        SalcrError: there is no split file.
    """
    record = Path(f"{root}.dvc")
    found = root.glob(split_files)
    files = sorted(str(path) for path in found if not path.name.startswith("."))
    if not files and record.exists():
        raise SalcrError(f"{root} is tracked by DVC but not here. Fetch it with\n  dvc pull")
    if not files:
        raise SalcrError(missing(root))
    return [*files, str(record)] if record.exists() else files


def check_pulled(results: Path, logs_of: Callable[[], Mapping[Path, Path]]) -> None:
    """Check that the checkpoints of results that DVC tracks are here.

    One that is missing because its own job was stopped or failed here is accepted.

    Args:
        results: the folder of results, relative to the working folder.
        logs_of: returns checkpoint -> log of the job that writes it, for all requested checkpoints;
            called for results that DVC tracks only.

    Raises:
        SalcrError: the results were not pulled, or not completely.
    """
    if not _LOCK.exists() or results.as_posix() not in _tracked(_LOCK):
        return
    logs = logs_of()
    recorded, incomplete = _outputs_in(_RECORDS), _outputs_in(_INCOMPLETE)
    if not any(path.is_relative_to(results) for path in recorded):
        raise SalcrError(
            f"{results} is tracked by DVC ({_LOCK}), but {_RECORDS} has no record of it: it was "
            f"not pulled. Fetch both with{_WHAT_TO_DO}"
        )
    missing = [
        path
        for path in sorted(recorded & logs.keys() - incomplete)
        if not path.exists() and not _is_unfinished(logs[path])
    ]
    if missing:
        raise SalcrError(
            f"{missing[0]} is missing, although DVC tracks {results} ({_LOCK}); "
            f"{len(missing)} of {len(logs)} checkpoints are missing. Fetch them with{_WHAT_TO_DO}"
        )


def _tracked(lock: Path) -> set[str]:
    """Return the paths of all outputs in a dvc.lock."""
    stages = read_yaml(lock).get("stages", {})
    return {out["path"] for stage in stages.values() for out in stage.get("outs", [])}


def _outputs_in(folder: Path) -> set[Path]:
    """Return the outputs about which Snakemake keeps a file in one of its folders.

    The name of the file is the output's path in base64, split into folders `@...` if it is longer
    than a file name may be.
    """
    outputs = set()
    for file in folder.rglob("*"):
        name = "".join(part.removeprefix("@") for part in file.relative_to(folder).parts)
        with suppress(ValueError):  # some other file
            outputs.add(Path(urlsafe_b64decode(name).decode()))
    return outputs


def _is_unfinished(log: Path) -> bool:
    """Return whether a job ran here and did not finish, so that its output is rightly missing.

    Snakemake's records do not show it: they are the same for a job that failed and one that
    succeeded.
    """
    return log.exists() and FINISHED not in log.read_text(encoding="utf-8", errors="replace")
