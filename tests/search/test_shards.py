"""Shards of an index, and pictures that are added to one or removed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from salcr import files
from salcr.search import blocks, factory
from tests.support import tiny
from tests.support.faults import the_error

Output = pytest.CaptureFixture[str]
KINDS = ("flat", "ivf", "hnsw")


@pytest.fixture
def pictures(stage_one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of 20 pictures in blocks of 3; one more file is none."""
    monkeypatch.setattr(blocks, "_BLOCK", 3)
    for source in ("Visible", "Thermal"):
        for number, path in enumerate(sorted((stage_one / "raw" / source).rglob("*.bmp"))[::6]):
            target = tmp_path / f"pictures/{source}/{number % 2}/{number}.bmp"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    (tmp_path / "pictures/Thermal/notes.txt").touch()
    return tmp_path / "pictures"


def embed(stage_one: Path, pictures: Path, out: Path, *extra: object) -> int:
    """Run the stage."""
    words = ["--images", pictures, "--checkpoint", stage_one / "round00/checkpoint.pt"]
    return tiny.run("embed", *words, "--out", out, *extra)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of an index."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("count", [1, 3, 9])
def test_joined_shards_equal_one_run(
    stage_one: Path, pictures: Path, tmp_path: Path, embedded: list[int], count: int
) -> None:
    """To the byte, in any order; each picture is embedded once; also with a shard of no block."""
    assert embed(stage_one, pictures, tmp_path / "whole") == 0
    assert sum(embedded) == 20
    embedded.clear()
    out = tmp_path / "joined"
    for number in range(count, 0, -1):
        assert embed(stage_one, pictures, out, "--shard", f"{number}/{count}") == 0
    assert sum(embedded) == 20 and not (out / "embed.json").exists()
    assert tiny.run("join-index", "--index", out) == 0
    assert sum(embedded) == 20
    assert contents(out) == contents(tmp_path / "whole")


