"""`salcr.api`: each function against an independent derivation, and which arguments it rejects."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import sparse
from sklearn.cluster import DBSCAN
from torch.nn.functional import normalize

from salcr import api
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.files import read_yaml
from salcr.models.checkpoint import write_model
from salcr.models.network import Network
from salcr.search import public
from tests.reference.slow_method import plan
from tests.support.helpers import close, groups, unit_rows
from tests.support.plans import REPOSITORY

FUNCTIONS = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]
SIZE = (64, 32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a narrow network for images of 64 × 32."""
    torch.manual_seed(0)
    network = Network(backbone="resnet18", width=8, num_parts=3)
    path = tmp_path_factory.mktemp("api") / "checkpoint.pt"
    origin = {"round_": 0, "trial": 1, "data_hash": None}
    write_model(path, network, image_size=SIZE, settings=Config.model_construct(), **origin)
    return path


def test_importing_it_imports_nothing_heavy() -> None:
    """In a separate process, the module imports none of the large libraries."""
    code = "import sys, salcr.api; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numba", "sklearn", "faiss", "scipy", "pandas", "matplotlib", "PIL"}
    assert heavy.isdisjoint(done.stdout.split()) and "salcr.api" in done.stdout.split()


def test_the_readme_has_the_example_of_the_module() -> None:
    """The code in README.md is that of the module, which the next test runs."""
    examples = doctest.DocTestParser().get_examples(api.__doc__ or "")
    example = "".join(one.source for one in examples)
    readme = (REPOSITORY / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", readme, re.S)
    assert code is not None
    lines = [line for line in code[1].splitlines() if line and not line.startswith("#")]
    assert lines == example.splitlines()


def test_the_examples_are_right(checkpoint: Path) -> None:
    """Every function has an example, and all examples print what they claim."""
    names = {"np": np, "checkpoint": checkpoint, **{n: getattr(api, n) for n in api.__all__}}
    finder = doctest.DocTestFinder(recurse=False)
    tests = finder.find(api)
    for name in FUNCTIONS:
        tests += finder.find(getattr(api, name), name, globs=names)
    assert {*FUNCTIONS, "salcr.api"} == {test.name for test in tests if test.examples}
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.failures == 0 and runner.tries > 30


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_are_complete(name: str) -> None:
    """Each describes arguments, result, errors, related functions, and references."""
    text = inspect.getdoc(getattr(api, name)) or ""
    sections = ["Args:", "Raises:", "See Also:", "References:", "Examples:"]
    assert all(f"\n{section}\n" in text for section in sections)
    for argument in inspect.signature(getattr(api, name)).parameters:
        assert f"\n    {argument}: " in text


def test_defaults_are_those_of_the_configuration() -> None:
    """Omitted arguments have the values of config/default.yaml."""
    config = read_yaml(REPOSITORY / "config/default.yaml")
    clustering, association, evaluation = (
        config[section] for section in ("clustering", "associate", "evaluate")
    )
    expected: dict[str, dict[str, Any]] = {
        "cluster": {key: clustering[key] for key in ("k1", "k2", "eps", "min_samples")},
        "jaccard_distance": {key: clustering[key] for key in ("k1", "k2")},
        "dbscan": {"min_samples": clustering["min_samples"]},
        "associate": {
            "strength": association["sinkhorn_strength"],
            **{key: association[key] for key in ("method", "cmfp_k", "relabel_own_modality")},
        },
        "propagate": {"k": association["cmfp_k"]},
        "rerank_cmfp": {"k": evaluation["cmfp_k"]},
        "rerank_aim": {"k1": evaluation["aim_k1"], "k2": evaluation["aim_k2"]},
        "rerank_cmrr": {"k": evaluation["cmrr_k"]},
    }
    for function, values in expected.items():
        parameters = inspect.signature(getattr(api, function)).parameters
        assert {name: parameters[name].default for name in values} == values


@pytest.mark.parametrize("max_distance", [0.5, 1.0])
def test_jaccard_distance_is_the_released_one(golden: Any, max_distance: float) -> None:
    """Stored are the released code's distances up to the largest requested one, and no others."""
    data = golden("jaccard")
    distance = api.jaccard_distance(data["features"], max_distance=max_distance).tocoo()
    dense = np.full(distance.shape, np.inf)
    dense[distance.row, distance.col] = distance.data
    expected = data["distance"]
    is_stored = np.isfinite(dense)
    close(dense[is_stored], expected[is_stored])
    assert (expected[~is_stored] > max_distance - 1e-5).all()
    assert (expected[is_stored] < max_distance + 1e-5).all() and 0 < is_stored.mean() < 1


def test_what_is_stored_grows_with_the_rows(rng: np.random.Generator) -> None:
    """Four times the rows, in groups of equal size: four times the entries, not sixteen."""
    counts = []
    for num_groups in (20, 80):
        features = groups(rng, num_groups, 10, 128, 0.3)
        counts.append(api.jaccard_distance(features, k1=10, k2=3, max_distance=0.6).nnz)
    assert counts[0] >= 20 * 10 * 5  # most pairs of a group are stored
    assert counts[1] == pytest.approx(4 * counts[0], rel=0.1)


@pytest.mark.parametrize("eps", [0.35, 0.55])
def test_clusters_are_those_of_scikit_learn(golden: Any, eps: float) -> None:
    """DBSCAN of scikit-learn on the released dense distances gives the same labels."""
    data = golden("jaccard")
    dense = data["distance"]
    expected = DBSCAN(eps=eps, min_samples=4, metric="precomputed").fit(dense).labels_
    assert len(set(expected.tolist())) > 5
    np.testing.assert_array_equal(api.cluster(data["features"], eps=eps), expected)
    rows, columns = np.nonzero(dense <= eps)
    stored = sparse.coo_matrix((dense[rows, columns], (rows, columns)), dense.shape)
    np.testing.assert_array_equal(api.dbscan(stored, eps, min_samples=4), expected)


@pytest.mark.parametrize(
    ("file", "prefix", "words"),
    [
        ("association", "cmfp", {"cmfp_k": 8}),
        ("association", "plain", {"cmfp_k": None}),
        ("other_associations", "pgm", {"method": "pgm"}),
        ("other_associations", "mbccm", {"method": "mbccm"}),
    ],
)
def test_associations_are_the_released_ones(
    golden: Any, rng: np.random.Generator, file: str, prefix: str, words: dict[str, Any]
) -> None:
    """Labels equal the released code's, which has no outliers, wherever outliers are inserted."""
    data = golden(file)
    arguments, all_rows = [], []
    for side in ("visible", "infrared"):
        position = np.sort(rng.permutation(len(data[side]) + 9)[: len(data[side])])
        rows = unit_rows(rng, len(position) + 9, data[side].shape[1])
        rows[position] = data[side]
        labels = np.full(len(rows), -1)
        labels[position] = data[f"{side}_cluster"]
        arguments.append((rows, labels))
        all_rows += [position, position]
    (visible, visible_clusters), (infrared, infrared_clusters) = arguments
    association = api.associate(visible, infrared, visible_clusters, infrared_clusters, **words)
    for (role, labels), position in zip(association._asdict().items(), all_rows, strict=True):
        expected = data.get(f"{prefix}_{role}", data.get(f"{role}_cluster"))
        np.testing.assert_array_equal(labels[position], expected)
        assert (np.delete(labels, position) == -1).all()


def test_otla_transports_one_way(golden: Any) -> None:
    """Infrared images get the largest entry of a plan computed by loops; visible ones get none."""
    data = golden("association")
    clusters = [data[f"{side}_cluster"] for side in ("visible", "infrared")]
    association = api.associate(data["visible"], data["infrared"], *clusters, "otla", strength=2.0)
    of_each = [data["visible"][clusters[0] == name] for name in range(clusters[0].max() + 1)]
    means = np.stack([rows.mean(axis=0, dtype=np.float64) for rows in of_each])
    cost = ((data["infrared"][:, None] - means) ** 2).sum(axis=2)
    np.testing.assert_array_equal(association.infrared_to_visible, plan(cost, 2.0).argmax(axis=1))
    assert (association.visible_to_infrared == -1).all()
    np.testing.assert_array_equal(association.visible, clusters[0])


def test_paper_and_code_differ_in_the_own_modality(golden: Any) -> None:
    """Without relabeling, images keep their cluster, which the released code changes for some."""
    data = golden("association")
    clusters = [data[f"{side}_cluster"] for side in ("visible", "infrared")]
    sides = data["visible"], data["infrared"]
    kept = api.associate(*sides, *clusters, relabel_own_modality=False)
    np.testing.assert_array_equal(kept.infrared, clusters[1])
    assert (data["cmfp_infrared"] != clusters[1]).any()


def test_propagation_is_the_released_one(golden: Any) -> None:
    """Features and, as a re-ranking, their pairwise distances; float64 is accepted, too."""
    data = golden("cmfp")
    visible, infrared = data["visible"].astype(float), data["infrared"]
    expected = data["propagated"]
    close(np.concatenate(api.propagate(visible, infrared)), expected)
    there, back = expected[: len(visible)].astype(float), expected[len(visible) :]
    squared = ((there[:, None] - back) ** 2).sum(axis=2)
    close(api.rerank_cmfp(visible, infrared), squared)


def test_rerankings_are_the_released_ones(golden: Any) -> None:
    """AIM of visible queries and CMRR of infrared ones, at the defaults and at other values."""
    data = golden("rerank")
    visible, infrared = data["visible"], data["infrared"]
    close(api.rerank_aim(visible, infrared), data["aim_k1_8_k2_2"])
    close(api.rerank_aim(visible, infrared, k1=4, k2=1), data["aim_k1_4_k2_1"])
    close(api.rerank_cmrr(infrared, visible), data["cmrr_infrared_query_k8_eta01"], atol=5e-3)


@pytest.mark.parametrize("protocol", ["regdb", "sysu", "llcm"])
def test_metrics_are_the_released_ones(golden: Any, protocol: Any) -> None:
    """CMC, mAP and mINP under the rules of each data set, from distances and cameras."""
    data = golden("metrics")
    own = "llcm_query_camera" if protocol == "llcm" else "query_camera"
    cameras = (None, None) if protocol == "regdb" else (data[own], data["gallery_camera"])
    metrics = api.retrieval_metrics(
        None, None, data["query_id"], data["gallery_id"], *cameras,
        protocol=protocol, distance=data["distance"],
    )  # fmt: skip
    for key, value in metrics._asdict().items():
        close(value, data[f"{protocol}_{key}"])


def test_metrics_of_features(rng: np.random.Generator) -> None:
    """The CMC is the share of queries with a match among the largest cosines, counted by hand."""
    query, gallery = groups(rng, 6, 4, 8, 1.0), groups(rng, 6, 5, 8, 1.0)
    asked, answered = np.repeat(np.arange(6), 4), np.repeat(np.arange(6), 5)
    metrics = api.retrieval_metrics(query, gallery, asked, answered, num_ranks=7)
    order = np.argsort(-(query.astype(float) @ gallery.T), axis=1)
    is_right = answered[order] == asked[:, None]
    assert metrics.cmc.tolist() == [is_right[:, :r].any(axis=1).mean() for r in range(1, 8)]
    assert 0 < metrics.cmc[0] < metrics.cmc[-1]
    assert metrics.minp == pytest.approx(
        np.mean([5 / (np.flatnonzero(row)[-1] + 1) for row in is_right])
    )


def test_embed_gives_the_features_of_evaluation(
    checkpoint: Path, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths and arrays of several sizes, block by block, yield the network's own features."""
    network = api.load_network(checkpoint, device="cpu")
    assert (network.image_size, network.num_channels) == (SIZE, 64)
    images: list[Any] = [
        rng.integers(256, size=(*size, 3), dtype=np.uint8) for size in (SIZE, (90, 40), (20, 77))
    ]
    Image.fromarray(images[1]).save(tmp_path / "picture.png")
    words = ["infrared", "visible", "visible"]
    monkeypatch.setattr(public, "_BLOCK", 2)
    features = network.embed(images, words)
    paths = [images[0], str(tmp_path / "picture.png"), images[2]]
    np.testing.assert_array_equal(network.embed(paths, words), features)
    close(network.embed([images[2], tmp_path / "picture.png"], "visible"), features[[2, 1]])

    model = Network(backbone="resnet18", width=8, num_parts=3).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["state"])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for image, modality, row in zip(images, words, features, strict=True):
        small = Image.fromarray(image).resize(SIZE[::-1], Image.Resampling.BILINEAR)
        pixels = (torch.from_numpy(np.array(small)) / 255 - mean) / std
        views = torch.stack([pixels, pixels.flip(1)]).permute(0, 3, 1, 2)
        with torch.no_grad():
            both = normalize(model(views, modality)[0])
        close(row, normalize(both.sum(dim=0), dim=0), atol=1e-4)
    assert network.embed(np.empty((0, 9, 9, 3), np.uint8), "visible").shape == (0, 64)


UNIT, LABELS = np.eye(4), [0, 0, 1, 1]
REFUSED: list[tuple[Callable[..., Any], list[Any], dict[str, Any], str]] = [
    (api.cluster, [2 * UNIT], {}, "features: row 0 has length 2, not 1; normalize"),
    (api.cluster, [UNIT[0]], {}, "features: must be numbers with two axes, not float64 [4]"),
    (api.cluster, [UNIT.astype(str)], {}, "features: must be numbers"),
    (api.cluster, [UNIT * np.nan], {}, "features: must be finite"),
    (api.cluster, [UNIT[:0]], {}, "features: has no rows"),
    (api.cluster, [UNIT], {"eps": 1.0}, "eps: must be above 0 and below 1, not 1.0"),
    (api.cluster, [UNIT], {"min_samples": 0}, "min_samples: must be a whole number from 1 on"),
    (api.jaccard_distance, [UNIT], {"k1": 2.0}, "k1: must be a whole number from 1 on, not 2.0"),
    (api.jaccard_distance, [UNIT], {"k2": 0}, "k2: must be a whole number from 1 on, not 0"),
    (api.jaccard_distance, [UNIT], {"max_distance": 0}, "max_distance: must be above 0"),
    (api.dbscan, [1 - UNIT, 0.5], {}, "distance: must be a square scipy.sparse matrix"),
    (api.dbscan, [sparse.csr_matrix(UNIT[:3]), 0.5], {}, "distance: must be a square"),
    (api.dbscan, [sparse.csr_matrix(np.triu(UNIT + 1)), 0.5], {}, "distance: must be symmetric"),
    (api.dbscan, [sparse.csr_matrix(1 - UNIT), 0.5], {}, "distance: the zeros of its diagonal"),
    (api.dbscan, [sparse.csr_matrix(UNIT), -1], {}, "eps: must be above 0, not -1"),
    (api.propagate, [UNIT, UNIT[:, :2] + 0.5], {}, "infrared: row 0 has length"),
    (api.propagate, [UNIT, np.eye(3)], {}, "infrared: rows of 3 numbers, but those of visible"),
    (api.associate, [UNIT, UNIT, LABELS, [0, 1]], {}, "infrared_clusters: must be 4 whole numbers"),
    (api.associate, [UNIT, UNIT, [0.0] * 4, LABELS], {}, "visible_clusters: must be 4 whole"),
    (api.associate, [UNIT, UNIT, [0, 2, 2, 0], LABELS], {}, "visible_clusters: must be 0 .. K-1"),
    (api.associate, [UNIT, UNIT, [-2, 0, 1, 1], LABELS], {}, "visible_clusters: must be 0 .. K-1"),
    (api.associate, [UNIT, UNIT, LABELS, [-1] * 4], {}, "infrared_clusters: has outliers only"),
    (api.associate, [UNIT, UNIT, LABELS, LABELS, "gdal"], {}, "method: must be one of dagl, otla"),
    (api.associate, [UNIT, UNIT, LABELS, LABELS], {"cmfp_k": 0}, "cmfp_k: must be a whole number"),
    (api.associate, [UNIT, UNIT, LABELS, LABELS], {"strength": 0}, "strength: must be above 0"),
    (api.retrieval_metrics, [UNIT, UNIT, LABELS, LABELS], {"protocol": "x"}, "protocol: must be"),
    (api.retrieval_metrics, [UNIT, UNIT, LABELS, LABELS], {"protocol": "sysu"}, "query_cameras: "),
    (api.retrieval_metrics, [UNIT, UNIT, LABELS, LABELS, LABELS], {"protocol": "llcm"},
     "gallery_cameras: protocol 'llcm' needs them"),
    (api.retrieval_metrics, [UNIT, UNIT, LABELS, [1]], {}, "gallery_identities: must be 4 whole"),
    (api.retrieval_metrics, [UNIT, None, LABELS, LABELS], {}, "query, gallery: give both"),
    (api.retrieval_metrics, [UNIT, UNIT, LABELS, LABELS], {"distance": UNIT}, "distance: give"),
    (api.retrieval_metrics, [None, None, LABELS, LABELS], {"distance": [1]}, "distance: must be"),
    (api.retrieval_metrics, [UNIT, UNIT, LABELS, [7] * 4], {}, "no query identity occurs"),
    (api.rerank_cmfp, [UNIT, 3 * UNIT], {}, "gallery: row 0 has length 3"),
    (api.rerank_aim, [UNIT, UNIT], {"k2": 0}, "k2: must be a whole number"),
    (api.rerank_cmrr, [UNIT, UNIT], {"eta": 1.5}, "eta: must be from 0 to 1, not 1.5"),
    (api.load_network, ["checkpoint.pt", "tpu"], {}, "device: must be one of auto, cpu, cuda"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "words", "message"), REFUSED)
def test_arguments_that_do_not_fit_are_named(
    function: Callable[..., Any], arguments: list[Any], words: dict[str, Any], message: str
) -> None:
    """A ValueError starts with the name of the argument and says what is expected."""
    with pytest.raises(ValueError) as caught:
        function(*arguments, **words)
    assert str(caught.value).startswith(message)


def test_rows_of_half_precision_are_unit_rows(rng: np.random.Generator) -> None:
    """Features normalized in float16, such as those of a network on a GPU, are accepted."""
    features = groups(rng, 4, 5, 512, 0.2)
    halves = features.astype(np.float16)
    expected = api.cluster(features, k1=5, k2=2)
    assert expected.max() == 3
    np.testing.assert_array_equal(api.cluster(halves, k1=5, k2=2), expected)


@pytest.mark.parametrize(
    ("images", "modality", "message"),
    [
        (np.zeros((1, 9, 9), np.uint8), "visible", "images: must be uint8 [height, width, 3]"),
        (
            np.zeros((1, 9, 9, 3)),
            "visible",
            "images: must be uint8 [height, width, 3], not float64",
        ),
        ("picture.png", "visible", "images: one path; give a list of paths"),
        (np.zeros((1, 9, 9, 3), np.uint8), "thermal", "modality: must be one of visible, infrared"),
        (np.zeros((1, 9, 9, 3), np.uint8), ["visible"] * 2, "modality: 2 words for 1 images"),
    ],
)
def test_images_that_do_not_fit_are_named(
    checkpoint: Path, images: Any, modality: Any, message: str
) -> None:
    """This covers arrays other than uint8 RGB, one path instead of a list, unknown modalities."""
    network = api.load_network(checkpoint, "cpu")
    with pytest.raises(ValueError) as caught:
        network.embed(images, modality)
    assert str(caught.value).startswith(message)


def test_files_and_devices_that_are_missing_are_named(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message contains the path of the file; "cuda" without a GPU is an invalid argument."""
    with pytest.raises(SalcrError, match=str(tmp_path / "none.pt")):
        api.load_network(tmp_path / "none.pt", device="cpu")
    with pytest.raises(SalcrError, match=str(tmp_path / "none.png")):
        api.load_network(checkpoint, "cpu").embed([tmp_path / "none.png"], "visible")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device: 'cuda', but torch sees no GPU"):
        api.load_network(checkpoint, device="cuda")
    assert api.load_network(checkpoint).num_channels == 64
