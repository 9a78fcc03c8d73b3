"""Creates a folder of reference values like tests/golden, with any seed and sizes, by slow_*.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.reference import (
    slow_losses,
    slow_method,
    slow_network,
    slow_rerank,
    slow_stage_one,
    slow_transform,
)
from tests.reference.slow_method import Array, Arrays, unit

SLOW: dict[str, Any] = {
    "jaccard": slow_method.clustering,
    "sinkhorn": slow_method.transport,
    "cmfp": slow_method.propagation,
    "association": slow_method.association,
    "other_associations": slow_method.other_associations,
    "memory": slow_losses.memory,
    "losses": slow_losses.losses,
    "metrics": slow_method.retrieval,
    "rerank": slow_rerank.rerankings,
    "stage_one": slow_stage_one.stage_one,
}
"""Name of a file -> what computes its results from its inputs."""


@dataclass(frozen=True)
class Sizes:
    """All sizes that can be chosen for a golden folder."""

    identities: int
    """In jaccard.npz and in the modalities' features; those have as many visible clusters."""
    images: int
    """The most that an identity has, in each modality."""
    width: int
    infrared_clusters: int
    k1: int
    k2: int
    eps: tuple[float, ...]
    min_samples: int
    strength: float
    plan: tuple[int, int]
    cmfp_k: int
    aim: tuple[tuple[int, int], ...]
    """k1 and k2."""
    cmrr_k: int
    cmrr_eta: float
    momentum: float
    temperature: float
    batch: int
    clusters: tuple[int, int]
    """Visible and infrared ones in the memories."""
    instances: tuple[int, int]
    refine_k: int
    refine_weight: float
    parts: int
    queries: int
    gallery: int
    gallery_identities: int


def make_golden(folder: Path, seed: int, sizes: Sizes) -> None:
    """Write all files of a golden folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    visible, infrared = _modalities(rng, sizes)
    generated = {
        "jaccard": _jaccard(rng, sizes),
        "sinkhorn": {
            "cost": rng.uniform(0, 4, sizes.plan) ** rng.uniform(1, 3, sizes.plan) / 16,
            "reg_lambda": sizes.strength,
        },
        "cmfp": {"visible": visible[0], "infrared": infrared[0], "k": sizes.cmfp_k},
        "association": _clusters(visible, infrared)
        | {"k": sizes.cmfp_k, "reg_lambda": sizes.strength},
        "other_associations": _clusters(visible, infrared),
        "memory": _memory(rng, sizes),
        "losses": _losses(rng, sizes),
        "metrics": _metrics(rng, sizes),
        "rerank": {"visible": visible[0], "infrared": infrared[0]},
        "stage_one": make_stage_one(seed + 3, sizes),
    }
    for name, inputs in generated.items():
        # Inputs are rounded first, because the results must match what the file contains.
        inputs = {key: _stored(value) for key, value in inputs.items()}
        named = dict.fromkeys(_rerankings(sizes)) if name == "rerank" else {}
        results = SLOW[name](inputs | named)
        np.savez(folder / f"{name}.npz", **inputs, **{k: _stored(v) for k, v in results.items()})
    seeds = {"weight_seed": seed + 1, "image_seed": seed + 2}
    shapes = slow_network.released_shapes(sizes.parts)
    (folder / "reference_state_dict.json").write_text(json.dumps(shapes))
    results = slow_network.forward(seeds, shapes)
    np.savez(folder / "network.npz", **seeds, **{k: _stored(v) for k, v in results.items()})


def _stored(value: Any) -> Array:
    """Return matrices as float32; numbers, lists of numbers and labels unchanged."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.ndim > 1 and array.dtype.kind == "f" else array


def _people(rng: np.random.Generator, sizes: Sizes) -> tuple[Array, Array]:
    """Return noisy unit rows around one direction per identity, and the identities."""
    centers = rng.standard_normal((sizes.identities, sizes.width))
    counts = rng.integers(3, sizes.images + 1, sizes.identities)
    identity = rng.permutation(np.repeat(np.arange(sizes.identities), counts))
    noise = rng.standard_normal((len(identity), sizes.width))
    return unit(centers[identity] + rng.uniform(0.6, 1.6, (len(identity), 1)) * noise), identity


def _modalities(rng: np.random.Generator, sizes: Sizes) -> Any:
    """Return (features, clusters) of each modality, each shifted in its own direction."""
    features, identity = _people(rng, sizes)
    halves = rng.permutation(len(features)) % 2 == 0
    # every identity is in both, so that every visible cluster has an image
    for one in range(sizes.identities):
        halves[np.flatnonzero(identity == one)[:2]] = (True, False)
    shift = rng.standard_normal((2, sizes.width)) * 0.5 / np.sqrt(sizes.width)
    merged = rng.permutation(np.arange(sizes.identities) % sizes.infrared_clusters)
    visible = unit(features[halves] + shift[0]), identity[halves]
    return visible, (unit(features[~halves] + shift[1]), merged[identity[~halves]])


def _clusters(visible: Any, infrared: Any) -> Arrays:
    return {
        "visible": visible[0], "infrared": infrared[0],
        "visible_cluster": visible[1], "infrared_cluster": infrared[1],
    }  # fmt: skip


def _rerankings(sizes: Sizes) -> list[str]:
    names = [f"aim_k1_{k1}_k2_{k2}" for k1, k2 in sizes.aim]
    eta = f"{sizes.cmrr_eta:g}".replace(".", "")
    return [*names, f"cmrr_infrared_query_k{sizes.cmrr_k}_eta{eta}"]


