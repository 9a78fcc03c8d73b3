"""`search`: the hits agree with the metrics, shown as a table, JSON, an image and a page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salcr import files
from tests.support import tiny
from tests.support.pages import Page

ODD_NAME = 'it\'s <script>alert("1")</script> & more.bmp'.replace("/", "\u2215")


@pytest.fixture(scope="module")
def indexed(stage_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tiny results, the held-out images of trial 1 and their index."""
    folder = tmp_path_factory.mktemp("search") / "copy"
    shutil.copytree(stage_one, folder)
    assert tiny.evaluate(folder / "data", folder, 0) == 0
    for file in heldout(folder)["file"]:
        (folder / "heldout" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "raw" / file, folder / "heldout" / file)
    assert embed(folder, folder / "index", folder / "heldout") == 0
    return folder


def heldout(indexed: Path) -> pd.DataFrame:
    """Return files, modalities and identities of the test images of trial 1."""
    lines = pd.read_csv(indexed / "data/manifest.csv")
    lines["identity"] = pd.read_csv(indexed / "data/identities.csv")["identity"]
    return lines.query("trial == 1 and split == 'test'")


def embed(indexed: Path, out: Path, *folders: Path) -> int:
    """Build an index of folders."""
    words = ["--checkpoint", indexed / "round00/checkpoint.pt", "--out", out]
    return tiny.run("embed", "--images", *folders, *words)


def search(indexed: Path, *queries: object, index: str = "index", extra: tuple[object, ...]) -> int:
    """Run the stage."""
    words = ["--index", indexed / index, "--checkpoint", indexed / "round00/checkpoint.pt"]
    return tiny.run("search", *words, "--query", *queries, *extra)


def printed_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the output of a failed run: one error, no traceback."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert sum(line.startswith("error: ") for line in text.splitlines()) == 1
    return text


@pytest.mark.parametrize(
    ("query", "setting"),
    [("visible", "visible-to-thermal"), ("infrared", "thermal-to-visible")],
)
def test_the_right_person_is_found_at_the_rate_of_the_metrics(
    indexed: Path, tmp_path: Path, query: str, setting: str
) -> None:
    """Over all held-out queries, CMC at ranks 1, 5 and 10 equals that of metrics.json."""
    lines = heldout(indexed)
    files = lines.loc[lines["modality"] == query, "file"]
    paths = [indexed / "heldout" / file for file in files]
    assert search(indexed, *paths, extra=("--json", tmp_path / "f.json", "--top", 10)) == 0
    queries = json.loads((tmp_path / "f.json").read_text())["queries"]
    identity = {str(indexed / "heldout" / i.file): i.identity for i in lines.itertuples()}
    right = np.array([
        [identity[hit["path"]] == identity[one["path"]] for hit in one["hits"]] for one in queries
    ])  # fmt: skip
    (metrics,) = json.loads((indexed / "round00/metrics.json").read_text())["settings"][setting][
        "none"
    ]
    for rank in (1, 5, 10):
        assert right[:, :rank].any(axis=1).mean() == pytest.approx(metrics["cmc"][rank - 1])
    assert {hit["modality"] for one in queries for hit in one["hits"]} == {
        "visible", "infrared"
    } - {query}  # fmt: skip


def test_hits_are_the_largest_cosines(indexed: Path, tmp_path: Path) -> None:
    """Rows and scores equal those of a matrix product; among all images, the query comes first."""
    features = np.load(indexed / "index/features.npy")
    lines = pd.read_csv(indexed / "index/files.csv")
    words = ("--among", "all", "--json", tmp_path / "f.json", "--top", 7)
    chosen = [3, len(lines) - 2, 8, len(lines) - 7]  # of both modalities, in turn
    paths = [indexed / "heldout" / lines["file"][row] for row in chosen]
    assert search(indexed, *paths, extra=words) == 0
    queries = json.loads((tmp_path / "f.json").read_text())["queries"]
    for row, path, one in zip(chosen, paths, queries, strict=True):
        assert (one["path"], one["modality"]) == (str(path), lines["modality"][row])
        cosines = features @ features[row]
        best = np.argsort(-cosines, kind="stable")[:7]
        assert best[0] == row and [hit["row"] for hit in one["hits"]] == best.tolist()
        assert np.allclose([hit["score"] for hit in one["hits"]], cosines[best], atol=1e-5)
        assert [hit["rank"] for hit in one["hits"]] == list(range(1, 8))


