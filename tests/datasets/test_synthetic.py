"""Synthetic people: RegDB's layout, reproducibility, and what each modality shows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salcr.datasets import folders
from salcr.datasets.regdb import read_records
from salcr.datasets.synthetic.generate import synthesize
from salcr.datasets.synthetic.people import render, sample_person
from salcr.errors import SalcrError
from tests.support import tiny


def make(out: Path, **changes: Any) -> Path:
    """Write a small data set."""
    sizes: dict[str, Any] = {
        "num_identities": 5,
        "images_per_identity": 2,
        "num_trials": 2,
        "seed": 1,
    }
    synthesize(out, **{**sizes, **changes}, height=48, width=32)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Return the images in a folder by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.bmp")}


def test_the_layout_is_regdbs(tmp_path: Path) -> None:
    """RegDB's reader accepts it: images of both modalities, half of the people for training."""
    records = read_records(make(tmp_path / "d"))
    assert len(records) == 2 * 5 * 2 * 2
    first = [record for record in records if record.trial == 1]
    train = {r.file.split("/")[1] for r in first if r.split == "train"}
    test = {r.file.split("/")[1] for r in first if r.split == "test"}
    assert len(train) == 2 and len(test) == 3 and train.isdisjoint(test)


def test_one_label_is_one_person_in_both_modalities(tmp_path: Path) -> None:
    """Within a split, a label names the same folder in the visible and the thermal file."""
    people: dict[tuple[int, str, int], set[str]] = {}
    for record in read_records(make(tmp_path / "d")):
        key = (record.trial, record.split, record.identity)
        people.setdefault(key, set()).add(record.file.split("/")[1])
    assert all(len(folders) == 1 for folders in people.values())


def test_trials_split_differently(tmp_path: Path) -> None:
    """Each trial samples its halves independently."""
    records = read_records(make(tmp_path / "d", num_identities=20))
    halves = [
        {r.file for r in records if (r.trial, r.split) == (trial, "train")} for trial in (1, 2)
    ]
    assert halves[0] != halves[1]


def test_trials_with_people_of_their_own_share_none(tmp_path: Path) -> None:
    """Trial t has people (t - 1) n .. t n - 1, half of them to train on; else 0 .. n - 1."""
    for own, wanted in (
        (True, {1: range(6), 2: range(6, 12)}),
        (False, dict.fromkeys((1, 2), range(6))),
    ):
        root = make(tmp_path / str(own), num_identities=6, own_people=own)
        records = read_records(root)
        for trial, identities in wanted.items():
            people = {
                split: {
                    int(r.file.split("/")[1]) - 1
                    for r in records
                    if (r.trial, r.split) == (trial, split)
                }
                for split in ("train", "test")
            }
            assert len(people["train"]) == len(people["test"]) == 3
            assert people["train"] | people["test"] == set(identities)
        assert len(list((root / "Thermal").iterdir())) == max(wanted[2]) + 1


def test_people_of_a_first_trial_are_the_shared_ones(tmp_path: Path) -> None:
    """Own people add to those of the first trial, whose images and splits stay the same."""
    shared = make(tmp_path / "shared", num_trials=1)
    own = make(tmp_path / "own", num_trials=2, own_people=True)
    assert contents(shared).items() < contents(own).items()
    for path in (shared / "idx").iterdir():
        assert (own / "idx" / path.name).read_bytes() == path.read_bytes()


def test_images_depend_on_seed_and_number_alone(tmp_path: Path) -> None:
    """More people or images leave the existing images unchanged; another seed changes them."""
    small, large = (
        contents(make(tmp_path / "a")),
        contents(make(tmp_path / "b", num_identities=7, images_per_identity=3)),
    )
    assert small.items() <= large.items()
    assert small != contents(make(tmp_path / "c", seed=2))


def test_pictures_of_ones_own_say_nothing_by_their_names(tmp_path: Path) -> None:
    """Two folders and a test: as many as there are people, of two sizes, unknown in training."""
    root = make(tmp_path / "own", layout="folders", num_identities=12, images_per_identity=4)
    records = folders.read_records(root)
    counts = Counter((record.split, record.modality) for record in records)
    assert len(counts) == 4 and set(counts.values()) == {6 * 4}
    assert {record.identity for record in records if record.split == "train"} == {-1}
    people = Counter(record.identity for record in records if record.split == "test")
    assert len(people) == 6 and set(people.values()) == {2 * 4}
    sizes = {record.camera: set() for record in records if record.split == "test"}
    for record in records:
        if record.split == "test":
            sizes[record.camera].add(Image.open(root / record.file).size)
    assert sizes == {1: {(32, 48)}, 2: {(64, 96)}, 3: {(32, 48)}, 4: {(64, 96)}}
    words = [record.file.rpartition("/")[2].partition(".")[0] for record in records]
    assert all(re.fullmatch("synthetic [0-9a-f]{12}", word) for word in words)
    assert len(set(words)) == len(words)