def _jaccard(rng: np.random.Generator, sizes: Sizes) -> Arrays:
    features, identity = _people(rng, sizes)
    return {
        "features": features, "identity": identity, "k1": sizes.k1, "k2": sizes.k2,
        "dbscan_eps": np.array(sizes.eps), "dbscan_min_samples": sizes.min_samples,
    }  # fmt: skip


def _memory(rng: np.random.Generator, sizes: Sizes) -> Arrays:
    num_clusters = sizes.clusters[0]
    return {
        "initial": unit(rng.standard_normal((num_clusters, sizes.width))),
        "inputs": rng.standard_normal((4 * sizes.batch, sizes.width)),
        "targets": rng.integers(0, num_clusters, 4 * sizes.batch),
        "momentum": sizes.momentum,
        "temperature": sizes.temperature,
    }


def _losses(rng: np.random.Generator, sizes: Sizes) -> Arrays:
    arrays: Arrays = {
        "k": sizes.refine_k, "temperature": sizes.temperature,
        "lambda_refine": sizes.refine_weight, "parts": sizes.parts,
    }  # fmt: skip
    # What the three views of a position have in common gives them some common neighbors.
    names = ("global", "part_self", "part_pg1", "part_pg2")
    for name in names:
        width = sizes.width * (1 if name == "global" else sizes.parts)
        shared = rng.standard_normal((sizes.batch, width))
        views = [shared + 0.7 * rng.standard_normal(shared.shape) for _ in range(3)]
        arrays[f"in_{name}_visible"] = np.concatenate(views[:2])
        arrays[f"in_{name}_infrared"] = views[2]
    for space, clusters, instances in zip(
        slow_losses.SPACES, sizes.clusters, sizes.instances, strict=True
    ):
        expected = {f"global_{space}": clusters, f"instance_global_{space}": instances}
        for part in range(sizes.parts):
            expected[f"instance_part_{space}_{part}"] = instances
            for side in slow_losses.SPACES:
                expected[f"{side}_pattern_{space}_space_{part}"] = clusters
        for name, size in expected.items():
            arrays[f"memory_{name}"] = unit(rng.standard_normal((size, sizes.width)))
        other = "infrared" if space == "visible" else "visible"
        arrays[f"{space}_label"] = rng.integers(0, clusters, sizes.batch)
        arrays[f"{other}_cross_label"] = rng.integers(0, clusters, sizes.batch)
    return arrays


def make_stage_one(seed: int, sizes: Sizes) -> Arrays:
    """Return the inputs in stage_one.npz, and its statistics of random transforms."""
    rng = np.random.default_rng(seed)
    num_labels = min(sizes.clusters) - 1  # one cluster or more is not in the batch
    arrays: Arrays = {"momentum": sizes.momentum, "temperature": sizes.temperature}
    for space, clusters in zip(slow_losses.SPACES, sizes.clusters, strict=True):
        drawn = rng.permutation(clusters)[:num_labels]
        arrays[f"labels_{space}"] = np.repeat(drawn, sizes.batch)
        arrays[f"memory_{space}"] = unit(rng.standard_normal((clusters, sizes.width)))
    for view in slow_losses.GROUPS:
        space = "infrared" if view == "r" else "visible"
        centers = arrays[f"memory_{space}"][arrays[f"labels_{space}"]]
        noise = rng.standard_normal(centers.shape) * 3 / np.sqrt(sizes.width)
        arrays[f"in_{view}"] = rng.uniform(0.2, 1, (len(noise), 1)) * (centers + noise)
    images = slow_transform.smooth_images(rng, 200, 32, 20)
    images[0, 1, :16] = images[1, :, :, :10] = 0  # black in one channel, and in all
    drawn_by_image = [slow_transform.linear_transform(image / 255, rng) for image in images[:3]]
    arrays["ltg_images"] = images[:3]
    arrays["ltg_rectangles"] = np.concatenate([one[1] for one in drawn_by_image])
    arrays["ltg_factors"] = np.concatenate([one[2] for one in drawn_by_image])
    arrays["ltg_image_of"] = np.repeat(range(3), [len(one[1]) for one in drawn_by_image])
    statistics = slow_transform.transform_statistics(images[3:], rng)
    arrays |= {f"ltg_mean_{name}": np.array(pair) for name, pair in statistics.items()}
    return arrays | {"infrared_shares": slow_transform.infrared_shares(rng, 20_000)}


def _metrics(rng: np.random.Generator, sizes: Sizes) -> Arrays:
    gallery_id = rng.permutation(np.arange(sizes.gallery) % sizes.gallery_identities)
    query_id = rng.integers(0, sizes.gallery_identities - 1, sizes.queries)
    gallery_camera = rng.choice([1, 2, 4, 5], sizes.gallery)
    # Under every rule each query keeps a match: an image of camera 1, which none of them excludes.
    for one in range(sizes.gallery_identities):
        gallery_camera[np.flatnonzero(gallery_id == one)[0]] = 1
    match = query_id[:, None] == gallery_id
    spread = rng.uniform(20, 40, match.shape) * rng.standard_normal(match.shape) ** 2
    return {
        "distance": 60 + spread + np.where(match, 0, 25),
        "query_id": query_id,
        "gallery_id": gallery_id,
        "query_camera": rng.choice([3, 6], sizes.queries),
        "gallery_camera": gallery_camera,
        "llcm_query_camera": rng.choice([2, 4, 5], sizes.queries),
    }
