"""The data behind the figures: distances of pairs, t-SNE, cluster centers, heat maps."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from salcr import files
from salcr.data.store import load_split
from salcr.evaluation import cluster_centers
from salcr.evaluation.pair_distances import EDGES, pair_distances
from salcr.evaluation.tsne import tsne_2d
from salcr.models.features import extract
from salcr.models.network import Network
from tests.support import tiny

FILES = ("distances.json", "tsne.csv", "attention.json")


@pytest.fixture(scope="module")
def data(stage_one: Path) -> Path:
    """Return the folder written by preprocess."""
    return stage_one / "data"


@pytest.fixture(scope="module")
def results(data: Path, stage_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a trial, analyzed after stage one and after a round."""
    out = tmp_path_factory.mktemp("results")
    shutil.copytree(stage_one / "round00", out / "round00")
    assert tiny.associate(data, out, 1) == 0
    assert tiny.train(data, out, 1) == 0
    assert analyze(data, out, 0) == 0 and analyze(data, out, 1, "--analyze-pairs", 40) == 0
    return out


def analyze(data: Path, out: Path, round_: int, *extra: object, to: Path | None = None) -> int:
    """Analyze the network of a round."""
    return tiny.run(*tiny.analyze_words(data, out, round_, to), *extra)


def find_centers(data: Path, out: Path, to: Path) -> Path:
    """Write the cluster centers of round 1 into a folder; return the file."""
    assert tiny.run(*tiny.cluster_centers_words(data, out, 1, to)) == 0
    return to / "cluster_centers.csv"


def network_of(out: Path, round_: int) -> Network:
    """Return the network of a round."""
    checkpoint = torch.load(tiny.folder(out, round_) / "checkpoint.pt", weights_only=True)
    network = Network(**checkpoint["model"])
    network.load_state_dict(checkpoint["state"])
    return network.eval()


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def features_of(data: Path, network: Network, split: str, *, mirrored: bool) -> dict[str, Any]:
    """Return modality -> float64 features, of images and, if requested, their mirror images."""
    images = load_split(data, trial=1, split=split)
    by_modality = {}
    for modality, side in images.images.items():
        features = extract(network, side, modality)[0].double().numpy()
        if mirrored:
            flipped = replace(side, array=side.array[:, :, ::-1])
            features = features + extract(network, flipped, modality)[0].numpy()
        by_modality[modality] = unit(features)
    return by_modality


def people_of(data: Path, split: str) -> dict[str, np.ndarray]:
    """Return modality -> identities."""
    table = pd.read_csv(data / "identities.csv").query(f"trial == 1 and split == '{split}'")
    return {m: lines["identity"].to_numpy() for m, lines in table.groupby("modality")}


def test_distances_are_those_of_all_pairs(data: Path, results: Path) -> None:
    """Counts and means match those over every cross-modality pair, one after another."""
    features = features_of(data, network_of(results, 0), "test", mirrored=True)
    people = people_of(data, "test")
    expected: dict[str, list[float]] = {"positive": [], "negative": []}
    for i, j in product(range(30), range(30)):
        same = people["visible"][i] == people["infrared"][j]
        cosine = features["visible"][i] @ features["infrared"][j]
        expected["positive" if same else "negative"].append(1 - cosine)
    summary = json.loads((results / "round00/distances.json").read_text())
    assert np.allclose(summary["edges"], np.arange(101) * 0.02)
    for kind, distances in expected.items():
        assert sum(summary[kind]["counts"]) == len(distances)
        assert summary[kind]["mean"] == pytest.approx(np.mean(distances), abs=1e-5)
        counts = [sum(low <= d < low + 0.02 for d in distances) for low in np.arange(100) * 0.02]
        # A distance on the edge of a bin may be rounded to either side.
        assert np.abs(np.cumsum(summary[kind]["counts"]) - np.cumsum(counts)).max() <= 1


