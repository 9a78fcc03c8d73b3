"""Tracks of a tracker: which images of one's own pictures show one person."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import DBSCAN

from salcr.data.store import load_split
from salcr.datasets import folders
from salcr.errors import SalcrError
from salcr.pseudo_labels.clustering import dbscan
from tests.pseudo_labels.test_clustering import stored
from tests.support import own_pictures, tiny

_KEY = ("--clustering-tracks", "true")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of four pictures."""
    return own_pictures.small(tmp_path / "own")


def write(root: Path, name: str, *lines: str) -> None:
    """Write a csv, one line each."""
    (root / name).write_text("".join(f"{line}\n" for line in lines))


def tracks_of(root: Path) -> dict[str, int]:
    """Return image -> number of its track."""
    return {record.name: record.track for record in folders.read_records(root)}


def test_tracks_count_in_each_modality(root: Path) -> None:
    """The same name in both modalities is two tracks; a picture without a line has none."""
    before = folders.digest(root)
    own_pictures.copy(root, "visible/a.JPG", "visible/c.JPG")
    write(root, "tracks.csv", "track,file", "7,visible/a.JPG", "x,visible/b/1.png",
          "7,infrared/2.png")  # fmt: skip
    assert tracks_of(root) == {
        "visible/a.JPG": 0, "visible/b/1.png": 1, "visible/c.JPG": -1,
        "infrared/2.png": 0, "infrared/é x.tif": -1,
    }  # fmt: skip
    assert folders.digest(root) != before


def test_boxes_have_tracks_of_their_own(root: Path) -> None:
    """A column of boxes.csv, whose cells may be empty."""
    write(root, "boxes.csv", "file,x,y,width,height,track", "visible/a.JPG,0,0,8,8,p",
          "visible/a.JPG,8,0,8,8,", "visible/b/1.png,0,0,9,9,p")  # fmt: skip
    assert tracks_of(root) == {
        "visible/a.JPG#xywh=0,0,8,8": 0, "visible/a.JPG#xywh=8,0,8,8": -1,
        "visible/b/1.png#xywh=0,0,9,9": 0, "infrared/2.png": -1, "infrared/é x.tif": -1,
    }  # fmt: skip


FAULTS = {
    "unknown": (["visible/x.png,1"], "visible/x.png is not a picture in visible/"),
    "again": (["visible/a.JPG,1", "visible/a.JPG,2"], "lists visible/a.JPG again, after line 2"),
    "empty": (["visible/a.JPG,"], "visible/a.JPG has no track"),
    "test": (["test/visible/5.png,1"], "test/visible/5.png is not a picture in visible/"),
    "boxed": (["visible/b/1.png,1"], "the images of visible/ are boxes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_contradiction_is_refused_with_its_line(root: Path, fault: str) -> None:
    """Nothing is guessed: unknown, repeated, and nameless pictures, and those that are boxes."""
    lines, complaint = FAULTS[fault]
    own_pictures.add_test(root)
    if fault == "boxed":
        write(root, "boxes.csv", "file,x,y,width,height", "visible/a.JPG,0,0,8,8")
    write(root, "tracks.csv", "file,track", *lines)
    with pytest.raises(SalcrError, match=f"tracks.csv, line {1 + len(lines)}") as caught:
        folders.read_records(root)
    assert complaint in str(caught.value)


def test_a_track_in_several_folders_is_warned_of(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trackers count from 1 in every camera; the same number in two cameras is not one person."""
    write(root, "tracks.csv", "file,track", "visible/a.JPG,1", "visible/b/1.png,1")
    folders.read_records(root)
    assert "visible track 1 has images in visible, visible/b" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(20))
def test_images_of_a_track_have_the_distance_0(seed: int) -> None:
    """The labels are those of scikit-learn with these distances set to 0."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 2))
    dense = ((points[:, None] - points) ** 2).sum(axis=2)
    tracks = rng.integers(-1, 12, size=60)
    joined = dense.copy()
    joined[(tracks[:, None] == tracks) & (tracks >= 0)] = 0
    expected = DBSCAN(eps=0.06, min_samples=4, metric="precomputed").fit(joined).labels_
    labels = dbscan(stored(dense, 0.5), eps=0.06, min_samples=4, tracks=tracks)
    assert labels.tolist() == expected.tolist()
    without = dbscan(stored(dense, 0.5), eps=0.06, min_samples=4)
    assert without.tolist() != labels.tolist()


def test_training_with_tracks(stage_one: Path, tmp_path: Path) -> None:
    """With tracks of true people, each is in one cluster; with the key off, they change nothing."""
    for name in ("with", "without"):
        own_pictures.from_regdb(stage_one / "raw", tmp_path / name)
    identities = pd.read_csv(stage_one / "data/identities.csv")
    chosen = identities[(identities["trial"] == 1) & (identities["split"] == "train")]
    lines, tracks = ["file,track"], defaultdict(list)
    for modality, people in chosen.groupby("modality"):
        for position, identity in enumerate(people["identity"]):
            name = own_pictures.NAMES[str(modality)].format(position)
            lines.append(f'"{modality}/{name}",{identity}')
            tracks[modality, identity].append(position)
    write(tmp_path / "with", "tracks.csv", *lines)
    labels = {}
    for name, key in (("with", _KEY), ("with", ()), ("without", ())):
        data, out = tmp_path / f"{name}-data", tmp_path / f"{name}{len(key)}"
        assert own_pictures.preprocess(tmp_path / name, data) == 0
        assert tiny.pretrain(data, out, *key) == 0
        assert tiny.associate(data, out, 1, *key) == 0
        labels[out.name] = pd.read_csv(out / "round01/labels.csv").drop(columns="checksum")
    assert labels["with0"].equals(labels["without0"])
    assert not labels["with2"].equals(labels["with0"])
    for (modality, _), positions in tracks.items():
        rows = labels["with2"][labels["with2"]["modality"] == modality].set_index("position")
        assert rows.loc[positions, "cluster"].nunique() == 1
        assert (rows.loc[positions, "cluster"] >= 0).all()
    stored_tracks = load_split(tmp_path / "with-data", trial=1, split="train").images
    assert [len(set(side.tracks.tolist())) for side in stored_tracks.values()] == [6, 6]


def test_tracks_that_are_not_there(
    stage_one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key without tracks is refused before anything is trained."""
    assert tiny.pretrain(stage_one / "data", tmp_path, *_KEY) == 1
    assert "clustering.tracks is true, but no track" in capsys.readouterr().err
