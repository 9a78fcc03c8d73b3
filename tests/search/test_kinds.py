"""Approximate indexes: their recall is measured, and what they return is right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from salcr import files
from salcr.errors import SalcrError
from salcr.search import factory
from salcr.search.factory import factory_string
from salcr.search.index import IMAGE_COLUMNS, SKIPPED_COLUMNS, read_index, write_index
from tests.support.helpers import unit_rows

KINDS = ("ivf", "hnsw", "pq")
_SUMMARY: dict[str, Any] = {
    "checkpoint": {"sha256": "a", "round": 1, "trial": 1}, "num_channels": 32, "device": "cpu",
    "folders": ["/a"], "num_pictures": {"visible": 1200, "infrared": 1400}, "key": "k",
}  # fmt: skip


def clusters(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return unit rows of 40 clusters."""
    rows = unit_rows(rng, 40, 32)[rng.integers(40, size=size)] + 0.1 * rng.normal(size=(size, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def similar_to(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return unit rows, one not far from each of some features."""
    rows = features + 0.05 * rng.normal(size=features.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def write(folder: Path, features: np.ndarray, modality: list[str], kind: str) -> None:
    """Write an index of features in two blocks."""
    lines = [(0, f"{number}.bmp", one) for number, one in enumerate(modality)]
    write_index(
        folder,
        lambda: np.split(features, [700]),
        images=pd.DataFrame(lines, columns=IMAGE_COLUMNS),
        skipped=pd.DataFrame([], columns=SKIPPED_COLUMNS),
        digests=np.zeros((len(features), 32), np.uint8),
        summary=_SUMMARY,
        kind=kind,
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an index of each kind, all of the same 2,600 rows."""
    import faiss  # here, because the check of a GPU imports all tests without it

    folder = tmp_path_factory.mktemp("kinds")
    faiss.omp_set_num_threads(1)  # as stages do; several are slow where other tests run
    rng = np.random.default_rng(5)
    modality = rng.permutation(["visible"] * 1200 + ["infrared"] * 1400).tolist()
    features = clusters(rng, 2600)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(factory, "_FEWEST", dict.fromkeys(KINDS, 500))
        for kind in ("flat", *KINDS):
            write(folder / kind, features, modality, kind)
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modalities", [["visible"], ["infrared"], ["visible", "infrared"]])
def test_hits_are_of_the_modality_with_their_cosines(
    stored: Path, rng: np.random.Generator, kind: str, modalities: list[str]
) -> None:
    """Scores are exact, also of codes; no image twice, largest first, and few others are larger."""
    index = read_index(stored / kind)
    features = np.load(stored / kind / "features.npy")
    queries = similar_to(features[::90], rng)
    rows, scores = index.search(queries, modalities, 10)
    assert rows.shape == (29, 10) and (rows >= 0).all()
    is_searched = index.images["modality"].isin(modalities).to_numpy()
    missed = 0
    for query, of_query, cosines in zip(queries, rows, scores, strict=True):
        assert is_searched[of_query].all() and len(set(of_query.tolist())) == 10
        np.testing.assert_allclose(cosines, features[of_query] @ query, atol=1e-5)
        assert (np.diff(cosines) <= 0).all()
        exact = sorted(float(features[r] @ query) for r in np.flatnonzero(is_searched))[-10:]
        missed += sum(cosine < exact[0] - 1e-5 for cosine in cosines)
    assert missed <= 29


@pytest.mark.parametrize("kind", KINDS)
def test_the_recall_in_the_summary_is_that_of_searches(stored: Path, kind: str) -> None:
    """Of evenly spaced queries of the other modality, counted one by one."""
    index = read_index(stored / kind)
    features = np.load(stored / kind / "features.npy")
    for modality, other in (("visible", "infrared"), ("infrared", "visible")):
        part = index.summary["parts"][modality]
        rows, own = index.rows_of([other]), index.rows_of([modality])
        queries = rows[np.linspace(0, len(rows) - 1, 256).round().astype(int)]
        first = among = 0
        for query in queries:
            exact = np.sort(features[own] @ features[query])[::-1][:10]
            _, (scores,) = index.search(features[[query]], [modality], 10)
            first += scores[0] >= exact[0] - 1e-5
            among += sum(score >= exact[-1] - 1e-5 for score in scores)
        assert part["recall_at_1"] == pytest.approx(first / 256, abs=0.01)
        assert part["recall_at_10"] == pytest.approx(among / 2560, abs=0.01)
        assert part["recall_at_10"] >= 0.9 and part["width"] >= 1


def test_a_flat_index_is_exact_and_has_one_file(stored: Path, rng: np.random.Generator) -> None:
    """Hits are those of a matrix product; nothing is measured."""
    index = read_index(stored / "flat")
    features = np.load(stored / "flat/features.npy")
    queries, own = clusters(rng, 20), index.rows_of(["infrared"])
    rows, _ = index.search(queries, ["infrared"], 5)
    expected = own[np.argsort(-(queries @ features[own].T), axis=1)[:, :5]]
    assert np.array_equal(rows, expected)
    assert index.summary["parts"] == {} and index.summary["kind"] == "flat"
    assert [path.name for path in (stored / "flat").glob("*.faiss")] == ["index.faiss"]


@pytest.mark.parametrize("kind", ["flat", *KINDS])
def test_features_of_rows_are_those_written(stored: Path, kind: str) -> None:
    """Calibration reads them from every kind, also where the index holds codes only."""
    features = np.load(stored / kind / "features.npy")
    rows = np.array([2, 700, 1999])
    assert np.array_equal(read_index(stored / kind).features_of(rows), features[rows])


@pytest.mark.parametrize("kind", KINDS)
def test_few_images_have_an_exact_index(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """It is said; an absent modality has no index, and more hits than images are all images."""
    features = clusters(rng, 90)
    write(tmp_path, features, ["visible"] * 90, kind)
    assert f"90 images are too few for {kind}" in capsys.readouterr().err
    index = read_index(tmp_path)
    assert list(index.parts) == ["visible"]
    rows, _ = index.search(features[:3], ["visible"], 200)
    assert np.array_equal(rows, np.argsort(-(features[:3] @ features.T), axis=1))


def test_searches_that_find_fewer_say_so(stored: Path) -> None:
    """A list with fewer images than wanted ends with -1 and the lowest score."""
    index = read_index(stored / "ivf")
    part = index.parts["visible"]._replace(width=1)
    rows, scores = part.search(np.eye(1, 32, dtype=np.float32), 1000)
    num_hits = int((rows >= 0).sum())
    assert 0 < num_hits < 1000 and (rows[0, num_hits:] == -1).all()
    assert np.isneginf(scores[0, num_hits:]).all() and np.isfinite(scores[0, :num_hits]).all()


def test_a_search_is_widened_as_long_as_it_finds_little(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of thousands of lists the first few hold nearly nothing; that most are visited is said."""
    exact = np.ones((256, 10), np.float32)

    class Lists(NamedTuple):
        """Each of 4096 lists has the same share of the neighbors."""

        width: int = 0
        import faiss

        index: Any = faiss.index_factory(2, "IVF4096,Flat")

        def search(self, queries: np.ndarray, k: int) -> tuple[None, np.ndarray]:
            hits = np.arange(exact.size) * 4096 < self.width * exact.size
            return None, np.where(hits.reshape(exact.shape), exact, 0)

    measured = factory._measure(Lists(), np.empty((256, 2)), exact)  # type: ignore[arg-type]
    assert measured == {"width": 4096, "recall_at_1": 1, "recall_at_10": 1}
    assert "searches visit 4096 of 4096 lists" in capsys.readouterr().err


def test_the_description_grows_with_the_images() -> None:
    """Lists grow with the square root of the images, codes divide the width."""
    assert factory_string("flat", 10**6, 2048) == "Flat"
    assert factory_string("ivf", 10**6, 2048) == "IVF4000,Flat"
    assert factory_string("hnsw", 10**6, 2048) == "HNSW32"
    assert factory_string("pq", 10**6, 2048) == "IVF4000,PQ64"
    assert factory_string("pq", 10**4, 20) == "IVF256,PQ4"
    assert [factory_string(kind, 900, 64) for kind in KINDS] == ["Flat"] * 3


def test_exact_neighbors_are_those_of_a_sort(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block by block, also with fewer rows than wanted."""
    monkeypatch.setattr(factory, "_BLOCK", 7)
    features, queries = unit_rows(rng, 50, 8), unit_rows(rng, 4, 8)
    for count in (30, 5):
        rows = rng.permutation(50)[:count]
        expected = -np.sort(-(queries @ features[rows].T), axis=1)[:, :10]
        found = factory.exact_nearest(features, rows, queries)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["ivf", "pq"])
def test_lists_are_computed_on_a_gpu_where_faiss_has_one(
    stored: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """With a pretended GPU the centers are searched there, with equal hits; without, it is said."""
    import faiss

    monkeypatch.setattr(factory, "_FEWEST", dict.fromkeys(KINDS, 500))
    features = np.load(stored / "flat/features.npy")
    modality = pd.read_csv(stored / "flat/files.csv")["modality"].tolist()
    moved = []

    def pretend(index: Any) -> Any:
        moved.append(index.d)
        return index

    monkeypatch.setitem(_SUMMARY, "device", "cuda")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    write(tmp_path / "without", features, modality, kind)
    assert "faiss sees no GPU" in capsys.readouterr().err
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", pretend)
    write(tmp_path / "with", features, modality, kind)
    assert moved == [32, 32] and "sees no GPU" not in capsys.readouterr().err
    one, other = (read_index(tmp_path / name) for name in ("without", "with"))
    assert one.summary["parts"] == other.summary["parts"]
    for hits in zip(*(i.search(features[:9], ["visible"], 5) for i in (one, other)), strict=True):
        np.testing.assert_allclose(*hits, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ivf", "index.visible.faiss"), ("hnsw", "index.infrared.faiss"), ("pq", "features.npy")],
)
def test_a_damaged_part_is_refused_by_name(
    stored: Path, tmp_path: Path, kind: str, name: str
) -> None:
    """One byte of the index of a modality, or of the features that order the hits of codes."""
    folder = shutil.copytree(stored / kind, tmp_path / kind)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(SalcrError, match=f"{name}: is damaged or of another index"):
        read_index(folder)


def test_an_index_of_an_older_version_can_be_searched(stored: Path, tmp_path: Path) -> None:
    """Without kind, parts, and the digests of files, as before there were any."""
    folder = shutil.copytree(stored / "flat", tmp_path / "flat")
    summary = json.loads((folder / "embed.json").read_text())
    for key in ("kind", "parts", "checksum"):
        del summary[key]
    (folder / "digests.npy").unlink()
    summary["crc32"] = {name: summary["crc32"][name] for name in ("index.faiss", "files.csv")}
    files.write_json(folder / "embed.json", summary)
    queries = np.load(folder / "features.npy")[:4]
    old, new = (
        read_index(one).search(queries, ["visible"], 9) for one in (folder, stored / "flat")
    )
    assert np.array_equal(old.rows, new.rows)