def test_many_pairs_are_sampled(rng: np.random.Generator, results: Path) -> None:
    """As many of each kind as requested, each once, the same in every call."""
    visible, infrared = (unit(rng.normal(size=(n, 8))).astype(np.float32) for n in (20, 30))
    people = np.arange(20) % 4, np.arange(30) % 4
    every = pair_distances(visible, infrared, *people, most=10**6)
    some, again = (pair_distances(visible, infrared, *people, most=100) for _ in range(2))
    for kind, size in (("positive", 150), ("negative", 450)):
        assert every[kind].counts.sum() == size and some[kind].counts.sum() == 100
        assert (some[kind].counts <= every[kind].counts).all()
        assert (some[kind].counts == again[kind].counts).all()
        assert some[kind].mean == again[kind].mean
    summary = json.loads((results / "round01/distances.json").read_text())
    assert [sum(summary[kind]["counts"]) for kind in ("positive", "negative")] == [40, 40]
    assert len(EDGES) == len(every["positive"].counts) + 1


@pytest.mark.parametrize("size", [2, 3, 5, 40])
def test_the_plane_keeps_groups_together(rng: np.random.Generator, size: int) -> None:
    """Any number of points is embedded reproducibly; two groups remain two."""
    group = np.arange(size) % 2
    points = rng.normal(0, 0.05, (size, 6)) + 3 * group[:, None]
    embedding, again = tsne_2d(points), tsne_2d(points)
    assert (
        embedding.shape == (size, 2) and np.isfinite(embedding).all() and (embedding == again).all()
    )
    if size == 40:
        gaps = np.linalg.norm(embedding[:, None] - embedding, axis=2) + np.diag(
            np.full(size, np.inf)
        )
        assert (group[gaps.argmin(axis=1)] == group).all()


def test_the_embedding_names_images_and_people(data: Path, results: Path) -> None:
    """Every image of every test person has a line, with row and identity, for both networks."""
    expected = pd.read_csv(data / "identities.csv").query("trial == 1 and split == 'test'")
    key = ["modality", "row", "identity"]
    for round_ in (0, 1):
        table = pd.read_csv(tiny.folder(results, round_) / "tsne.csv")
        pair = [t[key].sort_values(key, ignore_index=True) for t in (table, expected)]
        assert pair[0].equals(pair[1])
        assert np.isfinite(table[["x", "y"]]).all(axis=None)


def test_heat_maps_are_of_the_same_people_in_both_modalities(data: Path, results: Path) -> None:
    """Images and partners show one person; only a network with trained parts shows parts."""
    table = pd.read_csv(data / "identities.csv").query("trial == 1 and split == 'test'")
    identity = dict(table.set_index(["modality", "row"])["identity"].items())
    for round_, with_parts in ((0, False), (1, True)):
        path = tiny.folder(results, round_) / "attention.json"
        images = json.loads(path.read_text())["images"]
        assert [image["modality"] for image in images] == ["visible"] * 4 + ["infrared"] * 4
        whose = [identity[image["modality"], image["row"]] for image in images]
        assert whose[:4] == whose[4:] and len(set(whose)) == 4
        for image, other in zip(images, images[4:] + images[:4], strict=True):
            assert image["partner"] == other["row"]
            assert np.array(image["grad_cam"]).shape == (4, 2)
            assert (image["attention"] is not None) == with_parts
            if with_parts:  # three stripes of two positions, each with sum 1
                attention = np.array(image["attention"]).ravel()
                assert np.allclose(attention[:6].reshape(3, 2).sum(axis=1), 1, atol=1e-3)
                assert (attention[6:] == 0).all()


@pytest.mark.parametrize(("mode", "shown"), [("part", True), ("global", False)])
def test_refined_parts_are_shown_without_part_losses(
    data: Path, stage_one: Path, tmp_path: Path, mode: str, shown: bool
) -> None:
    """A refinement of parts trains them; with neither, their attention means nothing."""
    shutil.copytree(stage_one / "round00", tmp_path / "round00")
    assert tiny.associate(data, tmp_path, 1) == 0
    assert tiny.train(data, tmp_path, 1, "--fgsal-enabled", "false", "--gpcr-mode", mode) == 0
    assert analyze(data, tmp_path, 1) == 0
    images = json.loads((tiny.folder(tmp_path, 1) / "attention.json").read_text())["images"]
    assert [image["attention"] is not None for image in images] == [shown] * len(images)