def test_the_table_is_aligned_and_says_the_same(
    indexed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output has an aligned line per hit, best first; the guess is a warning on stderr."""
    query = next((indexed / "heldout/Thermal").rglob("*.bmp"))
    assert search(indexed, query, extra=("--json", tmp_path / "f.json", "--top", 3)) == 0
    shown = capsys.readouterr()
    head, columns, *rows = shown.out.splitlines()
    assert head == f"{query} (infrared)" and columns.split() == ["rank", "score", "file"]
    (one,) = json.loads((tmp_path / "f.json").read_text())["queries"]
    assert [(*row.split()[:1], row.split()[2]) for row in rows] == [
        (str(hit["rank"]), hit["path"]) for hit in one["hits"]
    ]
    assert len({row.index("/") for row in rows}) == 1
    assert "guessed to be infrared" in shown.err
    assert search(indexed, query, extra=("--modality", "infrared")) == 0
    assert "guessed" not in capsys.readouterr().err


def test_the_page_is_self_contained_and_file_names_are_escaped(
    indexed: Path, tmp_path: Path
) -> None:
    """Images are embedded, nothing is loaded, and a name that resembles HTML is shown as text."""
    (tmp_path / "odd").mkdir()
    visible = sorted((indexed / "heldout/Visible").rglob("*.bmp"))
    shutil.copy(visible[0], tmp_path / "odd" / ODD_NAME)
    shutil.copy(next((indexed / "heldout/Thermal").rglob("*.bmp")), tmp_path / "odd/gray one.bmp")
    assert embed(indexed, tmp_path / "index", tmp_path / "odd") == 0
    query, page = tmp_path / "odd/gray one.bmp", tmp_path / "new/page.html"
    words = ("--page", page, "--sheet", tmp_path / "sheet.png", "--top", 5)
    assert search(indexed, query, index=str(tmp_path / "index"), extra=words) == 0
    text = page.read_text()
    parsed = Page(text)
    images = parsed.all("img")
    assert [str(image["src"])[:23] for image in images] == ["data:image/jpeg;base64,"] * 2
    assert ODD_NAME in str(images[1]["alt"]) and ODD_NAME in parsed.text
    assert not {"script", "a", "link", "iframe"} & {tag for tag, _ in parsed.elements}
    assert not re.search(r"https?:|src=\"(?!data:)|url\(", text)
    assert Image.open(tmp_path / "sheet.png").size[0] > 150
    (tmp_path / "odd" / ODD_NAME).unlink()  # a missing image leaves its place empty
    assert search(indexed, query, index=str(tmp_path / "index"), extra=words) == 0
    assert page.read_text() != text


def test_more_hits_than_images_give_all_images(
    indexed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--top above the size of the gallery gives every image once, with a warning."""
    query = next((indexed / "heldout/Visible").rglob("*.bmp"))
    assert search(indexed, query, extra=("--top", 999, "--json", tmp_path / "f.json")) == 0
    assert "--top 999: the index has 30 infrared images" in capsys.readouterr().err
    (one,) = json.loads((tmp_path / "f.json").read_text())["queries"]
    assert len({hit["row"] for hit in one["hits"]}) == len(one["hits"]) == 30


def test_a_forged_index_is_refused(
    indexed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With right checksums: files of two indexes, no checksums, fewer folders, another width."""
    query = next((indexed / "heldout/Visible").rglob("*.bmp"))
    summary = json.loads((indexed / "index/embed.json").read_text())
    del summary["checksum"]
    lines = pd.read_csv(indexed / "index/files.csv")
    for number, (change, table) in enumerate((
        ({"crc32": {}}, lines), ({"folders": []}, lines), ({"num_channels": 65}, lines),
        ({"crc32": {"files.csv": "0"}}, lines), ({"kind": "hnsw"}, lines),
        ({"num_pictures": {"gray": 3}}, lines), ({}, lines[:-1]), ({}, lines.assign(folder=1)),
        ({}, lines.assign(modality="gray")), ({}, lines.drop(columns="file")),
    )):  # fmt: skip
        forged = tmp_path / str(number)
        shutil.copytree(indexed / "index", forged)
        table.to_csv(forged / "files.csv", index=False)
        checksums = {name: files.crc32(forged / name) for name in summary["crc32"]}
        files.write_json(forged / "embed.json", {**summary, "crc32": checksums, **change})
        assert search(indexed, query, index=str(forged), extra=()) == 1
        assert str(forged) in printed_error(capsys)


def test_an_index_of_another_model_is_refused(
    indexed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The index stores the SHA-256 of its checkpoint."""
    assert tiny.pretrain(indexed / "data", tmp_path, "--seed", 9) == 0
    capsys.readouterr()
    query = next((indexed / "heldout/Visible").rglob("*.bmp"))
    words: list[Any] = ["--index", indexed / "index", "--query", query]
    assert tiny.run("search", *words, "--checkpoint", tmp_path / "round00/checkpoint.pt") == 1
    assert "was made with another model" in printed_error(capsys)
    assert tiny.run("search", *words, "--checkpoint", tmp_path / "gone.pt") == 1
    assert f"{tmp_path / 'gone.pt'}: no such file" in printed_error(capsys)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("embed.json", "does not hold a complete index"), ("index.faiss", "is damaged"),
        ("files.csv", "is damaged or of another index"), ("one byte", "is damaged"),
        ("reversed", "is damaged"),
    ],
)  # fmt: skip
def test_an_incomplete_index_is_refused(
    indexed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, complaint: str
) -> None:
    """Without its summary, truncated, changed or with another table: named, and can be rebuilt."""
    shutil.copytree(indexed / "index", tmp_path / "index")
    path = tmp_path / "index" / {"one byte": "index.faiss", "reversed": "files.csv"}.get(name, name)
    if name == "embed.json":
        path.unlink()
    elif name == "one byte":
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
    elif name == "reversed":
        table = pd.read_csv(path)
        table.assign(file=table["file"].to_numpy()[::-1]).to_csv(path, index=False)
    elif name == "index.faiss":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    query = next((indexed / "heldout/Visible").rglob("*.bmp"))
    assert search(indexed, query, index=str(tmp_path / "index"), extra=()) == 1
    text = printed_error(capsys)
    assert str(tmp_path / "index") in text and complaint in text
    assert embed(indexed, tmp_path / "index", indexed / "heldout") == 0
    assert search(indexed, query, index=str(tmp_path / "index"), extra=()) == 0


