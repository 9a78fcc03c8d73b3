"""What folders of pictures hold: counted, with warnings of what was skipped or guessed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from salcr.errors import SalcrError
from salcr.log import warn
from salcr.search import index

_MAX_REASONS = 10  # in the message if none of the files is an image


def report_content(
    out: Path,
    summary: dict[str, Any],
    images: list[tuple[int, str, str]],
    skipped: list[tuple[int, str, str]],
    guessed: Counter[str],
) -> None:
    """Add the numbers of images to the summary, and warn about skipped files and guesses.

    Args:
        out: folder of the index.
        summary: of the index, with the names of its `folders`.
        images: folder, file, and modality of each.
        skipped: folder, file, and reason of each file that is not an image.
        guessed: modality -> number of images for which it was guessed.

    Raises:
        SalcrError: there are no images.
    """
    reasons = [f"{summary['folders'][n]}/{name}: {reason}" for n, name, reason in skipped]
    if not images:
        listed = "".join(f"\n  {reason}" for reason in reasons[:_MAX_REASONS])
        more = len(reasons) - _MAX_REASONS
        listed += f"\n  and {more} more" if more > 0 else ""
        folders = ", ".join(summary["folders"])
        raise SalcrError(f"{folders}: no readable images{listed}")
    if skipped:
        warn(f"{len(skipped)} files skipped, see {out / index.SKIPPED}; first {reasons[0]}")
    used = {number for number, _, _ in images}
    for number, folder in enumerate(summary["folders"]):
        if number not in used:  # the disk of one camera may be missing
            warn(f"{folder}: no readable images")
    summary["num_pictures"] = dict(Counter(modality for _, _, modality in images))
    summary["num_guessed"], summary["num_skipped"] = dict(guessed), len(skipped)
    if guessed:
        counted = ", ".join(f"{count} {modality}" for modality, count in sorted(guessed.items()))
        warn(
            f"guessed from the channels: {counted}; if that is wrong, give --modality for each "
            "folder"
        )
