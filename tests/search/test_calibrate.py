"""`calibrate` finds the thresholds of an index, and `search` answers with nobody below them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salcr import files
from tests.support import tiny
from tests.support.faults import the_error
from tests.support.pages import Page

CLUSTERING = (
    "--clustering-k1", 6, "--clustering-k2", 2, "--clustering-eps", 0.7,
    "--clustering-min-samples", 2,
)  # fmt: skip
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def stored(stage_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the index of all tiny pictures and the csv of their people."""
    folder = tmp_path_factory.mktemp("calibrate")
    network = ["--checkpoint", stage_one / "round00/checkpoint.pt"]
    shutil.copytree(stage_one / "raw", folder / "raw")
    images = [folder / "raw/Visible", folder / "raw/Thermal"]
    words = ["--modality", "visible", "infrared", "--out", folder / "index"]
    assert tiny.run("embed", "--images", *images, *words, *network) == 0
    lines = pd.read_csv(folder / "index/files.csv")
    people = lines["file"].str.split("/").str[0]  # the folder of each person
    table = pd.DataFrame({"file": lines["file"], "identity": people})
    table.to_csv(folder / "people.csv", index=False)
    (folder / "checkpoint.pt").symlink_to(stage_one / "round00/checkpoint.pt")
    return folder


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    """Return a copy of the index and the csv, which a test may change."""
    shutil.copytree(stored / "index", tmp_path / "index")
    shutil.copy(stored / "people.csv", tmp_path)
    return tmp_path


def calibrate(folder: Path, *extra: object) -> int:
    """Run the stage on the index of a folder."""
    return tiny.run("calibrate", "--index", folder / "index", *extra)


def with_people(folder: Path, **changes: object) -> int:
    """Calibrate with the csv of people after some of its columns were changed."""
    table = pd.read_csv(folder / "people.csv").assign(**changes)
    table.to_csv(folder / "changed.csv", index=False)
    return calibrate(folder, "--identities", folder / "changed.csv")


def search(folder: Path, stored: Path, *extra: object) -> int:
    """Search the index for a visible and an infrared picture."""
    query = [sorted((stored / "raw" / one).rglob("*.bmp"))[0] for one in ("Visible", "Thermal")]
    words = ["--index", folder / "index", "--checkpoint", stored / "checkpoint.pt"]
    return tiny.run("search", *words, "--query", *query, *extra)


def test_a_csv_of_people_gives_the_thresholds(folder: Path, capsys: Output) -> None:
    """Rates and numbers are those of the features, computed here, without unknown people.

    The table on standard output says the same.
    """
    table = pd.read_csv(folder / "people.csv")
    identity = table["identity"].where(table["identity"] > 2, -1)
    capsys.readouterr()
    assert with_people(folder, identity=identity) == 0
    printed = capsys.readouterr().out.splitlines()
    content = json.loads((folder / "index/calibration.json").read_text())
    features = np.load(folder / "index/features.npy")
    modality = pd.read_csv(folder / "index/files.csv")["modality"]
    known = np.flatnonzero(identity > 0)
    assert content["num_images"] == len(known) and content["people_from"] == "identities"
    negative = []
    for i in known:
        for j in known:
            if (
                modality[i] == "visible"
                and modality[j] == "infrared"
                and identity[i] != identity[j]
            ):
                negative.append(features[i] @ features[j])
    across = content["pairs"]["across"]
    assert sum(across["negative"]) == len(negative) >= 1000
    threshold = across["thresholds"][0]["threshold"]
    assert np.mean(np.array(negative) >= threshold) <= 0.01
    assert np.mean(np.array(negative) >= threshold - 2e-4) >= 0.01 - 1 / len(negative)
    assert f"{threshold:.4f}" in printed[1] and printed[1].startswith("across")
    assert "needs 10000 pairs of different people" in printed[2]