def test_invalid_queries_are_named(
    indexed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing or foreign file, zero hits, an unknown modality, or one without a counterpart."""
    query = next((indexed / "heldout/Visible").rglob("*.bmp"))
    assert search(indexed, tmp_path / "gone.png", extra=()) == 1
    assert f"{tmp_path / 'gone.png'}: is missing" in printed_error(capsys)
    (tmp_path / "text.png").write_text("no picture")
    assert search(indexed, query, tmp_path / "text.png", extra=()) == 1
    assert f"{tmp_path / 'text.png'}: cannot be decoded" in printed_error(capsys)
    assert search(indexed, query, extra=("--top", 0)) == 1
    assert "--top 0" in printed_error(capsys)
    assert search(indexed, query, extra=("--sheet", tmp_path / "sheet.txt")) == 1
    assert "sheet.txt: the name must end with .png" in printed_error(capsys)
    with pytest.raises(SystemExit) as caught:
        search(indexed, query, extra=("--modality", "thermal"))
    assert caught.value.code == 2 and "infrared" in capsys.readouterr().err
    assert embed(indexed, tmp_path / "one", indexed / "heldout/Visible") == 0
    capsys.readouterr()
    assert search(indexed, query, index=str(tmp_path / "one"), extra=()) == 1
    text = printed_error(capsys)
    assert "has no infrared images" in text and "--among all" in text