def test_a_join_that_was_killed_is_repeated(
    stage_one: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """While it wrote the index, and while it deleted the blocks of one that was complete."""
    out = tmp_path / "index"
    assert embed(stage_one, pictures, tmp_path / "whole") == 0
    assert embed(stage_one, pictures, out, "--shard", "1/1") == 0
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_table", Mock(side_effect=KeyboardInterrupt))
        assert tiny.run("join-index", "--index", out) == 130
    assert (out / "index.faiss").exists() and not (out / "embed.json").exists()
    remains = shutil.copytree(out / "blocks", tmp_path / "blocks")
    assert tiny.run("join-index", "--index", out) == 0
    assert contents(out) == contents(tmp_path / "whole")
    (remains / "000003.npz").unlink()
    remains.rename(out / "blocks")
    assert tiny.run("join-index", "--index", out) == 0
    assert "is already the index of these images" in capsys.readouterr().err
    assert contents(out) == contents(tmp_path / "whole")


def test_a_shard_is_repeated_without_computing(
    stage_one: Path, pictures: Path, tmp_path: Path, embedded: list[int], capsys: Output
) -> None:
    """Its blocks are there; `embed` of all resumes after them as after a run that was killed."""
    for _ in range(2):
        assert embed(stage_one, pictures, tmp_path / "index", "--shard", "2/3") == 0
    assert sum(embedded) == 6
    assert embed(stage_one, pictures, tmp_path / "index") == 0
    assert sum(embedded) == 20 and "resuming after 2 of 7 blocks" in capsys.readouterr().err


def test_shards_that_do_not_belong_together_are_refused(
    stage_one: Path, pictures: Path, tmp_path: Path, capsys: Output
) -> None:
    """None, one missing, other pictures since, another modality, and words that name no part."""
    out = tmp_path / "index"

    def refusal(*words: object) -> str:
        capsys.readouterr()
        assert tiny.run(*words) == 1
        return the_error(capsys.readouterr().err)

    assert "no such folder" in refusal("join-index", "--index", out)
    out.mkdir()
    assert "holds no shards" in refusal("join-index", "--index", out)
    assert embed(stage_one, pictures, out, "--shard", "1/2") == 0
    message = refusal("join-index", "--index", out)
    assert "000001.npz: and 2 more of 7 blocks are missing" in message
    capsys.readouterr()
    assert embed(stage_one, pictures, out, "--shard", "2/2", "--modality", "visible") == 1
    message = the_error(capsys.readouterr().err)
    assert "other shards have another modalities (['auto'], not ['visible'])" in message
    assert embed(stage_one, pictures, out, "--shard", "2/2") == 0
    first, *_, last = sorted(pictures.rglob("*.bmp"))
    shutil.copy(last, first)
    assert "000000.npz: and 0 more of 7" in refusal("join-index", "--index", out)
    (out / "blocks/settings.json").write_text("{}")
    assert "settings.json: is not the settings.json" in refusal("join-index", "--index", out)
    assert embed(stage_one, pictures, out, "--shard", "1/2", "--kind", "ivf") == 1
    assert "--kind ivf: is for join-index" in the_error(capsys.readouterr().err)
    for word in ("0/3", "4/3", "3", "a/b", "1/0"):
        with pytest.raises(SystemExit):
            embed(stage_one, pictures, out, "--shard", word)
        assert f"'{word}' is not a part such as 3/8" in capsys.readouterr().err


def test_shards_share_a_folder_and_a_join_does_not(
    stage_one: Path, pictures: Path, tmp_path: Path, capsys: Output
) -> None:
    """While one shard runs, another may, but no join; while an index is written, no shard may."""
    out = tmp_path / "index"
    out.mkdir()
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    assert embed(stage_one, pictures, out, "--shard", "1/1") == 0
    assert tiny.run("join-index", "--index", out) == 1
    assert "another process is writing to it" in the_error(capsys.readouterr().err)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert embed(stage_one, pictures, out, "--shard", "1/1") == 1
    assert "another process is writing to it" in the_error(capsys.readouterr().err)
    os.close(handle)
    assert tiny.run("join-index", "--index", out) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_shards", [False, True])
def test_added_and_removed_pictures_leave_the_others(
    stage_one: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    embedded: list[int],
    kind: str,
    in_shards: bool,
) -> None:
    """Only new contents are embedded; the index is that of a new run, up to rounding."""
    monkeypatch.setattr(factory, "_FEWEST", dict.fromkeys(KINDS, 2))
    out = tmp_path / "index"

    def update() -> int:
        if not in_shards:
            return embed(stage_one, pictures, out, "--kind", kind)
        status = [embed(stage_one, pictures, out, "--shard", f"{i}/2") for i in (1, 2)]
        return max(*status, tiny.run("join-index", "--index", out, "--kind", kind))

    assert update() == 0
    embedded.clear()
    first, second, *_ = sorted((pictures / "Visible").rglob("*.bmp"))
    first.unlink()  # all others move
    second.rename(pictures / "Visible/renamed.bmp")
    source = sorted((stage_one / "raw/Visible").rglob("*.bmp"))[1]
    shutil.copy(source, pictures / "Thermal/0/another.bmp")
    assert update() == 0
    assert sum(embedded) == 1
    assert embed(stage_one, pictures, tmp_path / "new", "--kind", kind) == 0
    lines, new = (pd.read_csv(one / "files.csv") for one in (out, tmp_path / "new"))
    pd.testing.assert_frame_equal(lines, new)
    features = [np.load(one / "features.npy") for one in (out, tmp_path / "new")]
    np.testing.assert_allclose(*features, atol=1e-6)
    words = ["--checkpoint", stage_one / "round00/checkpoint.pt", "--top", 20]
    for one in ("index", "new"):
        query = ["--query", source, "--json", tmp_path / f"{one}.json"]
        assert tiny.run("search", "--index", tmp_path / one, *words, *query) == 0
    hits = [
        json.loads((tmp_path / f"{one}.json").read_text())["queries"][0]["hits"]
        for one in ("index", "new")
    ]
    assert [hit["path"] for hit in hits[0]] == [hit["path"] for hit in hits[1]]
    assert len(hits[0]) == 10


def test_another_kind_keeps_the_features(
    stage_one: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    embedded: list[int],
) -> None:
    """The index is built again, nothing is embedded, and the files of the old kind are gone."""
    monkeypatch.setattr(factory, "_FEWEST", dict.fromkeys(KINDS, 2))
    assert embed(stage_one, pictures, tmp_path / "index") == 0
    whole = contents(tmp_path / "index")
    embedded.clear()
    assert embed(stage_one, pictures, tmp_path / "index", "--kind", "hnsw") == 0
    names = {"index.visible.faiss", "index.infrared.faiss"}
    assert {*contents(tmp_path / "index")} == {*whole} - {"index.faiss"} | names
    assert embed(stage_one, pictures, tmp_path / "index") == 0
    assert contents(tmp_path / "index") == whole and sum(embedded) == 0


@pytest.mark.parametrize("change", ["modality", "network", "features", "digests"])
def test_features_that_may_be_others_are_computed(
    stage_one: Path, pictures: Path, tmp_path: Path, embedded: list[int], change: str
) -> None:
    """A stated modality that was guessed otherwise, another network, damaged files."""
    out = tmp_path / "index"
    assert embed(stage_one, pictures, out) == 0
    embedded.clear()
    extra: tuple[object, ...] = ()
    if change == "modality":
        extra = ("--modality", "visible")
    elif change == "network":
        summary = tmp_path / "other"
        assert tiny.pretrain(stage_one / "data", summary, "--seed", 9) == 0
        stage_one = summary
    else:
        path = out / f"{change}.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        (pictures / "Visible/0/0.bmp").rename(pictures / "Visible/0/1.bmp")
    assert embed(stage_one, pictures, out, *extra) == 0
    assert sum(embedded) == (10 if change == "modality" else 20)