def test_infrared_is_gray_and_visible_is_not(tmp_path: Path) -> None:
    """Thermal images have three equal channels; visible images are colored."""
    root = make(tmp_path / "d")
    thermal = np.asarray(Image.open(root / "Thermal/1/thermal_00001.bmp")).astype(int)
    visible = np.asarray(Image.open(root / "Visible/1/visible_00001.bmp")).astype(int)
    assert thermal.shape == visible.shape == (48, 32, 3)
    assert np.ptp(thermal, axis=2).max() == 0
    assert np.ptp(visible, axis=2).max() > 30


def test_bare_skin_is_the_warmest() -> None:
    """In infrared the brightest pixels are skin, brighter than any clothing can be."""
    for seed in range(5):
        person = sample_person(np.random.default_rng(seed))
        image = render(person, modality="infrared", rng=np.random.default_rng(seed))
        assert image.max() > 215 and np.median(image[:4]) < 80


def test_hardness_affects_only_the_visible_brightness() -> None:
    """Hardness does not change infrared; at 1 a person's visible brightness differs."""
    person = sample_person(np.random.default_rng(4))

    def rendered(modality: str, hardness: float) -> np.ndarray:
        rng = np.random.default_rng(0)
        return render(person, modality=modality, rng=rng, hardness=hardness).astype(float)

    assert np.array_equal(rendered("infrared", 0), rendered("infrared", 1))
    assert np.abs(rendered("visible", 0) - rendered("visible", 1)).max() > 40


@pytest.mark.parametrize(
    "change", [{"num_identities": 3}, {"images_per_identity": 1}, {"num_trials": 0}]
)
def test_too_few_of_anything_is_refused(tmp_path: Path, change: dict[str, int]) -> None:
    """Fewer identities, images or trials than a split needs are rejected; nothing is written."""
    with pytest.raises(ValueError, match="at least 4 identities, 2 images of each and 1 trial"):
        make(tmp_path / "d", **change)
    assert not (tmp_path / "d").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """A folder that is not empty is left alone."""
    (tmp_path / "file").touch()
    with pytest.raises(SalcrError, match="is not empty"):
        make(tmp_path)


@pytest.mark.parametrize("layout", ["sysu", "llcm"])
def test_images_of_any_layout_depend_on_seed_and_number_alone(tmp_path: Path, layout: str) -> None:
    """More people or images leave an image and its camera unchanged; LLCM's may move."""

    def synthesized(name: str, num_identities: int, images: int, seed: int) -> dict[str, bytes]:
        sizes = {"num_identities": num_identities, "images_per_identity": images, "seed": seed}
        root = tmp_path / name
        synthesize(root, layout=layout, num_trials=1, **sizes, height=48, width=32)
        # In LLCM's layout the folder determines whether an image is for training or testing.
        keep = (lambda p: p.name) if layout == "llcm" else (lambda p: str(p.relative_to(root)))
        return {keep(path): path.read_bytes() for path in root.rglob("*.jpg")}

    small, large = synthesized("a", 4, 2, 1), synthesized("b", 6, 3, 1)
    assert len(small) == 16 and small.items() <= large.items()
    assert not small.items() & synthesized("c", 4, 2, 2).items()


def test_cameras_differ_mildly(tmp_path: Path) -> None:
    """The mean brightness of the same scene varies with the camera by a few percent."""
    from salcr.datasets.synthetic.generate import _through_camera

    gray = np.full((8, 8, 3), 128, dtype=np.uint8)
    seen = [_through_camera(gray, camera, "visible", 0).mean() for camera in range(1, 7)]
    assert len(set(seen)) == 6 and max(abs(mean / 128 - 1) for mean in seen) < 0.16
    infrared = _through_camera(gray, 3, "infrared", 0)
    assert np.ptp(infrared.astype(int), axis=2).max() == 0


@pytest.mark.parametrize("layout", ["regdb", "sysu", "llcm"])
def test_a_synthetic_folder_is_replaced_and_a_mixed_one_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    """Synthesizing again replaces the images; one with the name of a real data set prevents it."""
    words = ["--out", tmp_path / "d", *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words, "--layout", layout) == 0
    assert tiny.run("synthesize", *words, "--layout", "regdb") == 0
    assert {path.name for path in (tmp_path / "d").iterdir()} >= {"Visible", "Thermal", "idx"}
    assert tiny.run("synthesize", *words, "--layout", layout) == 0
    real = tmp_path / "d/cam1/0001/0001.jpg"
    real.parent.mkdir(parents=True, exist_ok=True)
    real.touch()
    assert tiny.run("synthesize", *words) == 1
    assert "holds other files" in capsys.readouterr().err and real.is_file()