def test_centers_are_those_of_the_propagated_features(
    data: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The points that are embedded are the clusters' centers, propagated image by image."""
    seen: list[np.ndarray] = []

    def plane(points: np.ndarray) -> np.ndarray:
        seen.append(points)
        return points[:, :2]

    monkeypatch.setattr(cluster_centers, "tsne_2d", plane)
    find_centers(data, results, tmp_path)
    labels = pd.read_csv(results / "round01/labels.csv")
    everything = features_of(data, network_of(results, 0), "train", mirrored=False)
    people = people_of(data, "train")
    cluster = {m: lines["cluster"].to_numpy() for m, lines in labels.groupby("modality")}
    kept = {m: cluster[m] >= 0 for m in cluster}
    before = {m: everything[m][kept[m]] for m in cluster}
    after = {m: [mixed(one, before) for one in before[m]] for m in cluster}
    table = pd.read_csv(tmp_path / "cluster_centers.csv")
    for points, when, features in zip(seen, ("before", "after"), (before, after), strict=True):
        centers = {
            m: unit(np.array([
                np.mean([f for f, c in zip(features[m], cluster[m][kept[m]], strict=True)
                         if c == number], axis=0)
                for number in range(cluster[m].max() + 1)
            ]))
            for m in ("visible", "infrared")
        }  # fmt: skip
        assert np.allclose(points, np.concatenate(list(centers.values())), atol=1e-5)
        lines = table[table["when"] == when].set_index(["modality", "cluster"])
        for m, other in (("visible", "infrared"), ("infrared", "visible")):
            for number, center in enumerate(centers[m]):
                of_cluster = people[m][cluster[m] == number]
                votes = {one: (of_cluster == one).sum() for one in sorted(set(of_cluster))}
                assert lines.loc[(m, number), "identity"] == max(votes, key=votes.__getitem__)
                nearest = int(np.argmax([center @ far for far in centers[other]]))
                expected = lines.loc[(other, nearest), "identity"]
                assert lines.loc[(m, number), "nearest_identity"] == expected


def mixed(one: np.ndarray, features: dict[str, np.ndarray], k: int = 4) -> np.ndarray:
    """Return a feature propagated by the definition of CMFP: k nearest of each modality."""
    total = np.zeros_like(one)
    for side in features.values():
        cosine = side @ one
        nearest = sorted(range(len(side)), key=lambda j: -cosine[j])[:k]
        weight = {j: max(cosine[j], 0) for j in nearest}
        total += sum(weight[j] / sum(weight.values()) * side[j] for j in nearest)
    return total / np.linalg.norm(total)


def test_equal_runs_write_equal_bytes(data: Path, results: Path, tmp_path: Path) -> None:
    """Analyzed a second time, including centers, all files are identical, and small."""
    assert analyze(data, results, 0, to=tmp_path) == 0
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (results / "round00" / name).read_bytes(), name
        assert (tmp_path / name).stat().st_size < 10_000
    first, second = (find_centers(data, results, tmp_path / name) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_no_person_in_both_modalities_is_one_message(
    data: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a person in both modalities there is no positive pair: one line says so."""
    table = pd.read_csv(data / "identities.csv")
    table.loc[table["modality"] == "infrared", "identity"] += 1000
    table.to_csv(tmp_path / "identities.csv", index=False)
    summary = files.read_json(data / "preprocess.json")
    summary["sha256"]["identities.csv"] = files.sha256(tmp_path / "identities.csv")
    files.write_json(tmp_path / "preprocess.json", summary)
    words = ["--identities", tmp_path / "identities.csv"]
    assert analyze(data, results, 0, *words, to=tmp_path) == 1
    assert "fewer than two people are in both modalities" in capsys.readouterr().err
