"""`serve`: the hits of `search`, pictures of the index, and the thresholds of a calibration."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salcr import files
from salcr.search.embedder import Embedder
from tests.support import tiny
from tests.support.served import Served, encoded, serving

Words = list[object]
Output = pytest.CaptureFixture[str]


def copied(words: Words, to: Path) -> Words:
    """Return arguments that name a copy of the index, which a test may change."""
    shutil.copytree(str(words[1]), to)
    return ["--index", to, *words[2:]]


def embed(raw: Path, out: Path, words: Words, *extra: object) -> int:
    """Embed the tiny pictures of a folder as `make_index` does; those of the index are known."""
    images = ["--images", raw / "Visible", raw / "Thermal", "--modality", "visible", "infrared"]
    return tiny.run("embed", *images, "--out", out, *words[2:], *extra)


@pytest.mark.parametrize("among", ["other", "all"])
@pytest.mark.parametrize("modality", ["auto", "visible", "infrared"])
def test_hits_are_those_of_search(
    folder: Path, words: Words, served: Served, tmp_path: Path, modality: str, among: str
) -> None:
    """For pictures of both modalities, rows, scores, and paths are exactly the command's."""
    for query in ("Visible/2", "Thermal/3"):
        path = next((folder / "raw" / query).iterdir())
        options: Words = ["--modality", modality, "--among", among, "--top", 7]
        record = tmp_path / "hits.json"
        assert tiny.run("search", *words, "--query", path, *options, "--json", record) == 0
        expected = json.loads(record.read_text())
        del expected["checksum"]
        expected["queries"][0]["path"] = path.name
        assert served.search(path, modality=modality, among=among, top=7) == expected
        assert len(expected["queries"][0]["hits"]) == 7


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_hits_of_an_indexed_picture_are_the_largest_cosines(
    folder: Path, words: Words, tmp_path: Path, kind: str
) -> None:
    """They equal a matrix product of stored features, with an approximate index, too."""
    index = copied(words, tmp_path / "index")
    assert embed(folder / "raw", tmp_path / "index", words, "--kind", kind) == 0
    features = np.load(tmp_path / "index/features.npy")
    modality = pd.read_csv(tmp_path / "index/files.csv")["modality"].to_numpy()
    with serving(*index) as one:
        for row in (0, 70, len(features) - 1):
            for among in ("other", "all"):
                result = one.ask(f"/api/pictures/{row}/hits", among=among, top=5).json
                (query,) = result["queries"]
                cosines = features @ features[row]
                if among == "other":
                    cosines[modality == modality[row]] = -2
                best = np.sort(cosines)[::-1][:5]
                assert np.allclose([hit["score"] for hit in query["hits"]], best, atol=1e-5)
                chosen = cosines[[hit["row"] for hit in query["hits"]]]
                assert np.allclose(chosen, best, atol=1e-5)
                assert (query["modality"], query["guessed"]) == (modality[row], False)


def test_pictures_of_the_index_are_listed_by_name_and_modality(
    folder: Path, served: Served
) -> None:
    """Page by page, they are the lines of files.csv that hold the text, which is not a pattern."""
    lines = pd.read_csv(folder / "index/files.csv")
    sizes = []
    for text, modality in (("", "auto"), ("1/V", "visible"), ("", "infrared"), ("1.*", "auto")):
        chosen = np.array([text.lower() in name.lower() for name in lines["file"]])
        if modality != "auto":
            chosen &= lines["modality"] == modality
        rows: list[int] = []
        for start in range(0, len(lines) + 1, 24):
            page = {"text": text, "modality": modality, "start": start}
            found = served.ask("/api/pictures", **page).json
            assert found["total"] == chosen.sum() and found["step"] == 24
            rows += [one["row"] for one in found["pictures"]]
        assert rows == np.flatnonzero(chosen).tolist()
        sizes.append(len(rows))
    assert sizes[0] == len(lines) > sizes[2] > sizes[1] > sizes[3] == 0


def test_a_picture_of_the_index_is_shown_small(folder: Path, served: Served) -> None:
    """It is a JPEG that resembles the picture of its row more than any other; paths are unknown."""
    lines = pd.read_csv(folder / "index/files.csv")
    place = {"visible": folder / "raw/Visible", "infrared": folder / "raw/Thermal"}
    paths = [place[line.modality] / line.file for line in lines.itertuples()]
    stored = np.stack([np.asarray(Image.open(path).convert("RGB"), dtype=float) for path in paths])
    for row in (3, len(lines) - 2):
        answer = served.ask(f"/api/pictures/{row}")
        assert answer.headers["content-type"] == "image/jpeg"
        shown = np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB"), dtype=float)
        assert np.abs(stored - shown).mean(axis=(1, 2, 3)).argmin() == row
    for row in (-1, len(lines)):
        for path in (f"/api/pictures/{row}", f"/api/pictures/{row}/hits"):
            assert f"the index has {len(lines)} pictures" in served.ask(path).detail(404)
    assert served.ask("/api/pictures/..%2f..%2fpeople.csv").status in (404, 422)
    assert served.ask("/static/..%2fserver.py").status == 404