def test_clusters_take_the_place_of_people(folder: Path, capsys: Output) -> None:
    """Without a csv it says so, and no identity is read: people are found in the features."""
    assert calibrate(folder, *CLUSTERING) == 0
    assert "clusters of the index, without any identity" in capsys.readouterr().err
    content = json.loads((folder / "index/calibration.json").read_text())
    assert content["people_from"] == "clusters"
    assert 1 < content["num_people"] < content["num_images"] <= 120
    for pairs in content["pairs"].values():
        centers = np.linspace(-0.995, 0.995, 200)
        means = [np.average(centers, weights=pairs[side]) for side in ("positive", "negative")]
        assert means[0] > means[1]


def test_a_sample_is_compared_and_said(folder: Path, capsys: Output) -> None:
    """--most limits images in both ways; whole people remain, or runs of images."""
    people = ("--identities", folder / "people.csv")
    assert calibrate(folder, *people, "--most", 45) == 0
    assert "4 of 12 people are compared; raise --most" in capsys.readouterr().err
    content = json.loads((folder / "index/calibration.json").read_text())
    assert (content["num_images"], content["num_people"]) == (40, 4)
    assert calibrate(folder, *CLUSTERING, "--most", 80) == 0
    assert "visible: 40 of 60 images are clustered" in capsys.readouterr().err
    assert calibrate(folder, *people, "--most", 19) == 1
    assert "--most 19: is too small" in the_error(capsys.readouterr().err)


@pytest.mark.parametrize("among", ["other", "all"])
def test_hits_below_the_threshold_are_dropped(
    folder: Path, stored: Path, tmp_path: Path, capsys: Output, among: str
) -> None:
    """--at-fmr keeps exactly the hits that reach the threshold of their kind of pair."""
    assert calibrate(folder, "--identities", folder / "people.csv") == 0
    pairs = json.loads((folder / "index/calibration.json").read_text())["pairs"]
    limit = {kind: one["thresholds"][0]["threshold"] for kind, one in pairs.items()}
    assert limit["across"] != limit["within"]
    words = ("--top", 60, "--among", among)
    assert search(folder, stored, *words, "--json", tmp_path / "all.json") == 0
    assert search(folder, stored, *words, "--json", tmp_path / "some.json", "--at-fmr", "1e-2") == 0
    every, some = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("all", "some"))
    assert "min_score" not in every
    kinds = ["across", "within"] if among == "all" else ["across"]
    assert some["min_score"] == {kind: limit[kind] for kind in kinds}
    dropped = 0
    for one, other in zip(every["queries"], some["queries"], strict=True):
        kept = [
            hit
            for hit in one["hits"]
            if hit["score"] >= limit["within" if hit["modality"] == one["modality"] else "across"]
        ]
        assert other["hits"] == kept
        dropped += len(one["hits"]) - len(kept)
    assert dropped > 0


def test_nobody_is_an_answer(folder: Path, stored: Path, tmp_path: Path, capsys: Output) -> None:
    """Without a hit: a line of the table, an empty list, a sentence on the page, a bare sheet."""
    extra = ("--json", tmp_path / "a.json", "--page", tmp_path / "a.html")
    sheet = ("--sheet", tmp_path / "a.png")
    capsys.readouterr()
    assert search(folder, stored, *extra, *sheet, "--min-score", 1) == 0
    answer = "nobody: no image has a score of at least 1.0000"
    assert capsys.readouterr().out.count(f"   -       -  {answer}\n") == 2
    content = json.loads((tmp_path / "a.json").read_text())
    assert [query["hits"] for query in content["queries"]] == [[], []]
    assert content["min_score"] == {"across": 1.0}
    page = Page((tmp_path / "a.html").read_text())
    assert page.text.count(answer) == 2 and len(page.all("img")) == 2
    assert "left out if it is below 1.0000 across modalities" in page.text
    assert (tmp_path / "a.png").exists()


