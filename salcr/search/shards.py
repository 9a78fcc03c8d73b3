"""Shards of an index: jobs that share the blocks, and one that joins them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salcr import files
from salcr.config.index_kinds import ShardSettings
from salcr.errors import SalcrError
from salcr.search import blocks


def write_settings(out: Path, summary: dict[str, Any]) -> None:
    """Write what all shards have in common, for the run that joins them.

    Args:
        out: folder of the index.
        summary: as in `embed_folders`.

    Raises:
        SalcrError: another shard had other settings.
    """
    path = out / blocks.FOLDER / blocks.SETTINGS
    if path.exists():
        old = _read_settings(path)
        if other := [key for key in summary if old.get(key) != summary[key]]:
            raise SalcrError(
                f"{out}: other shards have another {other[0]} ({old.get(other[0])}, not "
                f"{summary[other[0]]}); repeat them all after deleting {path.parent}"
            )
    else:
        files.write_json(path, summary)


def join(out: Path, kind: str) -> None:
    """Write the index of the blocks of all shards, as one run would have written it.

    Args:
        out: folder of the index.
        kind: of the index.

    Raises:
        SalcrError: there are no shards, or a block is missing.
    """
    path = out / blocks.FOLDER / blocks.SETTINGS
    if not path.exists():
        raise SalcrError(f"{out}: holds no shards; run `python -m salcr embed --shard` first")
    summary = _read_settings(path)
    work = blocks.list_work([Path(folder) for folder in summary["folders"]], out, summary)
    key = blocks.key_of(work)
    if blocks.is_done(out, key, kind):  # a join was killed while it deleted the blocks
        blocks.end(out, "is already the index of these images; nothing to do")
        return
    if missing := [one.path for one in work if not blocks.is_block(one)]:
        raise SalcrError(
            f"{missing[0]}: and {len(missing) - 1} more of {len(work)} blocks are missing, or of "
            "other pictures or another version; repeat the shards that have not finished, or all"
        )
    blocks.finish(out, work, {**summary, "key": key}, kind)


def _read_settings(path: Path) -> dict[str, Any]:
    return files.read_json(path, ShardSettings, hint=f"delete {path.parent}, and repeat all shards")