def test_a_large_picture_is_made_small(stage_one: Path, tmp_path: Path) -> None:
    """A picture of a large camera is sent with at most 240 pixels."""
    (tmp_path / "pictures").mkdir()
    for name, level in (("a.png", (200, 30, 30)), ("b.png", (90, 90, 90))):
        picture = np.full((600, 1200, 3), level, np.uint8)
        (tmp_path / "pictures" / name).write_bytes(encoded(picture, "PNG"))
    network = ["--checkpoint", stage_one / "round00/checkpoint.pt"]
    index = tmp_path / "index"
    assert tiny.run("embed", "--images", tmp_path / "pictures", "--out", index, *network) == 0
    with serving("--index", index, *network) as one:
        shown = Image.open(io.BytesIO(one.ask("/api/pictures/0").body))
    assert shown.size == (240, 120)


def test_pictures_that_vanish_or_change_are_not_shown(
    folder: Path, words: Words, tmp_path: Path
) -> None:
    """A missing file, another picture, a pipe, a link: a reason as JSON, and hits as before."""
    for person in ("Visible/1", "Thermal/1"):
        shutil.copytree(folder / "raw" / person, tmp_path / "raw" / person)
    assert embed(tmp_path / "raw", tmp_path / "index", words) == 0
    lines = pd.read_csv(tmp_path / "index/files.csv")
    gone, changed, pipe, link, other = (
        tmp_path / "raw/Visible" / name for name in lines["file"][:5]
    )
    with serving("--index", tmp_path / "index", *words[2:]) as one:
        before = one.ask("/api/pictures/0/hits").json
        for path in (gone, pipe, link):
            path.unlink()
        shutil.copy(other, changed)
        os.mkfifo(pipe)
        link.symlink_to(folder / "people.csv")
        assert one.ask("/api/pictures/0").detail(410) == f"{gone}: is not there any more"
        for row in (1, 2, 3):
            assert "has changed since" in one.ask(f"/api/pictures/{row}").detail(410)
        assert one.ask("/api/pictures/4").status == 200
        assert one.ask("/api/pictures/0/hits").json == before


def test_pictures_of_every_format_are_searched_for(folder: Path, served: Served) -> None:
    """The formats of the readers, with a name or without; lossless ones have the same hits."""
    path = next((folder / "raw/Visible/4").iterdir())
    picture = np.asarray(Image.open(path).convert("RGB"))
    expected = served.search(path)["queries"][0]["hits"]
    for form, name in (("PNG", "a.PNG"), ("TIFF", "a.tif"), ("BMP", "noname"), ("PPM", "../x.ppm")):
        (query,) = served.ask("/api/hits", encoded(picture, form), name=name).json["queries"]
        assert (query["path"], query["hits"]) == (name, expected)
    answer = served.ask("/api/hits", encoded(picture, "WEBP"), name="a.webp", modality="visible")
    assert answer.status == 200


def test_thresholds_are_those_of_the_calibration(words: Words, tmp_path: Path) -> None:
    """Without one, after calibrate, for another index, and damaged: thresholds, or what to do."""
    copy = copied(words, tmp_path / "index")
    path = tmp_path / "index/calibration.json"
    people = Path(str(words[1])).with_name("people.csv")
    with serving(*copy) as one:

        def described() -> Any:
            return one.ask("/api/index").json

        index = described()
        assert (index["thresholds"], index["people_from"]) == ([], None)
        assert f"salcr calibrate --index {tmp_path / 'index'}" in index["note"]
        counts = pd.read_csv(tmp_path / "index/files.csv")["modality"].value_counts().to_dict()
        assert index["num_pictures"] == counts
        assert tiny.run("calibrate", *copy[:2], "--identities", people) == 0
        index, stored = described(), json.loads(path.read_text())
        expected = {
            (entry["false_match_rate"], kind): entry["threshold"]
            for kind, pairs in stored["pairs"].items()
            for entry in pairs["thresholds"]
            if entry["threshold"] is not None
        }
        listed = {
            (line["rate"], kind): line[kind]
            for line in index["thresholds"]
            for kind in line.keys() - {"rate"}
        }
        assert listed == expected and expected and index["note"] == ""
        assert index["people_from"] == "identities"
        of_another = {**stored, "index": "another"}
        del of_another["checksum"]
        for text in (path.read_text().replace("0.", "1.", 1), of_another):
            if isinstance(text, str):
                path.write_text(text)
            else:
                files.write_json(path, text)
            assert "run calibrate again" in described()["note"] and not described()["thresholds"]


def test_one_picture_at_a_time_passes_the_network(
    folder: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten searches at once do not meet in it, and each has its own hits."""
    paths = sorted((folder / "raw/Visible").rglob("*.bmp"))[:10]
    expected = [served.search(path) for path in paths]
    inside, most, features = [0], [0], Embedder.features
    lock = threading.Lock()

    def counted(embedder: Embedder, *arguments: Any) -> Any:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        result = features(embedder, *arguments)
        with lock:
            inside[0] -= 1
        return result

    monkeypatch.setattr(Embedder, "features", counted)
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(served.search, paths)) == expected
    assert most == [1]