def test_a_threshold_that_is_not_there_is_refused(
    folder: Path, stored: Path, capsys: Output
) -> None:
    """No calibration, one of other pictures, a damaged one, a rate without pairs or unknown."""

    def refusal(*extra: object) -> str:
        capsys.readouterr()
        assert search(folder, stored, *extra) == 1
        return the_error(capsys.readouterr().err)

    assert "has no calibration; run `python -m salcr calibrate" in refusal("--at-fmr", "1e-2")
    assert calibrate(folder, "--identities", folder / "people.csv") == 0
    assert "0.0001: " in refusal("--at-fmr", "1e-4") and "too few" in refusal("--at-fmr", "1e-4")
    assert "must be one of 0.0001, 0.001, 0.01" in refusal("--at-fmr", "0.5")
    path = folder / "index/calibration.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    files.write_json(path, {**content, "index": "another"})
    assert f"{path}: is the calibration of another index" in refusal("--at-fmr", "1e-2")
    path.write_text(path.read_text().replace("another", "anothes"))
    assert f"{path}: is not the calibration.json" in refusal("--at-fmr", "1e-2")
    for value in ("2", "nan", "x"):
        with pytest.raises(SystemExit):
            search(folder, stored, "--min-score", value)
        assert f"'{value}' is not a number from -1 to 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        search(folder, stored, "--min-score", "0.5", "--at-fmr", "1e-2")


def test_people_that_do_not_fit_are_refused(folder: Path, capsys: Output) -> None:
    """Unknown files, two identities, another modality, one person, no pair, nobody known."""
    table = pd.read_csv(folder / "people.csv")
    first = table["file"][0]

    def refusal(**changes: object) -> str:
        capsys.readouterr()
        assert with_people(folder, **changes) == 1
        return the_error(capsys.readouterr().err)

    assert "gone.bmp is not in the index" in refusal(file=["gone.bmp", *table["file"][1:]])
    repeated = [*table["file"][:-1], first]
    assert f"{first} has the identities" in refusal(file=repeated)
    assert f"{first} is infrared, but visible in the index" in refusal(modality="infrared")
    assert "all images are of one person" in refusal(identity=5)
    assert "no two images are of one person" in refusal(identity=range(len(table)))
    assert "holds no known identity" in refusal(identity=-1)
    assert "column identity lacks a word" in refusal(identity=None)
    table.drop(columns="identity").to_csv(folder / "people.csv", index=False)
    assert calibrate(folder, "--identities", folder / "people.csv") == 1
    assert "has no column identity" in the_error(capsys.readouterr().err)
    assert not (folder / "index/calibration.json").exists()


def test_people_in_one_modality_calibrate_pairs_within_it(
    folder: Path, stored: Path, capsys: Output
) -> None:
    """It is said, and a search of the other modality has no threshold."""
    table = pd.read_csv(folder / "people.csv")
    is_infrared = pd.read_csv(folder / "index/files.csv")["modality"] == "infrared"
    assert with_people(folder, identity=table["identity"] + 100 * is_infrared) == 0
    assert "no person is in both modalities" in capsys.readouterr().err
    assert search(folder, stored, "--at-fmr", "1e-2") == 1
    assert "too few pairs across modalities" in the_error(capsys.readouterr().err)


def test_a_name_in_two_folders_needs_its_whole_path(
    stored: Path, tmp_path: Path, capsys: Output
) -> None:
    """A file of two indexed folders is named by its path; the short name is refused."""
    for place in ("a", "b"):
        shutil.copytree(stored / "raw/Visible/1", tmp_path / place)
    words = ["--modality", "visible", "--checkpoint", stored / "checkpoint.pt"]
    out = ["--out", tmp_path / "index"]
    assert tiny.run("embed", "--images", tmp_path / "a", tmp_path / "b", *words, *out) == 0
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    people = tmp_path / "people.csv"
    people.write_text("file,identity\n" + "".join(f"{name},1\n" for name in names))
    capsys.readouterr()
    assert calibrate(tmp_path, "--identities", people) == 1
    message = the_error(capsys.readouterr().err)
    assert f"{names[0]} is in several folders of the index; give its whole path" in message
    lines = [f"{tmp_path / place / name},{place}\n" for place in ("a", "b") for name in names]
    people.write_text("file,identity\n" + "".join(lines))
    assert calibrate(tmp_path, "--identities", people) == 0
